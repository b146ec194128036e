"""Settings that do not learn are left out of verdicts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_files import failed_row, read_ledger, study_row, trial_row, write_ledger

from atod_sweep.evidence.analysis.learning import bar, gain, not_learning
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.verdicts import judge

MakeRun = Callable[..., Path]
CLAIM = {"arm": "a", "other": "b"}
FACTORS = {"horizon": {"short": 0.0, "long": -0.4}}


def write_run(folder: Path, successes: dict[str, list[float | None]], start: float = 0.2) -> Path:
    """A run of one condition: arm -> final success by seed, None for a failed trial."""
    rows = [study_row("s", successes, seeds=[0, 1])]
    begun = {"start_metrics": {"eval/success": start}}
    for arm, finals in successes.items():
        for seed, final in enumerate(finals):
            done = trial_row(arm, seed, "COMPLETE", metrics={"eval/success": final}, **begun)
            rows.append(failed_row(arm, seed, **begun) if final is None else done)
    folder.mkdir(exist_ok=True)
    write_ledger(folder, rows)
    return folder


@pytest.mark.parametrize(
    ("successes", "best", "stalled"),
    [
        ({"a": [0.28, 0.28], "b": [0.2, 0.2]}, 0.1, False),  # exactly the bar: 0.1 of the 0.8 that was left to gain
        ({"a": [0.24, 0.30], "b": [0.2, 0.2]}, 0.0875, True),
        ({"a": [0.2, 0.2], "b": [0.3, 0.42]}, 0.2, False),  # any arm will do
        ({"a": [None, 0.44], "b": [0.2, 0.2]}, 0.3, False),  # a failed trial does not count
    ],
)
def test_the_best_arms_mean_gain_decides(
    tmp_path: Path, successes: dict[str, list[float | None]], best: float, stalled: bool
) -> None:
    results = load(write_run(tmp_path / "run", successes))
    assert gain(results, {}) == pytest.approx(best)
    assert not_learning(results) == ([{}] if stalled else [])


@pytest.mark.parametrize(
    ("start", "end", "stalled"),
    [
        (0.86, 0.975, False),  # a strong base has little left to gain, and this arm gained most of it
        (0.086, 0.219, False),
        (0.086, 0.098, True),
        (0.2, 0.0, True),
        (1.0, 1.0, False),  # nothing was left to gain
    ],
)
def test_the_bar_is_a_part_of_what_is_left(tmp_path: Path, start: float, end: float, stalled: bool) -> None:
    results = load(write_run(tmp_path / "run", {"a": [end, end], "b": [0.0, 0.0]}, start))
    assert bool(not_learning(results)) == stalled


@pytest.mark.parametrize(
    ("bars", "metric", "stalled"),
    [
        ({}, "eval/success", True),
        ({"learning": {"eval/success": 0.05}}, "eval/success", False),
        ({"learning": {}}, "eval/success", False),
        ({}, "eval/turns", False),  # no bar unless one is set
        ({"learning": {"eval/turns": 1.0}}, "eval/turns", False),  # from 8 turns to 6: two fewer
        ({"learning": {"eval/turns": 3.0}}, "eval/turns", True),
    ],
)
def test_the_study_sets_the_bar(tmp_path: Path, bars: dict[str, object], metric: str, stalled: bool) -> None:
    run = write_run(tmp_path / "run", {"a": [0.25, 0.25], "b": [0.2, 0.2]})
    rows = read_ledger(run)
    rows[0]["bars"] = bars
    for row in rows[1:]:
        row["start_metrics"]["eval/turns"], row["metrics"]["eval/turns"] = 8.0, 6.0
    write_ledger(run, rows)
    results = load(run)
    assert bool(not_learning(results, metric)) == stalled
    assert bool(bar(results, metric)) == (metric in results.study.bars.learning)


def test_without_results_nothing_is_said(tmp_path: Path) -> None:
    assert not_learning(load(write_run(tmp_path / "run", {"a": [None, None]}))) == []


def test_a_claim_about_a_setting_that_does_not_learn_is_not_judged(make_run: MakeRun) -> None:
    claims = [{**CLAIM, "at": {"horizon": level}} for level in ("short", "long")]
    short, long = judge(load(make_run("x", {"a": 0.6, "b": 0.5}, seeds=6, factors=FACTORS, hypotheses=claims)))
    assert (short.outcome, short.left_out) == ("supported", ())
    assert (long.outcome, long.holds, long.n, long.marks) == ("not learning", None, 0, [])
    assert "not judged" in long.line()
    assert "not judged" in long.sentence()


def test_a_claim_over_all_settings_counts_those_that_learn(make_run: MakeRun) -> None:
    claims = [CLAIM, {**CLAIM, "at": {"horizon": "short"}}]
    verdict, alone = judge(load(make_run("x", {"a": 0.6, "b": 0.5}, seeds=6, factors=FACTORS, hypotheses=claims)))
    assert verdict.left_out == ({"horizon": "long"},)
    assert any(mark.startswith("partial: without horizon=long") for mark in verdict.marks)
    assert verdict.comparison.differences == alone.comparison.differences
