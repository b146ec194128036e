"""Settings that do not learn are left out of verdicts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from atod_sweep.evidence.analysis.learning import gain, not_learning
from atod_sweep.evidence.analysis.results import load
from atod_sweep.evidence.analysis.verdicts import judge

MakeRun = Callable[..., Path]
CLAIM = {"arm": "a", "other": "b"}
FACTORS = {"horizon": {"short": 0.0, "long": -0.4}}


def write_ledger(folder: Path, successes: dict[str, list[float | None]], start: float = 0.2) -> Path:
    """A run of one condition: arm -> final success by seed, None for a failed trial."""
    study = {
        "event": "study", "time": 0.0, "name": "s", "question": "q", "reference": next(iter(successes)),
        "metric": {"name": "eval/success", "last": 1}, "hypotheses": [], "arms": list(successes), "controls": [],
        "factors": {}, "seeds": [0, 1],
    }  # fmt: skip
    rows = [study]
    for arm, finals in successes.items():
        for seed, final in enumerate(finals):
            state = {"state": "FAILED"} if final is None else {"state": "COMPLETE", "metrics": {"eval/success": final}}
            rows.append(
                {
                    "event": "trial", "trial": f"{arm}-s{seed}", "arm": arm, "role": "arm", "levels": {}, "seed": seed,
                    "attempt": 1, "config_hash": "0", "start_metrics": {"eval/success": start}, **state,
                }
            )  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("successes", "best", "stalled"),
    [
        ({"a": [0.35, 0.35], "b": [0.2, 0.2]}, 0.15, False),  # exactly the bound learns
        ({"a": [0.30, 0.38], "b": [0.2, 0.2]}, 0.14, True),
        ({"a": [0.2, 0.2], "b": [0.3, 0.5]}, 0.2, False),  # any arm will do
        ({"a": [None, 0.5], "b": [0.2, 0.2]}, 0.3, False),  # a failed trial does not count
    ],
)
def test_the_best_arms_mean_gain_decides(
    tmp_path: Path, successes: dict[str, list[float | None]], best: float, stalled: bool
) -> None:
    results = load(write_ledger(tmp_path / "run", successes))
    assert gain(results, {}) == pytest.approx(best)
    assert not_learning(results) == ([{}] if stalled else [])


def test_without_results_nothing_is_said(tmp_path: Path) -> None:
    assert not_learning(load(write_ledger(tmp_path / "run", {"a": [None, None]}))) == []


def test_a_claim_about_a_setting_that_does_not_learn_is_not_judged(make_run: MakeRun) -> None:
    claims = [{**CLAIM, "at": {"horizon": level}} for level in ("short", "long")]
    short, long = judge(load(make_run("x", {"a": 0.6, "b": 0.5}, seeds=6, factors=FACTORS, hypotheses=claims)))
    assert (short.outcome, short.marks) == ("supported", [])
    assert (long.outcome, long.holds, long.n, long.marks) == ("not learning", None, 0, [])
    assert "not judged" in long.line()
    assert "not judged" in long.sentence()


def test_a_claim_over_all_settings_counts_those_that_learn(make_run: MakeRun) -> None:
    claims = [CLAIM, {**CLAIM, "at": {"horizon": "short"}}]
    verdict, alone = judge(load(make_run("x", {"a": 0.6, "b": 0.5}, seeds=6, factors=FACTORS, hypotheses=claims)))
    assert verdict.left_out == ({"horizon": "long"},)
    assert verdict.marks[0].startswith("partial: without horizon=long")
    assert verdict.comparison.differences == alone.comparison.differences
