"""Logits end with the ids that a tokenizer has; one vocabulary may extend the other; ids beyond are refused."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from chat import CHATML, characters
from small import make_model, tiny

from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.objective.distributions import with_rest
from atod_sweep.objective.signals.forward_kl import forward_kl
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models import vocabulary
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import episodes
from atod_sweep.training.play.decoders import decoder_for
from atod_sweep.training.play.watch import Speaker

WORDS = 259  # of `characters`
SIGNALS = (
    {"objective__distill__kind": "forward_kl"},
    {"objective__distill__kind": "forward_kl", "objective__distill__top_k": 8},
    {"objective__distill__kind": "reverse_kl"},
    {"objective__distill__kind": "jsd"},
    {"objective__distill__kind": "sampled_reverse_kl"},
    {"objective__kind": "hybrid", "objective__turns__kind": "t_dur"},
    {"objective__kl_penalty__kind": "full"},
    {"objective__kind": "spin"},
    {"objective__kind": "dpo"},
    {"objective__kind": "sft"},
)


def name(settings: dict) -> str:
    return "-".join(str(value) for value in settings.values())


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Callable[..., str]:
    """The path of a model with `width` logits and the character tokenizer, with further tokens behind its own."""

    @cache
    def save(kind: str, width: int, *more: str) -> str:
        path = tmp_path_factory.mktemp(kind)
        tokenizer = characters(CHATML)
        tokenizer.add_tokens(list(more))
        model = make_model(kind, vocabulary=width)
        with torch.no_grad():
            model.get_output_embeddings().weight[WORDS:] *= 10  # what no token has would win often
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        return str(path)

    return save


def config(student: str, teacher: str | None, **settings) -> Train:
    models = {"student__kind": "pretrained", "student__path": student}
    theirs = {"teacher__kind": "pretrained", "teacher__path": teacher, "teacher__dtype": "float32"}
    models |= theirs if teacher else {"teacher__kind": "none"}
    return tiny(steps=1, rollout__max_action_tokens=12, evaluation__tasks=2, **models, **settings)


@pytest.mark.parametrize(
    ("mine", "theirs", "settings"),
    [
        pytest.param(
            *(mine, theirs, settings),
            # Quick: each signal with one of both, in turn.
            marks=() if (mine, theirs) == ((259, 323), (323, 259))[i % 2] else pytest.mark.slow,
            id=f"{mine}-{theirs}-{name(settings)}",
        )
        for i, settings in enumerate(SIGNALS)
        for mine in (259, 323)
        for theirs in (259, 323)
    ],
)
def test_padded_widths_are_no_matter(saved, mine, theirs, settings, tmp_path):
    """The same tokenizer with models of other widths, as Qwen2.5 of 0.5 B and of 7 B are."""
    run = config(saved("qwen3", mine), saved("llama", theirs), **settings)
    rows: list[dict] = []
    train(run, tmp_path, rows.extend)
    (row,) = [row for row in rows if row["phase"] == "train"]
    assert math.isfinite(row["loss"])


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_ids_that_no_token_has_are_never_sampled(saved, kind, tmp_path):
    for width, words in ((259, None), (323, 259)):
        run = assemble(config(saved(kind, width), None, objective__distill_weight=0.0), tmp_path, False)
        assert run.stage.policy.words == words
        assert run.stage.play(run.stage.policy, 0).ids_ST.max() < WORDS


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_the_cut_leaves_a_softmax_over_the_ids_that_are_left(kind):
    ids, last = torch.arange(20)[None], torch.tensor([19])
    model = make_model(kind, vocabulary=323)
    want = model(input_ids=ids).logits[0, -1, :WORDS].log_softmax(-1)
    policy = Policy(model, words=WORDS)
    decoder = decoder_for(policy, rows=1)
    for logits in (
        policy(ids, last).logits_NV,
        decoder.feed(ids, torch.tensor([20]), (20, 20)),
        policy.frozen()(ids, last).logits_NV,
    ):
        assert torch.allclose(logits[0].log_softmax(-1), want, rtol=0, atol=1e-5)


def test_a_model_is_its_own_teacher_whatever_the_padding(saved, tmp_path):
    path = saved("qwen3", 323)
    rows: list[dict] = []
    train(config(path, path, optimiser__lr=1e-9), tmp_path, rows.extend)
    (row,) = [row for row in rows if row["phase"] == "train"]
    assert abs(row["kl/teacher"]) < 1e-5
    assert abs(row["loss/distill"]) < 1e-5


# ---- one vocabulary extends the other ----------------------------------------------------------------------------


def test_kinship():
    plain, extended, other = characters(CHATML), characters(CHATML), characters(CHATML)
    extended.add_tokens(["<think>"])
    other.add_tokens(["<thought>"])
    assert [vocabulary.words(t) for t in (plain, extended)] == [259, 260]
    table = {
        (plain, plain): "same",
        (plain, extended): "extended",
        (extended, plain): "extended",
        (extended, other): "other",
    }
    for (mine, theirs), want in table.items():
        assert vocabulary.kinship(mine, theirs) == want


@pytest.mark.parametrize("settings", SIGNALS[:6], ids=name)
def test_a_teacher_that_knows_more_is_asked_about_the_common_ids(saved, settings, tmp_path):
    mine, theirs = saved("qwen3", 259), saved("qwen3", 323, "<think>", "</think>")
    run = assemble(config(mine, theirs, **settings), tmp_path, resume=False)
    assert run.stage.teacher.policy.words == WORDS
    assert run.stage.teacher.policy.reach is None
    batch = run.algorithm.collect(run.stage, 0).batch
    if "teacher_full" in batch.fields and "teacher_index" not in batch.fields:
        assert batch["teacher_full"].shape[1] == WORDS
        assert torch.allclose(batch["teacher_full"].exp().sum(1), torch.ones(batch.tokens))


def test_what_the_student_alone_knows_is_one_tail():
    student = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    teacher = torch.tensor([[0.75, 0.25]]).log()
    mine, theirs = with_rest(student, teacher)
    assert torch.allclose(mine.exp(), torch.tensor([[0.5, 0.2, 0.3]]))
    assert torch.allclose(theirs.exp(), torch.tensor([[0.75, 0.25, 0.0]]))
    want = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.2)
    assert forward_kl(mine, theirs).item() == pytest.approx(want, abs=1e-6)
    assert with_rest(teacher, teacher) == (teacher, teacher)
    logits = torch.randn(1, 4, requires_grad=True)
    forward_kl(*with_rest(logits.log_softmax(-1), teacher)).backward()
    assert torch.allclose(logits.grad[:, 2:].sum(), logits.softmax(-1)[:, 2:].sum(), atol=1e-6)  # pushed down


def say_its_own(monkeypatch, logit: float) -> None:
    """Let rollouts say what the student alone knows, or never."""
    sample = episodes.sample

    def biased(logits_BV, *how):
        logits_BV = logits_BV.clone()
        logits_BV[:, WORDS:] = logit
        return sample(logits_BV, *how)

    monkeypatch.setattr(episodes, "sample", biased)


@pytest.mark.parametrize("settings", SIGNALS[:6], ids=name)
def test_a_student_that_knows_more_is_compared_where_both_know(saved, settings, tmp_path, monkeypatch):
    """As long as it says none of its own."""
    mine = saved("qwen3", 260, "<think>")
    theirs = saved("qwen3", 259)
    run = assemble(config(mine, theirs, **settings), tmp_path, resume=False)
    assert (run.stage.policy.words, run.stage.teacher.policy.reach) == (None, WORDS)
    say_its_own(monkeypatch, -100.0)
    collected = run.algorithm.collect(run.stage, 0)
    metrics = run.updater.apply(collected.batch, run.algorithm.terms, 0, 1.0)
    assert math.isfinite(metrics["loss"])


# ---- ids beyond --------------------------------------------------------------------------------------------------


def test_a_token_of_the_student_that_its_teacher_cannot_read_is_refused_in_one_line(saved, tmp_path, monkeypatch):
    mine, theirs = saved("qwen3", 260, "<think>"), saved("qwen3", 323)
    run = assemble(config(mine, theirs), tmp_path, resume=False)
    say_its_own(monkeypatch, 100.0)
    with pytest.raises(UserError, match=r"^a conversation holds the id 259, and .* knows the ids up to 258 only; take"):
        run.algorithm.collect(run.stage, 0)


def test_a_template_whose_tokens_the_model_has_not_is_refused_in_one_line(saved, tmp_path):
    path = shutil.copytree(saved("qwen3", 300), tmp_path / "model")
    make_model("qwen3", vocabulary=200).save_pretrained(path)
    with pytest.raises(
        UserError, match=r"^student.path: .*: every conversation uses the token .* id 2\d\d lies beyond"
    ):
        assemble(config(str(path), None, objective__distill_weight=0.0), tmp_path, resume=False)


def test_a_padding_token_beyond_the_model_is_replaced(saved, tmp_path):
    path = shutil.copytree(saved("qwen3", 259), tmp_path / "model")
    tokenizer = characters(CHATML)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(path)
    run = assemble(config(str(path), None, objective__distill_weight=0.0), tmp_path, resume=False)
    assert run.tokenizer.pad_token == "<|im_end|>"
    run.stage.play(run.stage.policy, 0)


def test_an_observation_with_a_token_beyond_the_model_is_refused_in_one_line(saved, tmp_path):
    """One that no template uses; Echo's observations are spelled with it."""
    path = saved("qwen3", 259, "red", "green", "blue")
    run = assemble(config(path, None, objective__distill_weight=0.0), tmp_path, resume=False)
    with pytest.raises(UserError, match=r"^a conversation holds the id 2\d\d, and .* knows the ids up to 258 only"):
        run.stage.play(run.stage.policy, 0)


def test_a_student_that_is_watched_says_none_of_them(saved, tmp_path):
    path = Path(saved("qwen3", 323))
    speaker = Speaker(path, action_tokens=30)
    said = [speaker.act([], "red", temperature=1.0) for _ in range(3)]
    assert all(said)
    logits = speaker.model(input_ids=torch.tensor([[*speaker._ids([], "red"), 5]])).logits[0, -2]
    want = logits[:WORDS].log_softmax(-1)[5]
    speaker.conversation.end_ids = ()
    assert speaker.logp([], "red", speaker.conversation.tokenizer.decode([5])) == pytest.approx(want.item(), abs=1e-5)
