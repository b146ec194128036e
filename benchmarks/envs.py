"""Steps per second of every shipped environment, in one process on one core; writes envs.md.

    python benchmarks/envs.py                # five seconds a row, resets included
    python benchmarks/envs.py --seconds 0.5  # a rough look

Seconds are CPU time of the process, and the better of two halves is shown, so that other work on the machine disturbs
little. "demonstrator" pays for the demonstrator's choice of actions too, "random" for a choice among all actions.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from pathlib import Path

from atod_sweep import envs
from atod_sweep.config.train import Env
from atod_sweep.envs.speed import Player, measure
from atod_sweep.errors import UserError

HORIZONS = {"code_debug": (8, 24), "planner": (16, 40), "support_desk": (8, 16), "tool_use": (8, 16)}
PLAYERS: tuple[Player, ...] = ("demonstrator", "random")
OUT = Path(__file__).parent / "envs.md"


def rows(seconds: float) -> Iterator[str]:
    """Lines of a Markdown table; an environment whose package is missing gets a line that says so."""
    yield "| environment | horizon | played by | steps/s | success | turns an episode |"
    yield "|---|---|---|---|---|---|"
    for name in envs.names():
        for horizon in HORIZONS.get(name, (50,)):
            for player in PLAYERS:
                config = Env(id=name, horizon=horizon)
                try:
                    runs = [measure(config, player, seconds / 2) for _ in range(2)]
                except UserError as error:
                    yield f"| {name} | {horizon} | {player} | {error} | | |"
                    continue
                rate = max(run.steps / run.cpu_seconds for run in runs)
                turns = runs[0].steps / runs[0].episodes
                yield f"| {name} | {horizon} | {player} | {rate:,.0f} | {runs[0].success:.3f} | {turns:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of play per row")
    seconds = parser.parse_args().seconds
    lines = [
        "# Steps per second of the environments",
        "",
        f"One process, {seconds:g} s a row, CPU time, Python {platform.python_version()} on {platform.system()} "
        f"{platform.machine()}; `python benchmarks/envs.py` writes this file.",
        "",
    ]
    for line in rows(seconds):
        print(line, flush=True)
        lines.append(line)
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
