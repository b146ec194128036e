"""The table of what early stopping costs comes from any run without factors."""

from __future__ import annotations

import json

import pytest
from ledger_files import study_row, trial_row, write_ledger, write_metrics

from atod_sweep.errors import UserError
from benchmarks.stopping_regret import table


def write_run(folder, factors=None):
    """A study of a fast and a slow arm, two seeds each."""
    rows = [study_row(factors=factors or {}), trial_row("teacher", 0, "COMPLETE", role="teacher")]
    for arm, final in (("slow", 0.4), ("fast", 0.8)):
        for seed in (0, 1):
            trial = f"{arm}-s{seed}"
            rows.append(trial_row(arm, seed, "COMPLETE", score=final))
            (folder / "trials" / trial).mkdir(parents=True)
            config = {"steps": 100, "seed": seed, "objective": {}}
            (folder / "trials" / trial / "config.yaml").write_text(json.dumps(config))
            evaluations = [
                {"phase": "eval", "step": s, "eval/success": final * s / 100, "cost/env_steps": 10 * s}
                for s in (0, 50, 100)
            ]
            write_metrics(folder / "trials" / trial / "metrics.jsonl", evaluations)
    write_ledger(folder, rows)


def test_the_table_has_a_line_per_rule(tmp_path):
    write_run(tmp_path)
    lines = table(tmp_path, seeds=2, orders=20)
    assert lines[1].endswith("4 trials of 2 configurations, by eval/success")
    assert len(lines) == 5 + 4
    assert all("| 0.0% | 0.0000 | 0% |" in line for line in lines[5:])  # two configurations are too few to stop one


def test_levels_are_no_configurations(tmp_path):
    write_run(tmp_path, factors={"horizon": ["short", "long"]})
    with pytest.raises(UserError, match="several levels of horizon"):
        table(tmp_path, seeds=2, orders=5)
