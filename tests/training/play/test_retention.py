"""What is kept of other environments and of texts: against numbers made by hand, and through a whole training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from small import ECHO, make_model, play, tiny, tokenizer

from atod_sweep.config.retention import Retained
from atod_sweep.config.train import Env, Evaluation
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop.trainer import evaluate_model, train
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.play.retention import bits_per_byte, divergence, encoded
from atod_sweep.training.pretraining.cache import ensure, recipes

CPU = torch.device("cpu")
TEXTS = ["so well red", "one"]


def reader(context: int = 256) -> Player:
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    return Player(Batch(Env(id=ECHO, horizon=3), 1), conversation, Limits(4, context))


@pytest.mark.parametrize("context", [256, 3])
def test_bits_per_byte_are_those_of_one_text_after_the_other(context):
    policy = Policy(make_model("llama"))
    texts = encoded(TEXTS, reader(context), CPU, "here")
    assert texts.bytes == 14
    assert texts.batch.tokens == 4
    nats = 0.0
    for text in TEXTS:
        ids = [1, *tokenizer()(text, add_special_tokens=False)["input_ids"]]  # <end> begins a text
        for i in range(1, len(ids)):
            first = (i - 1) // (context - 1) * (context - 1)  # where the window begins
            logits = policy.model(input_ids=torch.tensor([ids[first:i]])).logits[0, -1]
            nats -= float(logits.log_softmax(-1)[ids[i]])
    assert bits_per_byte(policy, texts, 2048) == pytest.approx(nats / math.log(2) / 14, rel=1e-5)


def test_the_divergence_is_that_of_whole_distributions_and_has_a_direction():
    one, other = Policy(make_model("llama")), Policy(make_model("llama", seed=1))
    batch = TokenBatch.of(play(make_model("llama"), [2, 3]))
    p, q = (policy(batch.ids_ST, batch.index_N).logits_NV.log_softmax(-1) for policy in (one, other))
    assert divergence(one, other, batch, 64) == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)
    assert divergence(other, one, batch, 64) == pytest.approx(float((q.exp() * (q - p)).sum(-1).mean()), rel=1e-4)
    assert divergence(one, one, batch, 64) == 0.0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "is empty"),
        ("text", r"texts.jsonl:1: 'text' is no row \{\"text\""),
        ('{"words": "red"}', "is no row"),
        ('{"text": ""}', "is no row"),
        ('{"text": 3}', "is no row"),
    ],
)
def test_a_file_that_holds_no_texts_is_quoted(tmp_path, line, said):
    path = tmp_path / "texts.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=said):
        Retained(texts=str(path)).read("evaluation.retention[0]")


def test_words_that_the_student_lacks_are_refused():
    with pytest.raises(UserError, match="'so purple' holds words that the student's tokenizer does not have"):
        encoded(["so purple"], reader(), CPU, "here")


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        ([{}], "needs one of env and texts"),
        ([{"env": {}, "texts": "a.jsonl"}], "needs one of env and texts"),
        ([{"env": {}}, {"env": {"horizon": 4}}], "two are called 'support_desk'; give one of them another name"),
        ([{"texts": "a b.jsonl"}], "'a b' cannot name a metric"),
    ],
)
def test_what_cannot_be_asked_is_refused(retention, said):
    with pytest.raises(ValueError, match=said):
        Evaluation(retention=retention)


def test_names_come_from_what_is_asked():
    kept = [{"env": {"id": "my.games:Guess"}}, {"texts": "~/x/held_out.jsonl"}, {"env": {}, "name": "again"}]
    names = [one.metrics[0] for one in Evaluation(retention=kept).retention]
    assert names == ["retention/Guess/success", "retention/held_out/bits_per_byte", "retention/again/success"]
    assert "retention" not in Evaluation().model_dump()


# ---- through a training ------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "said.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    longer = {"env": {"id": ECHO, "horizon": 4}, "items": 16, "name": "longer"}
    return tiny(evaluation__retention=[longer, {"texts": str(path)}])


def test_it_is_measured_against_the_start_and_nothing_else_changes(built, config, tmp_path):
    plain, rows = [], []
    train(tiny(), tmp_path / "plain", plain.extend)
    result = train(config, tmp_path / "kept", rows.extend)
    evaluations = [row for row in rows if row["phase"] == "eval"]
    start, end = evaluations[0], evaluations[-1]
    assert start["retention/longer/drop"] == start["retention/said/drop"] == 0.0
    assert start["retention/longer/kl"] == pytest.approx(0.0, abs=1e-6)
    assert end["retention/longer/drop"] == start["retention/longer/success"] - end["retention/longer/success"]
    rise = end["retention/said/bits_per_byte"] - start["retention/said/bits_per_byte"]
    assert end["retention/said/drop"] == rise != 0.0
    assert end["retention/said/kl"] > 0.0
    assert end["retention/longer/kl"] > 0.0
    assert result.final["retention/longer/success"] == end["retention/longer/success"]

    def own(row):
        return {k: v for k, v in row.items() if not k.startswith(("retention/", "seconds/", "cost/seconds"))}

    assert [own(row) for row in rows] == [own(row) for row in plain]
    base = evaluate_model(config, built.student.path, "base")
    kept = {k: v for k, v in base.items() if k.startswith("retention/")}
    assert kept == pytest.approx({k: v for k, v in start.items() if k.startswith("retention/")}, abs=1e-6)
    teacher = evaluate_model(config, built.teacher.path)
    kept = {name for name in teacher if name.startswith("retention/")}
    assert kept == {"retention/longer/success", "retention/said/bits_per_byte"}


def test_a_resumed_training_knows_its_start(built, config, tmp_path):
    whole = []
    train(config, tmp_path / "whole", whole.extend)

    class Stop(Exception):
        pass

    def report(rows):
        if rows[-1]["step"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train(config, tmp_path / "cut", report)
    later = []
    train(config, tmp_path / "cut", later.extend, resume=True)
    kept = [{k: v for k, v in row.items() if k.startswith("retention/")} for row in (whole[-1], later[-1])]
    assert kept[0] == kept[1]


# ---- several environments before the first step --------------------------------------------------------------------


def test_a_student_that_learned_others_first_shares_their_words_with_its_teacher(built):
    assert tiny(student__recipe__also=["tool_use"]).student.recipe.also == [Env(id="tool_use")]
    also = tiny(student__recipe__also=[{"id": "tool_use", "horizon": 4}])
    plain = recipes(tiny())
    assert {role: recipe.digest for role, recipe in plain.items()} == {
        "teacher": built.teacher.digest,
        "student": built.student.digest,
    }
    assert not {r.digest for r in recipes(also).values()} & {r.digest for r in plain.values()}
    models = ensure(also)
    words = [compact_words(model.path) for model in (models.teacher, models.student)]
    assert words[0] == words[1]
    assert {"helpdesk", "green"} <= words[0]


def compact_words(folder: str) -> set[str]:
    return set(json.loads((Path(folder) / "tokenizer.json").read_text())["model"]["vocab"])
