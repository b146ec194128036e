"""When a report warns, and when it does not."""

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ledger_files import read_ledger, write_ledger

from atod_sweep.config.base import dump_yaml, load_yaml
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.cautions import warnings
from atod_sweep.evidence.report.facts import facts
from atod_sweep.evidence.stats.skewness import coverage_of_collapse, false_verdicts, pooled_skewness

MakeRun = Callable[..., Path]
COVERAGE = Path(__file__).parents[3] / "benchmarks" / "coverage.md"


def said(run: Path, numerics: int | None = None) -> str:
    return " ".join(warnings(load(run), numerics))


def rewrite_first_study_row(run: Path, **changes: object) -> None:
    """The run began with a changed copy of the study's row, and got its own once something had been tried."""
    study, models, begun, *rest = read_ledger(run)
    write_ledger(run, [{**study, **changes}, models, begun, study, *rest])


def test_a_sound_run_needs_no_caution(make_run: MakeRun) -> None:
    assert said(make_run("sound", {"a": 0.6, "b": 0.5}, seeds=10)) == ""


def test_a_setting_that_does_not_learn(make_run: MakeRun) -> None:
    assert "Not learning: no arm gained" in said(make_run("flat", {"a": 0.2, "b": 0.19}, seeds=10))
    some = make_run("some", {"a": 0.6, "b": 0.5}, seeds=10, factors={"horizon": {"short": 0.0, "long": -0.4}})
    assert "Not learning at horizon=long: no arm gained" in said(some)


def test_a_ledger_without_its_trials(make_run: MakeRun) -> None:
    run = make_run("bare", {"a": 0.6, "b": 0.5}, seeds=10)
    shutil.rmtree(run / "trials")
    assert "records are not in this folder" in said(run)


def test_seeds_added_on_the_way(make_run: MakeRun) -> None:
    run = make_run("grown", {"a": 0.6, "b": 0.5}, seeds=10)
    rewrite_first_study_row(run, seeds=[0, 1])
    assert "(2, then 10): looking at results before adding seeds" in said(run)
    sequential = make_run("sequential", {"a": 0.6, "b": 0.5}, seeds=10, sequential=True)
    rewrite_first_study_row(sequential, seeds=[0, 1])
    assert "until the claims were decided" in said(sequential)


def test_a_search_that_went_on_with_other_code(make_search: MakeRun) -> None:
    """Its fresh seeds are no seeds added on the way: it has none before it has chosen."""
    run = make_search("search", 9, seeds=10)
    assert said(run) == ""
    rewrite_first_study_row(run, git="another", numerics=0)
    assert said(run) == "The run was continued after a change of: numerics, git."


def test_code_that_changed_on_the_way(make_run: MakeRun) -> None:
    run = make_run("changed", {"a": 0.6, "b": 0.5}, seeds=10)
    rewrite_first_study_row(run, git="another", numerics=0)
    assert said(run) == "The run was continued after a change of: numerics, git."


@pytest.mark.parametrize(("numerics", "stale"), [(None, False), (1, False), (2, True)])
def test_stale(make_run: MakeRun, numerics: int | None, stale: bool) -> None:
    assert ("Stale" in said(make_run("old", {"a": 0.6, "b": 0.5}, seeds=10), numerics)) is stale


def collapse(run: Path, arm: str, *seeds: int) -> None:
    """Let these seeds end at 0.1."""
    rows = read_ledger(run)
    for row in rows:
        if row.get("arm") == arm and row.get("seed") in seeds and row.get("metrics"):
            row["metrics"]["eval/success"] = 0.1
    write_ledger(run, rows)


@pytest.mark.parametrize("seeds", [10, 20, pytest.param(40, marks=pytest.mark.slow)])
def test_seeds_that_collapse(make_run: MakeRun, seeds: int) -> None:
    """The figure is that of this run's own law, and the warning does not fall silent with more seeds."""
    run = make_run("skewed", {"a": 0.6, "b": 0.5, "c": 0.5}, seeds=seeds, steps=10)
    assert said(run) == ""
    collapse(run, "a", 3)
    found = re.search(r"a collapsed on 1 of (\d+) seeds, (0\.\d+) below .* \(sd (0\.\d+)\).* truth (\d+) %", said(run))
    assert found is not None
    assert int(found[1]) == seeds
    law = coverage_of_collapse(1 / seeds, float(found[2]), float(found[3]), seeds)
    assert int(found[4]) == pytest.approx(100 * law, abs=2)
    assert 60 < int(found[4]) < 80


