"""Command line of the benchmark (see the package's docstring)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.sharper import report, scores
from benchmarks.sharper.play import ARMS, NOISES, trial

SCORES = Path(__file__).parent / "scores.csv"


def train(steps: int, noises: list[str], seeds: int) -> None:
    """Train and record so many seeds, those recorded left out."""
    for seed in range(seeds):
        for noise in noises:
            for arm in ARMS:
                if (steps, noise, arm, seed) in {(s.steps, s.noise, s.arm, s.seed) for s in scores.read(SCORES)}:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    scores.append(SCORES, trial(steps, noise, arm, seed, Path(folder)))
                print(steps, noise, arm, seed, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharper", description=__doc__)
    parser.add_argument("--train", type=int, metavar="SEEDS", help="train so many seeds, those recorded left out")
    parser.add_argument("--steps", type=int, default=200, help="of each of these trials")
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=list(NOISES), help="of their rollouts")
    args = parser.parse_args()
    if args.train:
        train(args.steps, args.noises, args.train)
        return
    kept = report.OUT.read_text(encoding="utf-8").partition(report.KEPT)[2] if report.OUT.is_file() else "\n"
    report.OUT.write_text(report.document(scores.read(SCORES)) + report.KEPT + kept, encoding="utf-8")


if __name__ == "__main__":
    main()
