"""What early stopping would have cost on runs whose trials all ran to their end; writes stopping_regret.md.

    python -m benchmarks.stopping_regret runs/teacher_ceiling runs/schedule

Each run's configurations are replayed in random orders under each rule. What the replay cannot show: a search that
learns from its results would have proposed other configurations after the first stop.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from atod_sweep.errors import UserError
from benchmarks.regret import RULES, recorded, regret

OUT = Path(__file__).parent / "stopping_regret.md"
HEAD = """# What early stopping would have cost

`{command}`, {orders} random orders per row.

Trials that ran to their end are replayed as a search would have seen them: configurations in random order,
{seeds} of the recorded seeds each, a configuration dropped with the first of its trials that the rule stops.
*Best dropped*: how often the configuration that ends best (mean over all recorded seeds) is among the dropped.
*Loss*: how much worse the best one kept is, on average. *Saved*: environment steps not spent. By default
nothing is stopped before its teacher's weight has decayed; the rules with a grace period of their own are the
documented override.
"""


def table(run_dir: Path, seeds: int, orders: int) -> list[str]:
    """Markdown of one run. UserError if it holds nothing to replay."""
    trials, metric = recorded(run_dir)
    seeds = min(seeds, len({trial.seed for trial in trials}))
    configurations = len({trial.configuration for trial in trials})
    lines = [
        "",
        f"## {run_dir.name}: {len(trials)} trials of {configurations} configurations, by {metric.name}",
        "",
        "| rule | best dropped | loss | saved |",
        "|---|---|---|---|",
    ]
    for name, rule in RULES.items():
        found = regret(trials, rule, metric, seeds, orders)
        lines.append(f"| {name} | {found.dropped_best:.1%} | {found.loss:.4f} | {found.saved:.0%} |")
    return lines


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs without early stopping")
    parser.add_argument("--seeds", type=int, default=2, help="seeds per configuration, as the search would have had")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    shown = [f"runs/{run.resolve().name}" for run in args.runs]
    command = shlex.join(["python", "-m", "benchmarks.stopping_regret", *shown])
    try:
        lines = [line for run in args.runs for line in table(run, args.seeds, args.orders)]
    except UserError as error:
        sys.exit(str(error))
    text = HEAD.format(command=command, orders=f"{args.orders:,}", seeds=args.seeds) + "\n".join(lines) + "\n"
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
