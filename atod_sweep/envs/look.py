"""A first look at environments, before anything is built for them: one episode of each split, in a process of its own.

What breaks the contract is known before training; code that hangs or ends its process does so where it does no harm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import cycle

from atod_sweep.config.base import validate
from atod_sweep.config.train import Env
from atod_sweep.envs import children, registry
from atod_sweep.envs.checked import STAND_IN, Checked
from atod_sweep.envs.contract import EVAL_SEEDS, TRAIN_SEEDS, split_of_seed
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.errors import UserError

SECONDS = 60.0
# What a model may say: the contract has every text answered.
_TEXTS = ("look", "", "¿\N{SLIGHTLY SMILING FACE}?\n[x]")


@dataclass(frozen=True)
class Seen:
    """What a look found. `notes`: what to know at the start, a line each. `metrics`: what environments reported beside
    success, by their config as JSON; of those that were not played to an end nothing is known."""

    notes: list[str]
    metrics: dict[str, frozenset[str]]


@dataclass(frozen=True)
class _Met:
    """What the process tells of one environment."""

    notes: list[str]
    metrics: list[str]


def look(configs: Iterable[Env], doing: Callable[[str], None] = lambda _: None, seconds: float = SECONDS) -> Seen:
    """Play these environments. UserError for one that does not keep the contract.

    `doing` is told what is being done, if anything is.

    Shipped ones are looked at if they read files. Those that only this process knows (defined in `__main__`, or
    registered with Gymnasium by code that it ran) are left out: their answers are checked as they come.
    """
    wanted = list({config.model_dump_json(): config for config in configs if _is_worth_it(config)}.values())
    notes: list[str] = []
    metrics: dict[str, frozenset[str]] = {}
    if wanted:
        doing("looking at the environments")
    while wanted:  # as a rule once
        seen, failure = _in_a_process(wanted, seconds)
        for config, met in zip(wanted, seen, strict=False):
            notes += met.notes
            metrics[config.model_dump_json()] = frozenset(met.metrics)
        if failure is not None:
            raise failure
        if rest := wanted[len(seen) :]:
            slow = f"env.id: {rest[0].id!r}: no two episodes in {seconds:g} s"
            notes.append(f"{slow}; if a step hangs, rollout.step_timeout ends it")
        wanted = rest[1:]
    return Seen(list(dict.fromkeys(notes)), metrics)


def _is_worth_it(config: Env) -> bool:
    if registry.is_shipped(config.id):
        return any(config.kwargs.get(key) for key in getattr(registry.constructor(config.id), "reads", ()))
    module, _, name = config.id.partition(":")
    return bool(name) and module != "__main__"


def _in_a_process(configs: list[Env], seconds: float) -> tuple[list[_Met], UserError | None]:
    """What is told of the first environments, and what is wrong with the next; both end early where time runs out."""
    with tempfile.TemporaryFile() as said:
        process = children.started("atod_sweep.envs.look", said)
        try:
            asked = json.dumps([config.model_dump(mode="json") for config in configs])
            told, _ = process.communicate(asked, timeout=seconds * len(configs))
            in_time = True
        except subprocess.TimeoutExpired:
            in_time = False
        finally:
            children.end(process)
        if not in_time:
            told, _ = process.communicate()
        said.seek(0)
        last = said.read().decode(errors="replace").split("\n")
    lines = [json.loads(line) for line in told.splitlines() if line.endswith("}")]
    met = [_Met(**line["met"]) for line in lines if "met" in line]
    if lines and "wrong" in lines[-1]:
        return met, EnvironmentFailed(lines[-1]["wrong"])
    if in_time and len(met) < len(configs):
        at = lines[-1]["at"] if lines else "its import"
        words = next((line.strip() for line in reversed(last) if line.strip()), "")
        how = f"exit code {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
        name = configs[len(met)].id
        return met, EnvironmentFailed(f"env.id: {name!r}: {at} ended its process ({how}) {words[:200]}".rstrip())
    return met, None


# ---- in the process --------------------------------------------------------------------------------------------------


def main() -> None:
    """Read configs as JSON, and write what was found, line by line."""
    configs = [validate(Env, data, "env") for data in json.load(sys.stdin)]
    tell = children.Mouth().tell
    for config in configs:
        try:
            tell(met=asdict(_meet(config, tell)))
        except UserError as wrong:
            tell(wrong=str(wrong))
            break
    os._exit(0)  # threads and exit handlers of environments are not waited for


def _meet(config: Env, tell: Callable[..., None]) -> _Met:
    tell(at="its constructor")
    game = Checked(config)
    notes, metrics = [], set[str]()
    if game.has("remarks"):
        notes += [f"env.id: {config.id!r}: {line}" for line in game.remarks()]
    if game.has("metric_names"):
        metrics |= set(game.metric_names())
    if game.has("vocabulary"):
        game.vocabulary()
    silent = False
    for seed in (TRAIN_SEEDS.start, EVAL_SEEDS.start):
        tell(at=f"reset() of a {split_of_seed(seed)} task")
        first, again = (game.reset(seed, split_of_seed(seed)) for _ in range(2))
        if first != again:
            drawn = f"reset(seed={seed}) gave {first[:40]!r} and then {again[:40]!r}"
            notes.append(
                f"env.id: {config.id!r}: {drawn}; seeds compare arms on the same tasks only if a seed is a task"
            )
        metrics |= _play(game, seed, tell).keys()
        silent = silent or not game.reports_success
    game.close()
    if silent:
        remedy = "info['success'] of the last step would tell"
        notes.append(f"env.id: {config.id!r} reports no success: {STAND_IN}; {remedy}")
    return _Met(notes, sorted(metrics))


def _play(game: Checked, seed: int, tell: Callable[..., None]) -> Mapping[str, float]:
    """An episode of the demonstrator or of legal actions on a training task, of any text on a held-out one: what it
    reported beside success."""
    split = split_of_seed(seed)
    tell(at=f"reset() of a {split} task")
    game.reset(seed, split)
    for text in cycle(_TEXTS):
        action = text
        if split == "train" and game.has("actions"):
            action = game.actions()[0]
        if split == "train" and game.has("demonstrator_action"):
            action = game.demonstrator_action()
        tell(at=f"step({action!r})")
        answer = game.step(action)
        if answer.terminated or answer.truncated:
            metrics: Mapping[str, float] = answer.info["metrics"]
            return metrics
    raise AssertionError("texts never end")
