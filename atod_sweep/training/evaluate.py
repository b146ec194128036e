"""Success on held-out tasks: the same tasks and the same random numbers at every evaluation."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from atod_sweep.config.train import Evaluation
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.training.episodes import Outcome, Player
from atod_sweep.training.policy import Policy
from atod_sweep.training.randomness import numpy_generator, torch_generator


def held_out_seeds(config: Evaluation) -> list[int]:
    """The evaluation tasks: distinct seeds, a function of `config.seed` alone (more tasks extend the list)."""
    rng = numpy_generator(config.seed, "held-out tasks")
    seeds: dict[int, None] = {}
    while len(seeds) < config.tasks:
        seeds[int(rng.integers(EVAL_SEEDS.start, EVAL_SEEDS.stop))] = None
    return list(seeds)


def evaluate(policy: Policy, player: Player, config: Evaluation) -> dict[str, float]:
    """`eval/success`, `eval/reward`, `eval/turns`, `eval/<metric>` and, by turn, where failed episodes stood."""
    generator = torch_generator(config.seed, "held-out sampling", policy.device)
    episodes = player.play(policy, held_out_seeds(config), "eval", config.temperature, generator)
    return {f"eval/{name}": value for name, value in summary(episodes.outcomes).items()}


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
