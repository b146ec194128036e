"""What a report says of a search: what was tried, how optimistic the choice was, what mattered, what failed."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ledger_files import configuration_row, failed_row, read_ledger, study_row, told_row, trial_row, write_ledger

from atod_sweep.evidence.analysis.comparisons import against_reference, best_arm
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.searches import searched, short_names
from atod_sweep.evidence.report.headline import headline
from atod_sweep.evidence.report.write import write
from atod_sweep.evidence.tables.searches import ENDS, quote

Make = Callable[..., Path]


def write_hand(
    folder: Path,
    told: dict[str, list[float] | None],
    fresh: dict[str, list[float]],
    mode: str,
    metric: str = "eval/turns",
) -> Path:
    """A search by hand: arm -> values told, arm -> results on fresh seeds."""
    search = {
        "metric": {"name": metric, "last": 2, "mode": mode}, "second": None, "budget": {"seeds": 2},
        "parameters": {"optimiser.lr": {"float": [1e-4, 1e-2], "log": True}, "steps": 10},
    }  # fmt: skip
    seeds = [1000, 1001] if fresh else []
    judged = {"name": metric, "last": 2}
    rows = [study_row("s", fresh, reference="reference", metric=judged, seeds=seeds, search=search)]
    for arm, values in told.items():
        rows.append(configuration_row(arm, {"optimiser.lr": 0.001, "steps": 10}))
        rows.append(told_row(arm, "FAIL" if values is None else "COMPLETE", values))
    for arm, scores in fresh.items():
        for seed, score in enumerate(scores, start=1000):
            rows.append(trial_row(arm, seed, "COMPLETE", phase="confirm", score=score))
    write_ledger(folder, rows)
    return folder


TOLD = {"c000": [5.0], "c001": [4.0], "c002": None}
FRESH = {"reference": [7.0, 7.0], "c001": [4.5, 5.5], "c000": [5.2, 5.4]}


@pytest.mark.parametrize(("mode", "best", "optimism", "wins"), [("min", "c001", 1.0, 2), ("max", "reference", -1.0, 0)])
def test_small_values_may_be_the_good_ones(tmp_path: Path, mode: str, best: str, optimism: float, wins: int) -> None:
    results = load(write_hand(tmp_path, TOLD, FRESH, mode))
    found = searched(results)
    assert found is not None
    assert found.keys == ("optimiser.lr",)
    assert found.log == {"optimiser.lr"}
    order = ["c001", "c000", "c002"] if mode == "min" else ["c000", "c001", "c002"]
    assert [c.arm for c in found.ranked] == order
    (kept,) = [c for c in found.chosen if c.arm == "c001"]
    assert kept.confirmed.estimate == pytest.approx(5.0)  # read from the ledger: there is no metrics file
    assert kept.optimism == pytest.approx(optimism)  # the search saw 4.0, the fresh seeds 5.0
    chosen = best_arm(results)
    assert chosen is not None
    assert chosen.arm == best
    (versus,) = [c for c in against_reference(results) if c.arm == "c001"]
    assert (versus.wins, versus.losses) == (wins, 2 - wins)


def test_names_are_as_short_as_they_can_be_told_apart() -> None:
    keys = ("optimiser.lr", "objective.distill_weight.kind", "objective.turns.kind", "steps")
    assert list(short_names(keys).values()) == ["lr", "distill_weight.kind", "turns.kind", "steps"]
    assert short_names(("a.lr", "lr"))["a.lr"] == "a.lr"


@pytest.mark.usefixtures("blank_pictures")
def test_a_search_in_which_nothing_completed_has_a_report(make_search: Make) -> None:
    run = make_search("none", 3)
    rows = read_ledger(run)
    error = failed_row()["error"]
    kept = [r for r in rows if r.get("phase") != "confirm"][:-1]  # nothing was chosen
    for row in kept:
        row.update(
            {"told": {"state": "FAIL", "values": None}, "trial": {"state": "FAILED", "error": error}}.get(
                row["event"], {}
            )
        )
    write_ledger(run, kept)
    markdown = write(run).markdown.read_text(encoding="utf-8")
    assert "No trial has a result" in markdown
    assert "3 configurations × 2 seeds: 3 failed." in markdown
    assert markdown.count("DivergedError: the loss is not a number at step 30") == 6


@pytest.mark.usefixtures("blank_pictures")
def test_few_configurations_are_shown_but_not_weighed(make_search: Make) -> None:
    run = make_search("few", 9)
    markdown = write(run).markdown.read_text(encoding="utf-8")
    assert "9 configurations × 2 seeds: 7 complete, 1 stopped early, 1 failed." in markdown
    assert "parameter importance needs at least 10" in markdown
    assert "figures/slices.png" in markdown
    assert "importance_1" not in markdown
    with (run / "tables/configurations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert "Configurations that were stopped early count as worse than all others" in markdown
    assert [row["state"] for row in rows].count("COMPLETE") == 7
    assert float(rows[0]["optimiser.lr"]) > 0


@pytest.mark.slow
def test_two_objectives_have_a_front_and_importances_each(make_search: Make) -> None:
    run = make_search("two", 40, second=True)
    paths = write(run)
    markdown = paths.markdown.read_text(encoding="utf-8")
    names = {path.stem for path in paths.figures}
    assert {"pareto_front", "importance_1", "importance_2", "slices"} <= names
    assert "success_by_cost" not in names  # every arm costs the same
    assert "## Pareto front" in markdown
    assert "is often wrong" not in markdown
    with (run / "tables/importance.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["objective"] == "eval/success"]
    assert rows[0]["parameter"] == "optimiser.lr"
    with (run / "tables/front.csv").open(encoding="utf-8") as file:
        assert {row["phase"] for row in csv.DictReader(file)} == {"search", "confirm"}


QUOTED = {"reference": [0.50, 0.52, 0.51], "c000": [0.53, 0.56, 0.53], "c001": [0.55, 0.60, 0.56]}


@pytest.mark.parametrize(
    ("told", "first", "best"),
    [
        ({"c000": [0.7], "c001": [0.6]}, "c000", "c001"),  # the first choice is not the luckiest on fresh seeds
        ({"c000": [0.6], "c001": [0.7]}, "c001", "c001"),
    ],
)
def test_a_winner_is_quoted_free_of_the_choice(
    tmp_path: Path, told: dict[str, list[float] | None], first: str, best: str
) -> None:
    found = searched(load(write_hand(tmp_path, told, QUOTED, "max", "eval/success")))
    assert found is not None
    q = found.quote
    assert q is not None
    assert (q.first, q.best, q.candidates) == (first, best, 2)
    gains = {arm: np.subtract(QUOTED[arm], QUOTED["reference"]) for arm in told}
    assert q.first_gain.estimate == pytest.approx(gains[first].mean())
    assert (q.first_gain.level, q.best_gain.level) == (0.95, 0.975)  # the luckiest of two has an interval for both
    assert f"The search's first choice, {first}," in quote(found)
    assert ("picked on the seeds that it is judged by" in quote(found)) == (first != best)


@pytest.mark.parametrize(
    ("chosen", "lead", "words"),
    [
        ([0.55, 0.57, 0.58], "Found", "is +0.060 [+0.017, +0.103] better than the reference"),
        ([0.45, 0.47, 0.42], "Found", "is worse than the reference (−0.060 [−0.103, −0.017])"),
        ([0.55, 0.50, 0.51], "Undecided", "is not told apart from the reference (+0.013 [−0.074, +0.101])"),
        ([0.55, 0.57], "Undecided", "is not told apart from the reference (+0.050"),  # equal on two seeds is no proof
    ],
)
def test_a_first_choice_is_called_better_only_where_its_interval_says_so(
    tmp_path: Path, chosen: list[float], lead: str, words: str
) -> None:
    fresh = {"reference": [0.50, 0.52, 0.50][: len(chosen)], "c000": chosen}
    results = load(write_hand(tmp_path, {"c000": [0.6]}, fresh, "max", "eval/success"))
    found = searched(results)
    assert found is not None
    assert found.quote is not None
    assert found.quote.first_gain == against_reference(results)[0].interval  # one interval on one page
    told = headline(results, [], found)
    assert told.lead == lead
    assert words in told.answer
    assert words in quote(found).replace("it is", "is")


@pytest.mark.parametrize("others", [1, 2])
def test_the_next_configuration_is_no_first_choice_where_that_has_no_fresh_result(tmp_path: Path, others: int) -> None:
    told: dict[str, list[float] | None] = {"c002": [0.6], "c001": [0.7], "c000": [0.8]}
    fresh = {"c000": [], "reference": QUOTED["reference"], "c001": [0.6, 0.63, 0.6], "c002": [0.5, 0.6, 0.5]}
    fresh = {arm: fresh[arm] for arm in list(fresh)[: 2 + others]}
    results = load(write_hand(tmp_path, told, fresh, "max", "eval/success"))
    found = searched(results)
    assert found is not None
    assert found.quote is not None
    assert (found.quote.first, found.quote.best, found.quote.first_gain.n) == ("c000", "c001", 0)
    opening = headline(results, [], found)
    assert (opening.lead, opening.answer) == (
        "Undecided",
        "c000, the search's first choice, has no result on fresh seeds.",
    )
    assert "first choice, c000, has no result on fresh seeds. Of those it ranked lower c001 did best" in quote(found)


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("final", [False, True])
def test_what_the_search_saw_better_is_not_all_optimism_on_fresh_tasks(tmp_path: Path, final: bool) -> None:
    run = write_hand(tmp_path, {"c000": [0.6]}, {"reference": [0.5, 0.52], "c000": [0.55, 0.57]}, "max", "eval/success")
    rows = read_ledger(run)
    for row in rows:
        if final and row["event"] == "trial":
            row["metrics"] = {"final/success": row["score"]}
    write_ledger(run, rows)
    told = write(run).markdown.read_text(encoding="utf-8")
    assert "+0.040 better on average: the optimism of choosing the best of many" in told
    assert ("and what fresh tasks and the last step alone change" in told) is final


def test_a_search_that_minimises_is_quoted_in_its_good_direction(tmp_path: Path) -> None:
    found = searched(load(write_hand(tmp_path, TOLD, FRESH, "min")))
    assert found is not None
    assert found.quote is not None
    assert (found.quote.first, found.quote.first_gain.estimate) == ("c001", pytest.approx(2.0))


def test_a_configuration_without_the_second_number_has_not_failed(make_search: Make) -> None:
    """As in a space in which only some configurations have a teacher: all of their trials completed."""
    run = make_search("x", 10, second=True)
    rows = read_ledger(run)
    for row in rows:
        if row["event"] == "told" and row["arm"] == "c003":
            row |= {"state": "FAIL", "values": None}
    write_ledger(run, rows)
    found = searched(load(run))
    assert found is not None
    assert {c.arm: ENDS[c.state] for c in found.configurations if c.state in ("FAIL", "SILENT")} == {
        "c003": "without a result",
        "c007": "failed",
    }
