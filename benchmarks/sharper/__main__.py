"""Command line of the benchmark (see the package's docstring)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.sharper import scores
from benchmarks.sharper.play import ARMS, NOISES, trial

SCORES = Path(__file__).parent / "scores.csv"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharper", description=__doc__)
    parser.add_argument("--train", type=int, metavar="SEEDS", help="train so many seeds, those recorded left out")
    parser.add_argument("--steps", type=int, default=200, help="of each trial")
    parser.add_argument("--scores", type=Path, default=SCORES, help="where scores are recorded")
    args = parser.parse_args()
    for seed in range(args.train or 0):
        for noise in NOISES:
            for arm in ARMS:
                known = {(s.noise, s.arm, s.seed) for s in scores.read(args.scores)}
                if (noise, arm, seed) in known:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    scores.append(args.scores, trial(noise, arm, seed, args.steps, Path(folder)))
                print(noise, arm, seed, flush=True)


if __name__ == "__main__":
    main()