@pytest.mark.parametrize("claims", [[], [{"arm": "a", "other": "b"}]])
def test_without_claims_nothing_is_judged_without_collapses(make_run: MakeRun, claims: list[dict[str, str]]) -> None:
    run = make_run("skewed", {"a": 0.6, "b": 0.5}, seeds=10, steps=10, hypotheses=claims)
    collapse(run, "a", 3)
    assert ("Claims are judged by the seeds that did not collapse" in said(run)) is bool(claims)
    assert ("Every difference here counts such seeds in." in said(run)) is not bool(claims)


def test_scores_that_lean_without_collapse(make_run: MakeRun) -> None:
    run = make_run("lean", {"a": 0.6, "b": 0.5, "c": 0.5}, seeds=10, steps=10, noise=0.0)
    rows = read_ledger(run)
    for row in rows:
        if row.get("metrics") and row["role"] == "arm":
            row["metrics"]["eval/success"] += 0.003 * 2.0 ** row["seed"] / 5
    write_ledger(run, rows)
    text = said(run)
    assert "Some seeds end far high of the others" in text
    assert re.search(r"interval from 10 seeds holds the truth (7|8)\d % of the time", text)


def test_the_marks_figures_are_the_benchmarks() -> None:
    """Exponential differences: the paired t test at its worst n, and the sequence with a look at every seed."""
    (row, _) = re.findall(r"\| exponential \|(.*)\|", COVERAGE.read_text(encoding="utf-8"))
    *once, _, every, _, _ = (float(cell) for cell in row.split("|"))
    assert (max(once), every) == (false_verdicts(False), false_verdicts(True))


LAWS_HELD = ("normal", "bounded", "tied", "1 in 20", "1 in 7", "half of")


def test_verdicts_err_in_at_most_one_study_of_twenty_under_every_law_but_skewed_ones() -> None:
    """The committed simulation: both plans of looks, verdicts, equivalences, and leads that collapses undo."""
    text = COVERAGE.read_text(encoding="utf-8")
    null, offset = text.split("## False verdicts")[1].split("## A lead that collapses undo")
    rows = [line for line in null.splitlines() if line.startswith(tuple(f"| {law}" for law in LAWS_HELD))]
    assert len(rows) == 8
    assert all(float(cell) <= 5 for row in rows for cell in row.strip("|").split("|")[-4:])
    unmarked = [line for line in offset.splitlines() if line.startswith(tuple(f"| {law}" for law in LAWS_HELD))]
    assert len(unmarked) == 8
    assert all(float(row.strip("|").split("|")[-1]) <= 5 for row in unmarked)


def test_the_default_interval_covers_what_it_says_on_normal_and_bounded_runs() -> None:
    rows = re.findall(
        r"\| ([^|]+) \| (?:normal|bounded)[^|]*\| (\d+) \| (\d+) \|", COVERAGE.read_text(encoding="utf-8")
    )
    covered = {(quantity, int(n)): int(percent) for quantity, n, percent in rows}
    assert {n for _, n in covered} == {3, 5, 10, 20}
    assert all(92 <= percent <= 97 for percent in covered.values())


def test_pooled_skewness_by_hand() -> None:
    """[0, 0, 3]: k3 = 3/2 * (−1 − 1 + 8) = 9, variance 3; three such cells as one; a mirrored one takes away."""
    assert pooled_skewness([[0, 0, 3]])[0] == pytest.approx(9 / 3**1.5)
    assert pooled_skewness([[0, 0, 3]] * 3) == (pytest.approx(9 / 3**1.5), pytest.approx(3.0 / math.sqrt(3)))
    assert pooled_skewness([[0, 0, 3], [3, 3, 0]])[0] == pytest.approx(0)
    assert pooled_skewness([[1, 1, 1]])[0] == 0
    assert math.isnan(pooled_skewness([[1, 2]])[0])


def test_pooled_skewness_is_calibrated() -> None:
    """Normal noise in six cells of five seeds spreads a little less than its error says; exponential noise has 2."""
    rng = np.random.default_rng(0)
    found, error = zip(*(pooled_skewness(rng.normal(0, 1, (6, 5))) for _ in range(1000)), strict=True)
    assert 0.8 * error[0] < np.std(found) < error[0]
    assert np.mean(np.abs(found) > 2 * error[0]) < 0.05
    assert pooled_skewness(rng.exponential(1, (4000, 5)))[0] == pytest.approx(2, abs=0.1)


def test_two_trainers(make_run: MakeRun) -> None:
    run = make_run("trainers", {"a": 0.6, "b": 0.5}, seeds=10)
    configs = [path for path in (run / "trials").glob("*/config.yaml") if path.parent.name.startswith("a-")]
    assert len(configs) == 10
    for path in configs:
        path.write_text(dump_yaml(load_yaml(path) | {"trainer": {"kind": "trl", "args": {}}}))
    assert "Two trainers: trl trained a, atod trained b." in said(run)
    assert facts(load(run))["Trainer"] == "trl: a; atod: b"
