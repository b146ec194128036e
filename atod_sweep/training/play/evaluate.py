"""Success on held-out tasks: the same tasks and the same random numbers at every evaluation, fresh ones at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from atod_sweep.config.train import Evaluation
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.envs.families.measures import pass_at_k
from atod_sweep.records.metric_names import final_set
from atod_sweep.records.outcomes import pack
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Episodes, Outcome
from atod_sweep.training.play.shares import ALONE, Share
from atod_sweep.training.play.truncation import Truncation
from atod_sweep.training.randomness import numpy_generator, torch_generator

# Tasks of `evaluation.seed`, and of the default one by which base students are made, that no final set may hold.
WATCHED = 4096


def held_out_seeds(config: Evaluation) -> list[int]:
    """The evaluation tasks: distinct seeds, a function of `config.seed` alone (more tasks extend the list)."""
    return _draw(config.seed, "held-out tasks", config.tasks, set())


def final_sets(config: Evaluation) -> list[list[int]]:
    """The tasks of every final set: distinct seeds, a function of `config.seed` and the sizes in `config.final`.

    No two sets share a seed, and none is a seed of this evaluation or of the one that pretraining looks at. Further
    sets leave the earlier ones as they are.
    """
    if config.final is None:
        return []
    taken: set[int] = set()
    for seed in {config.seed, Evaluation().seed}:
        taken |= set(_draw(seed, "held-out tasks", max(WATCHED, config.tasks), set()))
    return [
        _draw(config.seed, f"final tasks {k}", config.final.tasks, taken, keep=True) for k in range(config.final.sets)
    ]


def _draw(seed: int, purpose: str, count: int, taken: set[int], keep: bool = False) -> list[int]:
    """Distinct seeds that are not in `taken`; with `keep`, they are from then on."""
    rng = numpy_generator(seed, purpose)
    found: dict[int, None] = {}
    while len(found) < count:
        drawn = int(rng.integers(EVAL_SEEDS.start, EVAL_SEEDS.stop))
        if drawn not in taken:
            found[drawn] = None
    if keep:
        taken.update(found)
    return list(found)


def evaluate(policy: Policy, player: Player, config: Evaluation) -> dict[str, Any]:
    """The metrics of `evaluated`."""
    return evaluated(policy, player, config)[0]


def evaluated(
    policy: Policy, player: Player, config: Evaluation, share: Share = ALONE
) -> tuple[dict[str, Any], Episodes, list[Outcome]]:
    """An evaluation's metrics, this process's episodes of its first round, and what came of everybody's.

    `eval/success`, `eval/reward`, `eval/turns`, `eval/<metric>`, how the policy acts (see `habits`), and two lists by
    number of turns played, from 1: `eval/ended_by_turn` counts the episodes that ended then, `eval/success_by_turn`
    those of them that succeeded. With several attempts at a task, `eval/pass@1` and `eval/pass@<attempts>` too.
    """
    played = _play(policy, player, config, held_out_seeds(config), "held-out sampling", share)
    rounds = [share.gathered(episodes.outcomes, config.tasks) for episodes in played]
    outcomes = [outcome for played in rounds for outcome in played]
    longest = max(o.turns for o in outcomes)
    ended, succeeded = [0] * longest, [0.0] * longest
    for outcome in outcomes:
        ended[outcome.turns - 1] += 1
        succeeded[outcome.turns - 1] += outcome.success
    means = _measures(rounds) | habits(outcomes, sampled=config.temperature > 0)
    found: dict[str, Any] = {f"eval/{name}": value for name, value in means.items()}
    return found | {"eval/ended_by_turn": ended, "eval/success_by_turn": succeeded}, played[0], rounds[0]


def evaluate_final(policy: Policy, player: Player, config: Evaluation, share: Share = ALONE) -> dict[str, Any]:
    """What `config.final` asks for, {} if nothing: `final/<metric>`, the mean over the task sets,
    `final/<metric>/set<k>` for every set, and `final/outcomes`: the success of every task, set after set, packed (the
    mean over its attempts). Tasks and random numbers are the same for whoever plays, so that differences are paired.
    """
    sets = [
        [
            share.gathered(played.outcomes, len(seeds))
            for played in _play(policy, player, config, seeds, f"final sampling {k}", share)
        ]
        for k, seeds in enumerate(final_sets(config))
    ]
    if not sets:
        return {}
    found: dict[str, Any] = {}
    measured = [_measures(rounds) for rounds in sets]
    for name in dict.fromkeys(name for measures in measured for name in measures):
        by_set = {k: measures[name] for k, measures in enumerate(measured) if name in measures}
        found[f"final/{name}"] = float(np.mean(list(by_set.values())))
        found |= {final_set(f"final/{name}", k): value for k, value in by_set.items()}
    tasks = [float(np.mean([o.success for o in attempts])) for rounds in sets for attempts in zip(*rounds, strict=True)]
    return found | {"final/outcomes": pack(tasks)}


def _play(
    policy: Policy, player: Player, config: Evaluation, seeds: list[int], purpose: str, share: Share
) -> list[Episodes]:
    """Every attempt at every task, or at a share of them, round by round, with random numbers of `purpose`."""
    generator = torch_generator(config.seed, purpose, policy.device)
    how: Any = {"temperature": config.temperature, "generator": generator, "truncation": Truncation.of(config)}
    if share is not ALONE:
        how["share"] = share
    return [player.play(policy, seeds, "eval", **how) for _ in range(config.attempts)]


def _measures(rounds: list[list[Outcome]]) -> dict[str, float]:
    """Means over all episodes, and with several attempts at a task the shares of tasks that were passed."""
    found = summary([outcome for played in rounds for outcome in played])
    return found | (passes(rounds) if len(rounds) > 1 else {})


def passes(rounds: list[list[Outcome]]) -> dict[str, float]:
    """`pass@1` and `pass@k` of k rounds over the same tasks; an attempt passes with full success."""
    k = len(rounds)
    passed = [sum(outcome.success >= 1 for outcome in attempts) for attempts in zip(*rounds, strict=True)]
    return {f"pass@{n}": float(np.mean([pass_at_k(k, count, n) for count in passed])) for n in (1, k)}


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Means over episodes: success, reward, turns, and every metric that the environment reports."""
    values: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        values["success"].append(outcome.success)
        values["reward"].append(outcome.reward)
        values["turns"].append(outcome.turns)
        for name, value in outcome.metrics.items():
            values[name].append(value)
        if outcome.stand_in is not None:
            values["proxy"].append(outcome.total)
    return {name: float(np.mean(numbers)) for name, numbers in values.items()}


