"""Success on held-out tasks: the same tasks and the same random numbers at every evaluation."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from atod_sweep.config.train import Evaluation
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.envs.families.measures import pass_at_k
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.randomness import numpy_generator, torch_generator


def held_out_seeds(config: Evaluation) -> list[int]:
    """The evaluation tasks: distinct seeds, a function of `config.seed` alone (more tasks extend the list)."""
    rng = numpy_generator(config.seed, "held-out tasks")
    seeds: dict[int, None] = {}
    while len(seeds) < config.tasks:
        seeds[int(rng.integers(EVAL_SEEDS.start, EVAL_SEEDS.stop))] = None
    return list(seeds)


def evaluate(policy: Policy, player: Player, config: Evaluation) -> dict[str, Any]:
    """`eval/success`, `eval/reward`, `eval/turns`, `eval/<metric>`, and two lists by number of turns played, from 1:
    `eval/ended_by_turn` counts the episodes that ended then, `eval/success_by_turn` those of them that succeeded.
    With several attempts at a task, `eval/pass@1` and `eval/pass@<attempts>` too.
    """
    generator = torch_generator(config.seed, "held-out sampling", policy.device)
    seeds = held_out_seeds(config)
    rounds = [
        player.play(policy, seeds, "eval", config.temperature, generator).outcomes for _ in range(config.attempts)
    ]
    outcomes = [outcome for played in rounds for outcome in played]
    longest = max(o.turns for o in outcomes)
    ended, succeeded = [0] * longest, [0.0] * longest
    for outcome in outcomes:
        ended[outcome.turns - 1] += 1
        succeeded[outcome.turns - 1] += outcome.success
    found: dict[str, Any] = {f"eval/{name}": value for name, value in summary(outcomes).items()}
    if config.attempts > 1:
        found |= passes(rounds)
    return found | {"eval/ended_by_turn": ended, "eval/success_by_turn": succeeded}


def passes(rounds: list[list[Outcome]]) -> dict[str, float]:
    """`eval/pass@1` and `eval/pass@k` of k rounds over the same tasks; an attempt passes with full success."""
    k = len(rounds)
    passed = [sum(outcome.success >= 1 for outcome in attempts) for attempts in zip(*rounds, strict=True)]
    return {f"eval/pass@{n}": float(np.mean([pass_at_k(k, count, n) for count in passed])) for n in (1, k)}


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Means over episodes: success, reward, turns, and every metric that the environment reports."""
    values: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        values["success"].append(outcome.success)
        values["reward"].append(outcome.total)
        values["turns"].append(outcome.turns)
        for name, value in outcome.metrics.items():
            values[name].append(value)
    return {name: float(np.mean(numbers)) for name, numbers in values.items()}
