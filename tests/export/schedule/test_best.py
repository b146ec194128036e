"""Which arm is called best: never a control, never an arm with holes, ties told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_files import read_ledger, write_ledger

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.comparisons import best_arm
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.stats.intervals import t_interval
from atod_sweep.export.schedule import schedule_file
from atod_sweep.export.schedule.best import choose, write_best
from atod_sweep.export.schedule.provenance import provenance
from atod_sweep.export.schedule.trace import needed

COSINE = {"objective.distill_weight.kind": "cosine"}
LINEAR = {"objective.distill_weight.kind": "linear"}
MakeRun = Callable[..., Path]


def test_best_mean_wins_and_controls_do_not_take_part(make_run: MakeRun) -> None:
    run = make_run(
        {"linear": (LINEAR, {0: 0.5, 1: 0.6, 2: 0.7}), "cosine": (COSINE, {0: 0.7, 1: 0.8, 2: 0.6})},
        controls={"opd": {0: 0.9, 1: 0.9, 2: 0.9}},
    )
    best = choose(load(run))
    assert best.arm == "cosine"
    assert best.scores == {0: 0.7, 1: 0.8, 2: 0.6}
    assert best.interval.estimate == pytest.approx(0.7)
    assert best.schedule.objective.distill_weight.kind == "cosine"
    assert best.runner_up is not None
    assert best.runner_up.differences == pytest.approx({0: 0.2, 1: 0.2, 2: -0.1})
    assert [note for note in best.notes() if "Not separated from the runner-up linear at n = 3" in note]


def test_its_interval_is_the_reports_with_the_draw_of_tasks(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.6, 2: 0.7}), "cosine": (COSINE, {0: 0.7, 1: 0.8, 2: 0.6})})
    rows = read_ledger(run)
    rows[0]["definition"] = {"base": {"evaluation": {"tasks": 64}}}
    write_ledger(run, rows)
    results = load(run)
    best, reported = choose(results), best_arm(results)
    assert reported is not None
    assert best.interval == reported.interval
    assert best.interval.half_width > t_interval([0.7, 0.8, 0.6]).half_width + 0.01
    low, high = f"{best.interval.low:.3f}", f"{best.interval.high:.3f}"
    assert f"0.700 [{low}, {high}] over 3 seeds." in write_best(run).read_text()


def test_a_clear_winner_has_no_notes(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.6, 2: 0.7}), "cosine": (COSINE, {0: 0.7, 1: 0.81, 2: 0.9})})
    assert choose(load(run)).notes() == []


def test_an_arm_with_a_failed_seed_is_left_out(make_run: MakeRun) -> None:
    """Its two good seeds have the best mean; one diverged, so it is not averaged as if whole."""
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.5, 2: 0.6}), "cosine": (COSINE, {0: 0.9, 1: 0.9, 2: None})})
    best = choose(load(run))
    assert best.arm == "linear"
    assert [
        note
        for note in best.notes()
        if note == "Arm cosine was left out, because it lacks results: seed 2 failed: diverged."
    ]
    assert [note for note in best.notes() if "only candidate" in note]


def test_no_complete_arm(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: None}), "cosine": (COSINE, {0: None, 1: 0.6})})
    with pytest.raises(
        UserError, match=r"no arm has a result for every seed .*linear, seed 1: failed: diverged.*--resume"
    ):
        choose(load(run))


def test_tie_is_told(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.75}), "cosine": (COSINE, {0: 0.75, 1: 0.5})})
    best = choose(load(run))
    assert (best.arm, best.tied) == ("linear", ("cosine",))
    assert best.notes()[0] == "Tied with cosine; the first in the study's order was taken."


HORIZON = {"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}}}


def test_longest_horizon_is_exported(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.6})}, factors=HORIZON)
    best = choose(load(run))
    assert (best.levels, best.schedule.horizon) == ({"horizon": "long"}, 14)
    assert choose(load(run), {"horizon": "short"}).schedule.horizon == 6


def test_schedules_that_differ_between_levels_need_a_choice(make_run: MakeRun) -> None:
    factors = {
        "start": {"high": {"objective.distill_weight.start": 1.0}, "low": {"objective.distill_weight.start": 0.5}}
    }
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.6})}, factors=factors)
    with pytest.raises(
        UserError, match=r"'linear' ran different schedules at start=high and start=low; .*--at start=high"
    ):
        choose(load(run))
    assert choose(load(run), {"start": "low"}).schedule.objective.distill_weight.start == 0.5


def test_unknown_level(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5})}, factors=HORIZON)
    with pytest.raises(UserError, match="horizon=huge: not a level of this study; known: horizon=short, horizon=long"):
        choose(load(run), {"horizon": "huge"})


def test_lost_config(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5})})
    (run / "trials" / "linear-s0" / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"linear-s0/config.yaml: no such file"):
        choose(load(run))


def test_best_schedule_yaml(make_run: MakeRun) -> None:
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.6}), "cosine": (COSINE, {0: 0.7, 1: 0.8})}, name="quick")
    path = write_best(run)
    text = path.read_text(encoding="utf-8")
    assert path == run / "best_schedule.yaml"
    assert text.startswith("# Best arm of quick by mean eval/success: cosine, 0.750 [0.115, 1.385] over 2 seeds.\n")
    assert schedule_file.load(path) == choose(load(run)).schedule


def test_an_arm_without_a_schedule_may_be_best(make_run: MakeRun) -> None:
    """Its student can be exported; its schedule, which it has not, cannot."""
    run = make_run({"linear": (LINEAR, {0: 0.5, 1: 0.6}), "imitated": ({"objective.kind": "sft"}, {0: 0.7, 1: 0.8})})
    best = choose(load(run))
    assert (best.arm, best.runner_up.other if best.runner_up else "") == ("imitated", "linear")
    record = provenance(load(run), best)
    assert (record["arm"], record["run"], record["exported"]) == ("imitated", *[{"steps": 400, "horizon": 8}] * 2)
    with pytest.raises(UserError, match="'sft' has no schedule to export; what imitated learned is exported with --mo"):
        write_best(run)
    assert not (run / "best_schedule.yaml").exists()
    assert needed(load(run)) == {}
