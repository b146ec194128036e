"""Steps per second of every shipped environment, in one process on one core; writes envs.md.

    python benchmarks/envs.py                # five seconds a row, resets included
    python benchmarks/envs.py --seconds 0.5  # a rough look
    python benchmarks/envs.py --only webshop # some rows, printed and not written

Seconds are CPU time of the process, and the better of two halves is shown, so that other work on the machine disturbs
little. "demonstrator" pays for the demonstrator's choice of actions too, "random" for a choice among all actions.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import random
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from atod_sweep.config.train import Env
from atod_sweep.envs.benchmarks.alfworld import generate
from atod_sweep.envs.benchmarks.alfworld.engine import Engine
from atod_sweep.envs.benchmarks.alfworld.game import own_grammar, prepare
from atod_sweep.envs.speed import Player, measure
from atod_sweep.errors import UserError


class Case(NamedTuple):
    """An environment to play; `against` names the case that its speed is compared with."""

    name: str
    id: str
    horizon: int
    kwargs: Mapping[str, Any] = MappingProxyType({})
    against: str = ""


CASES = (
    *(Case("code_debug", "code_debug", horizon) for horizon in (8, 24)),
    *(Case("planner", "planner", horizon) for horizon in (16, 40)),
    *(Case("support_desk", "support_desk", horizon) for horizon in (8, 16)),
    *(Case("tool_use", "tool_use", horizon) for horizon in (8, 16)),
    Case("alfworld, rooms of 6 receptacles", "alfworld", 50, {"receptacles": 6}),
    Case("alfworld, full rooms", "alfworld", 50),
    Case("alfworld, full rooms, official engine", "alfworld", 50, {"engine": "official"}, "alfworld, full rooms"),
    Case("webshop", "webshop", 15),
    # One game each: generating games is paid for once, ahead of play.
    Case("textworld, coin collector", "textworld", 50, {"train_games": 1}),
    Case("textworld, cooking", "textworld", 50, {"suite": "cooking", "train_games": 1}),
)
PLAYERS: tuple[Player, ...] = ("demonstrator", "random")
PACKAGES = ("alfworld", "bm25s", "rapidfuzz", "textworld")
OUT = Path(__file__).parent / "envs.md"


def rows(cases: tuple[Case, ...], seconds: float) -> Iterator[str]:
    """Lines of a Markdown table and the ratios; an environment whose package is missing gets a line that says so."""
    yield "| environment | horizon | played by | steps/s | success | turns an episode |"
    yield "|---|---|---|---|---|---|"
    rates: dict[tuple[str, Player], float] = {}
    for case in cases:
        for player in PLAYERS:
            config = Env(id=case.id, horizon=case.horizon, kwargs=dict(case.kwargs))
            try:
                runs = [measure(config, player, seconds / 2, time.process_time) for _ in range(2)]
            except UserError as error:
                yield f"| {case.name} | {case.horizon} | {player} | {error} | | |"
                continue
            rate = rates[case.name, player] = max(run.steps / run.cpu_seconds for run in runs)
            turns = runs[0].steps / runs[0].episodes
            yield f"| {case.name} | {case.horizon} | {player} | {rate:,.0f} | {runs[0].success:.3f} | {turns:.1f} |"
    for case in cases:
        both = [p for p in PLAYERS if (case.name, p) in rates and (case.against, p) in rates]
        for player in both:
            ratio = rates[case.against, player] / rates[case.name, player]
            yield f"\nPlayed by {player}: {case.against} is {ratio:,.0f} times as fast as {case.name}."


def engine_row(seconds: float) -> str:
    """Random play of ALFWorld's rules alone: 20 games of full rooms made ahead, 50 commands each, resets included."""
    try:
        problems = [generate.draw(random.Random(seed), "train", generate.Size()) for seed in range(20)]
    except UserError as error:
        return f"\nALFWorld engine alone: {error}"
    games = [prepare(problem, own_grammar().with_task(problem.goal.sentences()[0])) for problem in problems]
    rng, steps = random.Random(0), 0
    began = time.process_time()
    while time.process_time() - began < seconds:
        engine = Engine(rng.choice(games))
        engine.reset()
        for _ in range(50):
            engine.step(rng.choice(sorted(engine.commands())))
        steps += 50
    rate = steps / (time.process_time() - began)
    return f"\nALFWorld engine alone, games ready, a random admissible command each step: {rate:,.0f} steps/s."


def installed() -> str:
    """Versions of the optional packages."""
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return ", ".join(f"{name} {found[name]}" for name in PACKAGES if name in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU seconds of play per row")
    parser.add_argument("--only", default="", help="environments whose name starts so; envs.md stays as it is")
    wanted = parser.parse_args()
    cases = tuple(case for case in CASES if case.name.startswith(wanted.only))
    lines = [
        "# Steps per second of the environments",
        "",
        f"One process, {wanted.seconds:g} CPU seconds a row, Python {platform.python_version()} on {platform.system()} "
        f"{platform.machine()} ({installed() or 'no optional packages'}); written by "
        f"`python benchmarks/envs.py --seconds {wanted.seconds:g}`. The machine had other work at the same time.",
        "",
    ]
    for line in itertools.chain(rows(cases, wanted.seconds), [engine_row(wanted.seconds)]):
        print(line, flush=True)
        lines.append(line)
    if not wanted.only:
        OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
