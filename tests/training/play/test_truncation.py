"""Sampling among likelier tokens: the same ones as `transformers` keeps, in evaluations and nowhere else."""

from __future__ import annotations

import itertools

import pytest
import torch
from small import tiny
from transformers.generation.logits_process import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from atod_sweep.config.base import UserError
from atod_sweep.config.train import Evaluation
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.play import episodes
from atod_sweep.training.play.evaluate import evaluate
from atod_sweep.training.play.truncation import Truncation


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"), list(itertools.product([None, 1, 3, 99], [None, 0.001, 0.5, 0.97], [None, 0.2]))
)
def test_the_tokens_that_transformers_keeps(top_k, top_p, min_p, temperature):
    logits = torch.randn(50, 9, generator=torch.Generator().manual_seed(0)) * 2
    scores = logits / temperature
    for warper, value in ((TopKLogitsWarper, top_k), (TopPLogitsWarper, top_p), (MinPLogitsWarper, min_p)):
        if value is not None:
            scores = warper(value)(None, scores)
    kept = Truncation(top_k, top_p, min_p).cut(logits, temperature)
    assert torch.equal(kept == -torch.inf, scores == -torch.inf)
    assert torch.equal(kept[kept > -torch.inf], logits[kept > -torch.inf])


def test_greedy_sampling_and_no_limits_leave_all():
    logits = torch.randn(5, 9)
    assert Truncation(top_k=1).cut(logits, 0.0) is logits
    assert Truncation.of(Evaluation()) is None
    assert torch.equal(Truncation(top_p=1.0).cut(logits, 1.0), logits)


def test_evaluations_draw_from_what_is_left_and_rollouts_from_all(built, tmp_path, monkeypatch):
    seen: list[int] = []
    real = episodes.sample

    def sample(logits, temperature, generator):
        seen.append(int((logits > -torch.inf).sum(-1).max()))
        return real(logits, temperature, generator)

    monkeypatch.setattr(episodes, "sample", sample)
    config = tiny(evaluation__top_k=2, evaluation__temperature=1.0)
    run = assemble(config, tmp_path, resume=False)
    evaluate(run.stage.policy, run.stage.player, config.evaluation)
    assert set(seen) == {2}
    seen.clear()
    run.stage.play(run.stage.policy, 0)
    assert set(seen) == {15}
    greedy = [
        evaluate(run.stage.policy, run.stage.player, Evaluation(tasks=8, **how))
        for how in ({"temperature": 0.0}, {"temperature": 1.0, "top_k": 1}, {"temperature": 1.0, "top_p": 1e-6})
    ]
    assert greedy[1].pop("eval/token_entropy") == greedy[2].pop("eval/token_entropy") == 0.0  # greedy: not told
    assert greedy[0] == greedy[1] == greedy[2]


def test_rollouts_are_never_truncated():
    for key in ("top_k", "top_p", "min_p"):
        with pytest.raises(UserError, match=f"rollout.{key}"):
            tiny(**{f"rollout__{key}": 0.5})
