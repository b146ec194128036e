"""What a trial is said to need of memory, and that what cannot fit is refused before anything is loaded."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from small import tiny

from atod_sweep import api
from atod_sweep.errors import UserError
from atod_sweep.training import share
from atod_sweep.training.loop import build, memory, recorded
from atod_sweep.training.models.policy import Unadapted
from benchmarks import tiny_models

STUDENT = {"kind": "pretrained", "dtype": "float32"}
LORA = {"rank": 4, "alpha": 64.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_models.save("qwen3", tmp_path_factory.mktemp("models")))


def config(folder, lora=None, **more):
    model = {**STUDENT, "path": folder}
    settings = {
        "env": {"id": "support_desk", "horizon": 4, "kwargs": {"style": "natural"}},
        "student": {**model, "lora": lora},
        "teacher": model,
        "rollout__max_action_tokens": 8,
    }
    return tiny(**settings | more)


def test_parts_follow_the_keys_that_they_are_lowered_by(folder):
    plain = memory.need(config(folder))
    assert plain.total == sum(plain.parts.values())
    update = {"scores", "activations", "logits", "gradients"}
    assert {"student", "optimiser", "teacher", "allocator", "libraries"} | update == plain.parts.keys()
    smaller = memory.need(config(folder, update__micro_batch_tokens=64))
    assert smaller.parts["activations"] < plain.parts["activations"]
    half = memory.need(config(folder, teacher={**STUDENT, "path": folder, "dtype": "bfloat16"}))
    assert half.parts["teacher"] == plain.parts["teacher"] // 2
    regularised = {"objective__kl_penalty__kind": "full", "objective__kl_penalty__coef": 0.1}
    twice = 2 * plain.parts["student"]  # a frozen compact model scores by a rearranged copy
    assert memory.need(config(folder, **regularised)).parts["reference"] == twice
    asked = {"evaluation__retention": [{"env": {"id": "support_desk", "horizon": 5}}]}  # its KL is to the same model
    assert memory.need(config(folder, **asked)).parts["reference"] == twice
    assert memory.need(config(folder, **asked, **regularised)).parts["reference"] == twice
    many = memory.need(config(folder, evaluation__tasks=100_000))
    assert many.parts["evaluation cache"] > 100 * plain.total


def test_adapters_need_little_and_no_reference(folder):
    pytest.importorskip("peft")
    regularised = {"objective__kl_penalty__kind": "full", "objective__kl_penalty__coef": 0.1}
    plain, adapted = memory.need(config(folder)), memory.need(config(folder, LORA, **regularised))
    assert "reference" not in adapted.parts
    assert adapted.parts["optimiser"] < plain.parts["optimiser"] / 4


def test_compact_models_are_small():
    assert memory.need(tiny()) is None


def test_what_cannot_fit_is_refused_with_the_key_to_change(folder):
    many = config(folder, evaluation__tasks=100_000, evaluation__episodes_at_once=100_000)
    with pytest.raises(UserError) as caught:
        memory.check(many, 10**9)
    assert "most is the evaluation cache: lower it by evaluation.episodes_at_once" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert memory.check(many, 10**15).total > 10**9


def test_a_single_training_is_told_what_it_needs_and_refused_before_a_folder_is_made(folder, tmp_path, monkeypatch):
    one = config(folder)
    monkeypatch.setattr(memory, "there_is", lambda *_: 10**7)
    with pytest.raises(UserError, match=r"^a trial needs about .* but there are [01]0? MB; most is the activations"):
        api.train(one, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(memory, "there_is", lambda *_: 10**9)
    monkeypatch.setattr(recorded, "train_into", lambda *_: None)
    told = []
    api.train(one, out=tmp_path / "out", callback=told.append)
    assert told[0]["text"].startswith("memory: ")
    assert told[0]["text"].endswith(" of 1.0 GB")


def test_as_many_episodes_are_played_at_once_as_there_is_room_for(folder, monkeypatch):
    plain = config(folder)
    assert all(n > 1000 for n in memory.at_once(plain).values())
    assert "at once" not in str(memory.need(plain))
    many = config(folder, evaluation__tasks=100_000)
    found = memory.check(many, 10**9)
    n, of = found.at_once["eval"]
    assert found.total <= 10**9 < found.total / n * (n + 2)
    assert str(found).endswith(f", {n} of {of} evaluation episodes played at once")
    monkeypatch.setattr(memory, "there_is", lambda *_: 10**9)
    assert memory.at_once(many) == {"train": n, "eval": n}
    assert memory.at_once(tiny())["eval"] >= 10**6  # compact models are small
    monkeypatch.setattr(share, "_mine", 0.5)  # another trial runs beside it
    assert memory.at_once(many)["eval"] < n / 1.9
    monkeypatch.setattr(share, "_mine", 1.0)
    given = config(folder, rollout__episodes_at_once=3, evaluation__episodes_at_once=5)
    assert memory.at_once(given) == {"train": 3, "eval": 5}
    monkeypatch.setattr(memory, "there_is", lambda *_: 1)
    assert memory.at_once(many) == {"train": 1, "eval": 1}


def test_an_episode_is_as_long_as_its_longest_actions_make_it(folder):
    def talk(**more):
        return memory.longest_talk(config(folder, **more), config(folder).student)

    plain = talk()
    assert 1.5 * plain.longest < talk(env__horizon=8).longest < 2.5 * plain.longest
    assert plain.said == 4 * 8
    assert plain.longest / 4 < plain.chunk < plain.longest - plain.said  # the rules come first, and in one piece
    assert talk(rollout__max_action_tokens=28).longest >= plain.longest + 3 * 20
    assert talk(rollout__max_context_tokens=plain.longest - 5).longest == plain.longest - 5


def test_the_reference_of_fresh_adapters_is_the_student_without_them(folder, tmp_path):
    pytest.importorskip("peft")
    regularised = {"objective__kl_penalty__kind": "full", "objective__kl_penalty__coef": 0.1}
    run = build.assemble(config(folder, LORA, **regularised), tmp_path, resume=False)
    student, reference = run.stage.policy, run.algorithm.reference
    assert isinstance(reference, Unadapted)
    assert student.training
    ids, index = torch.arange(12).view(2, 6), torch.tensor([1, 7, 11])
    before = student(ids, index).logits_NV.detach()
    assert torch.equal(reference(ids, index).logits_NV, before)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    for _ in range(2):
        now = student(ids, index).logits_NV
        assert torch.equal(reference(ids, index).logits_NV, before)
        assert torch.equal(reference.logits(reference.hidden(ids, index)), before)
        assert not torch.allclose(now, before, atol=1e-3)
        now.sum().backward()
        assert all(p.grad is not None for p in student.parameters() if p.requires_grad)
    Accelerator().free_memory()
