"""The figure of endings, where seeds and evaluations differ in their longest episode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_files import write_metrics

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.figures.turns import endings
from atod_sweep.records.metrics import read_metrics

MakeRun = Callable[..., Path]


@pytest.mark.usefixtures("blank_pictures")
def test_seeds_whose_longest_episodes_differ_are_counted_together(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", {"a": 0.6}, seeds=2, steps=20, turns=3)
    ends = {0: ([4, 6, 2], [3, 5, 0]), 1: ([8, 4], [8, 2])}  # seed 1 played three turns at step 10, and none at the end
    for seed, (ended, won) in ends.items():
        path = run / "trials" / f"a-s{seed}" / "metrics.jsonl"
        rows = read_metrics(path)
        rows[-1] |= {"eval/ended_by_turn": ended, "eval/success_by_turn": won}
        write_metrics(path, rows)
    figure = endings(load(run), tmp_path)
    assert figure is not None
    success, failures = (axis.lines[0].get_ydata().tolist() for axis in figure.canvas.axes)
    assert success == [18 / 24, 7 / 12, 0.0]  # 24 episodes, of which 12 reach the second turn and 2 the third
    assert failures == [1 / 24, 3 / 24, 2 / 24]