def habits(outcomes: list[Outcome], sampled: bool = True) -> dict[str, float]:
    """How a policy acts: see `metric_names.HABITS`. Left out is what nobody can tell.

    `sampled`: from its own distribution, so that surprise is, on average, entropy.
    """
    turns = [(act, said) for o in outcomes for act, (_, said) in zip(o.acts, o.transcript, strict=True)]
    acts = [act for act, _ in turns if act.taken is None]
    said = [said for act, said in turns if act.taken is None]
    if not acts:
        return {}
    found = {"action_cut": _share(act.cut for act in acts), "action_empty": _share(action == "" for action in said)}
    if marked := [act.marked for act in acts if act.marked is not None]:
        found["action_unmarked"] = _share(not one for one in marked)
    if judged := [act.admissible for act in acts if act.admissible is not None]:
        found["action_inadmissible"] = _share(not admissible for admissible in judged)
    surprisals = [act.surprisal for act in acts if act.surprisal is not None]
    if sampled and len(surprisals) == len(acts):
        found["token_entropy"] = sum(surprisals) / max(1, sum(act.tokens for act in acts))
    groups: dict[int, list[float]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.seed].append(outcome.total)
    if several := [rewards for rewards in groups.values() if len(rewards) > 1]:
        found["group_flat"] = _share(max(rewards) == min(rewards) for rewards in several)
    return found


def _share(those: Iterable[bool]) -> float:
    return float(np.mean(list(those)))
