"""Trains a student once and evaluates it in every way that might make its comparison with another one sharper.

Shapes: _E episodes of a batch, _V vocabulary.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from atod_sweep.config.files import load_train
from atod_sweep.config.objective import Interpolated
from atod_sweep.config.train import Train
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trial import TrialState
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import episodes
from atod_sweep.training.play.episodes import Player, Sampling, sample
from atod_sweep.training.play.evaluate import final_sets
from atod_sweep.training.randomness import torch_generator
from benchmarks.sharper.scores import Score

SETS, TASKS, PART = 8, 512, 256  # of the final evaluation; scores are kept by parts of a set
FEWER = 4  # sets for other students, and other ways of evaluating, than what `evaluation.final` does
ARMS = ("linear", "cosine")
NOISES = ("drawn", "keyed")  # of the rollouts: from one stream per seed, or by (seed, step, episode, turn, token)
EARLIER = (25, 50, 100)  # steps before the end whose students are evaluated beside the last
DECAYS = (0.95,)  # of exponential averages of the weights
LAST = (20, 100)  # steps over which weights are averaged evenly


class Keyed(Player):
    """Draws by (purpose, play, episode, turn, token): the same for whoever plays, however long it goes."""

    seed, purpose, plays, turn = 0, "", 0, 0

    def play(self, *args: Any, **kwargs: Any) -> Any:
        self.plays, self.turn = self.plays + 1, 0
        return super().play(*args, **kwargs)

    def _act(
        self, decoder: Any, logits: Tensor, sampling: Sampling, table: Any, rows: list[int]
    ) -> list[tuple[int, ...]]:
        key, tokens, everybody = f"{self.purpose} {self.plays} {self.turn}", itertools.count(), len(table.outcomes)
        self.turn += 1

        def keyed(logits_BV: Tensor, temperature: float, _: torch.Generator) -> tuple[Tensor, Tensor]:
            logits_EV = logits_BV.new_zeros(everybody, logits_BV.shape[1])
            logits_EV[rows] = logits_BV
            own = torch_generator(self.seed, f"{key} {next(tokens)}", logits_BV.device)
            token_E, logp_E = sample(logits_EV, temperature, own)
            return token_E[rows], logp_E[rows]

        with patch.object(episodes, "sample", keyed):
            return super()._act(decoder, logits, sampling, table, rows)


def config_of(arm: str, seed: int, steps: int) -> Train:
    """The long horizon of studies/cosine_vs_linear.yaml, with the models of that study."""
    return load_train(
        "presets/support_desk_compact",
        {
            "env.horizon": 14,
            "teacher.recipe.horizons": [6, 14],
            "student.recipe.horizons": [6, 14],
            "objective.distill_weight.kind": arm,
            "steps": steps,
            "seed": seed,
            "evaluation.final.sets": SETS,
            "evaluation.final.tasks": TASKS,
        },
    )


def trial(steps: int, noise: str, arm: str, seed: int, folder: Path) -> list[Score]:
    """Train, then evaluate the last student in four ways and its earlier and averaged selves in one; with keyed noise
    only the last one, as `evaluation.final` does.

    Seconds are of the processor: others may use the machine, too.
    """
    thorough = noise == "drawn"
    run = assemble(config_of(arm, seed, steps), folder, resume=False)
    if noise == "keyed":
        run.stage.player = _keyed(run.stage.player, seed, "rollout")
    started = time.process_time()
    students = _train(run)
    trained = time.process_time() - started
    scores = []
    for student, weights in students.items():
        last = student == "last"
        if not (last or thorough):
            continue
        _load(run.stage.policy, weights)
        for evaluation in ("stream", "own", "keyed", "greedy") if last and thorough else ("stream",):
            began = time.process_time()
            success = _evaluate(run, evaluation, SETS if last and evaluation == "stream" else FEWER)
            seconds = time.process_time() - began
            scores.append(Score(steps, noise, arm, seed, student, evaluation, trained, seconds, success))
    run.books.player.batch.close()
    return scores


def _train(run: TrialState) -> dict[str, list[Tensor]]:
    """The trainer's own steps, and the weights of every student that is to be evaluated."""
    weights = [p for p in run.stage.policy.parameters() if p.requires_grad]
    steps = run.config.steps
    students: dict[str, list[Tensor]] = {}
    averages = {f"average {decay}": _copy(weights) for decay in DECAYS}
    sums = {f"mean of {last}": [torch.zeros_like(p) for p in weights] for last in LAST}
    for step in range(steps):
        collected = run.algorithm.collect(run.stage, step)
        run.updater.apply(collected.batch, run.algorithm.terms, step, run.stage.temperature(step))
        now = [p.detach() for p in weights]
        for decay, average in zip(DECAYS, averages.values(), strict=True):
            torch._foreach_lerp_(average, now, 1 - decay)
        for last, total in zip(LAST, sums.values(), strict=True):
            if step >= steps - last:
                torch._foreach_add_(total, now)
        if steps - step - 1 in EARLIER:
            students[f"{steps - step - 1} before"] = _copy(weights)
    means = {name: [p / last for p in total] for last, (name, total) in zip(LAST, sums.items(), strict=True)}
    return students | {"last": _copy(weights)} | averages | means


def _copy(weights: list[Any]) -> list[Tensor]:
    return [p.detach().clone() for p in weights]


@torch.no_grad()
def _load(policy: Policy, weights: list[Tensor]) -> None:
    for parameter, value in zip((p for p in policy.parameters() if p.requires_grad), weights, strict=True):
        parameter.copy_(value)


def _evaluate(run: TrialState, evaluation: str, sets: int) -> tuple[float, ...]:
    """Success by parts of the sets. `stream`: as `evaluation.final` plays; `own`: with noise of the trial's own."""
    config, player, objective = run.config.evaluation, run.books.player, run.config.objective
    assert isinstance(objective, Interpolated)
    if evaluation == "keyed":
        player = _keyed(player, config.seed, "final")
    own = f" {objective.distill_weight.kind} {run.config.seed}" if evaluation == "own" else ""
    found = []
    for k, seeds in enumerate(final_sets(config)[:sets]):
        generator = torch_generator(config.seed, f"final sampling {k}{own}", run.stage.policy.device)
        temperature = 0.0 if evaluation == "greedy" else config.temperature
        outcomes = player.play(run.stage.policy, seeds, "eval", temperature, generator).outcomes
        parts = (outcomes[i : i + PART] for i in range(0, TASKS, PART))
        found += [sum(outcome.success for outcome in part) / PART for part in parts]
    return tuple(found)


def _keyed(player: Player, seed: int, purpose: str) -> Keyed:
    keyed = Keyed(player.batch, player.conversation, player.limits)
    keyed.seed, keyed.purpose = seed, purpose
    return keyed
