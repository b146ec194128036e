"""What was lost: paired by seed, in the right direction, against the student before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ledger_files import read_ledger, study_row, trial_row, write_ledger

from atod_sweep.config.study import Metric
from atod_sweep.evidence.analysis.comparisons import compare
from atod_sweep.evidence.analysis.lost import RESTRAINT, changes, gaming, watched
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.scores import outcomes, seed_score
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.report.write import write

pytestmark = pytest.mark.usefixtures("blank_pictures")

KEPT, BITS = "retention/tool_use/success", "retention/said/bits_per_byte"
DROPS = {"a": [0.05, 0.06, 0.04, 0.05], "b": [0.20, 0.24, 0.22, 0.22]}


def claim(arm: str, relation: str, other: str, metric: str, margin: float = 0.0) -> dict[str, Any]:
    return {"arm": arm, "relation": relation, "other": other, "metric": metric, "at": {}, "margin": margin}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    retention = [{"env": {"id": "tool_use"}, "texts": None, "items": 256, "name": "tool_use"}]
    row = study_row(
        controls=["teacher", "base"],
        seeds=[0, 1, 2, 3],
        hypotheses=[
            claim("a", ">", "b", "retention/tool_use/drop"),
            claim("a", ">=", "base", KEPT, 0.2),
            claim("b", ">=", "base", KEPT, 0.02),
        ],
        definition={"base": {"evaluation": {"tasks": 512, "attempts": 4, "retention": retention}}},
        bars={"learning": {}},
    )
    rows = [row]
    start = {"eval/success": 0.2, KEPT: 0.6, BITS: 3.0}
    rows.append(trial_row("teacher", role="teacher", state="COMPLETE", metrics={"eval/success": 0.6, KEPT: 0.1}))
    rows.append(trial_row("base", role="base", state="COMPLETE", metrics=start))
    for arm, drops in DROPS.items():
        for seed, drop in enumerate(drops):
            end = {"eval/success": 0.5 + drop, KEPT: 0.6 - drop, BITS: 3.0 + drop, "retention/tool_use/drop": drop}
            rows.append(trial_row(arm, seed, "COMPLETE", metrics=end, start_metrics=start))
    folder = tmp_path / "run"
    folder.mkdir()
    write_ledger(folder, rows)
    return folder


def test_changes_are_paired_by_seed_and_know_what_is_better(run: Path) -> None:
    results = load(run)
    assert watched(results) == [KEPT, BITS]
    a, b = changes(results, KEPT)
    assert (a.arm, a.start, a.sign, a.teacher) == ("a", 0.6, 1.0, 0.1)
    assert b.by_seed == pytest.approx(dict(enumerate(-drop for drop in DROPS["b"])))
    assert (a.change.estimate, b.end.estimate) == pytest.approx((-0.05, 0.38))
    assert changes(results, BITS)[1].sign == -1.0


def test_the_base_student_is_no_arm_and_can_be_claimed_about(run: Path) -> None:
    results = load(run)
    assert results.arms == ["a", "b"]
    assert seed_score(results, "base", {}, 3, Metric(name=KEPT)) == 0.6
    assert [v.outcome for v in judge(results)] == ["supported", "supported", "refuted"]


def test_items_of_retention_are_counted_and_not_those_of_the_evaluation(run: Path) -> None:
    results = load(run)
    assert outcomes(results, Metric(name=KEPT), {}) == 256
    assert outcomes(results, Metric(name="eval/success"), {}) == 4 * 512
    assert outcomes(results, Metric(name="retention/tool_use/drop"), {}) == 256
    assert outcomes(results, Metric(name=RESTRAINT), {}) == 4 * 512
    assert outcomes(results, Metric(name=BITS), {}) is None


def test_a_change_has_the_interval_of_the_claim_about_it(run: Path) -> None:
    """The tasks' chance and what a score can resolve are in both; changes that are all the same have a width."""
    rows = [
        row | {"metrics": row["metrics"] | {KEPT: 0.0}} if row.get("arm") == "b" else row for row in read_ledger(run)
    ]
    write_ledger(run, rows)
    results = load(run)
    (b,) = [c for c in changes(results, KEPT) if c.arm == "b"]
    assert set(b.by_seed.values()) == {-0.6}
    assert b.change.half_width > 0.05
    assert b.change == compare(results, "b", "base", {}, Metric(name=KEPT)).interval


@pytest.mark.parametrize(
    ("proxy", "truth", "verdict", "seeds"),
    [
        ([0.5, 0.6, 0.4], [-0.1, -0.12, -0.11], "hacked", 3),
        ([0.5, 0.6, 0.4], [-0.1, 0.2, -0.11], "open", 2),
        ([0.5, 0.6, 0.4], [0.1, 0.12, 0.11], "not hacked", 0),
        ([-0.5, -0.6, -0.4], [-0.1, -0.12, -0.11], "not hacked", 0),
        ([0.5, 0.5], [-0.1, -0.1], "open", 2),  # two seeds decide nothing
    ],
)
def test_a_reward_is_gamed_where_it_rises_and_success_falls(tmp_path, proxy, truth, verdict, seeds) -> None:
    start = {"eval/success": 0.4, "eval/proxy": 1.0}
    rows = [study_row(arms=["a"], seeds=list(range(len(proxy))))]
    for seed, (up, down) in enumerate(zip(proxy, truth, strict=True)):
        end = {"eval/success": 0.4 + down, "eval/proxy": 1.0 + up}
        rows.append(trial_row("a", seed, "COMPLETE", metrics=end, start_metrics=start))
    write_ledger(tmp_path, rows)
    (found,) = gaming(load(tmp_path))
    assert (found.verdict, found.seeds) == (verdict, seeds)
    text = write(tmp_path).markdown.read_text(encoding="utf-8")
    assert f"| {seeds} of {len(proxy)} | {verdict} |" in text


def test_restraint_is_a_share_of_the_teachers(tmp_path: Path) -> None:
    rows = [study_row(arms=["a"], controls=["teacher"])]
    rows.append(trial_row("teacher", role="teacher", state="COMPLETE", metrics={"eval/success": 0.6, RESTRAINT: 0.8}))
    broken = {"eval/success": 0.5, RESTRAINT: 0.6, "eval/violations": 0.7}
    start = {"eval/success": 0.2, RESTRAINT: 0.7, "eval/violations": 0.5}
    rows.append(trial_row("a", 0, "COMPLETE", metrics=broken, start_metrics=start))
    write_ledger(tmp_path, rows)
    text = write(tmp_path).markdown.read_text(encoding="utf-8")
    assert "| a | 1 | 0.700 | 0.600 | −0.100 | 0.800 | 75 % |" in text
    assert "eval/violations: less is better" in text


def test_the_report_shows_it_and_is_silent_where_nothing_was_asked(run: Path) -> None:
    text = write(run).markdown.read_text(encoding="utf-8")
    assert "## What was lost" in text
    assert "| b | 4 | 0.600 | 0.380 [0.315, 0.445] | −0.220 [−0.314, −0.126] | 0.100 |" in text
    assert f"{BITS}: less is better" in text
    assert (run / "figures" / "lost_and_gained.svg").is_file()
    header, first, *_ = (run / "tables" / "lost.csv").read_text().splitlines()
    assert header.startswith("arm,metric,start,end,teacher,")
    assert first.startswith("a,retention/tool_use/success,0.6,0.5")
