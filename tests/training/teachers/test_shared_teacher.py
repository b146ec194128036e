"""A teacher that trials share gives every one of them the rows that it would have with a teacher of its own."""

from __future__ import annotations

import pytest
import torch
from small import tiny

from atod_sweep.training import share
from atod_sweep.training.loop import build, trainer
from atod_sweep.training.loop.found import kept as found_by
from atod_sweep.training.models import head, kept
from atod_sweep.training.teachers.shared import Shared
from benchmarks import tiny_models

# What is compared -> what goes to and fro.
ASKED = {
    "sampled": ({"objective__distill__kind": "sampled_reverse_kl"}, {"teacher_logp"}),
    "whole": ({"objective__distill__kind": "forward_kl"}, {"teacher_logp", "teacher_hidden"}),
    "top-k": (
        {"objective__distill__kind": "forward_kl", "objective__distill__top_k": 8},
        {"teacher_logp", "teacher_index", "teacher_full"},
    ),
    "tempered": (
        {"objective__distill__kind": "jsd", "objective__distill__temperature": 2.0},
        {"teacher_logp", "teacher_hidden"},
    ),
}


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch):
    monkeypatch.setattr(kept, "_frozen", None)
    yield
    share.take(1.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One that passes of our own compute, and one that only `transformers` can."""
    return {name: str(tiny_models.save(name, tmp_path_factory.mktemp("models"))) for name in ("qwen3", "phi")}


class Listening:
    """Passes questions on to who holds the teacher, and remembers what was said."""

    def __init__(self, held):
        self.held, self.names, self.calls, self.heads = held, set(), 0, 0
        self.facts = held.facts

    def head(self):
        self.heads += 1
        return self.held.head()

    def score(self, batch, *question):
        self.calls += 1
        said = self.held.score(batch, *question)
        self.names |= said.keys()
        assert batch.fields == {}
        return said


def config(folder, **more):
    model = {"kind": "pretrained", "path": folder, "dtype": "float32"}
    env = {"id": "support_desk", "horizon": 4, "kwargs": {"style": "natural"}}
    more = {"steps": 2, "rollout__max_action_tokens": 6, "evaluation__tasks": 2} | more
    return tiny(env=env, student=model, teacher=model, **more)


def rows_of(trial, out):
    rows = []
    trainer.train(trial, out, rows.extend)
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


@pytest.mark.parametrize(
    ("name", "asked", "late"),
    [
        *(("qwen3", asked, False) for asked in ASKED),
        ("qwen3", "whole", True),
        ("phi", "whole", False),
        ("phi", "tempered", True),
        ("phi", "top-k", True),
    ],
)
def test_rows_are_those_of_a_teacher_of_its_own(name, asked, late, folders, tmp_path, monkeypatch):
    if late:  # distributions that would be large are made anew by the update
        monkeypatch.setattr(head, "elements_at_once", lambda device: 2**11)
    trial = config(folders[name], **ASKED[asked][0])
    own = rows_of(trial, tmp_path / "own")
    held = Listening(build.hold(trial))
    assert (held.held.policy.folded is not None) == (name == "qwen3")
    share.take(1.0, held)
    assert rows_of(trial, tmp_path / "shared") == own
    assert held.names == ASKED[asked][1]
    assert held.heads == ("teacher_hidden" in held.names)
    assert held.calls == 2 + 2  # once a step, and for the conversations of two evaluations
    assert found_by(tmp_path / "shared") == found_by(tmp_path / "own")
    assert kept._frozen is None  # the trial loads none


def test_a_trial_whose_teacher_is_held_in_another_precision_loads_its_own(folders, tmp_path):
    trial = config(folders["qwen3"])
    own = rows_of(trial, tmp_path / "own")
    other = trial.model_copy(update={"teacher": trial.teacher.model_copy(update={"dtype": "bfloat16"})})
    held = Listening(build.hold(other))
    share.take(1.0, held)
    assert rows_of(trial, tmp_path / "shared") == own
    assert held.calls == 0


def test_a_head_that_is_more_than_a_product_is_not_shared(tmp_path):
    folder = str(tiny_models.save("granite (scaled logits)", tmp_path))
    held = build.hold(config(folder))
    assert not Shared(held, torch.device("cpu")).fits(torch.float32)
