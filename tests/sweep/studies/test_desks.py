"""Sources of trials without a run: what they hand out and what they tell, on a desk of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_files import study_row

from atod_sweep.config.given import given
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError
from atod_sweep.records.ledger import Ledger
from atod_sweep.records.status import Status
from atod_sweep.sweep.searches.run_search import search_work
from atod_sweep.sweep.studies.plan import resolve
from atod_sweep.sweep.studies.run_study import study_work
from atod_sweep.sweep.studies.until_decided import Rule, in_blocks
from atod_sweep.sweep.trials.desk import Desk, RunLimits
from atod_sweep.sweep.trials.jobs import Attempt, Failure, Job, Trainer

STUDY = {
    "name": "small",
    "question": "Which?",
    "base": {"steps": 40},
    "arms": {"slow": {}, "fast": {"optimiser.lr": 0.02}},
    "seeds": 2,
    "hypotheses": ["fast > slow"],
}


class Table:
    """A desk, what was told at it, and ledger rows of trials that ended."""

    def __init__(self, folder: Path, judge=None, **limits):
        self.told, self.rows = [], {}
        told = {
            kind: lambda said, kind=kind: self.told.append((said["event"] if kind == "record" else kind, said))
            for kind in ("record", "redefine", "expect", "remark")
        }
        self.desk = Desk(Path(folder), "hash", self.rows, RunLimits(**limits), 1, self._job, **told, judge=judge)

    def _job(self, trial):
        return Job(
            trial.id, 1 + (trial.id in self.rows), trial.config, f"/runs/{trial.id}", ("eval/success",), Trainer()
        )

    def end(self, source, job, score):
        """The job is complete, and the source hears of it."""
        return self.end_with(source, job, "COMPLETE", Attempt(1.0, "", {"eval/success": score}), score)

    def end_with(self, source, job, state, attempt, score=None):
        row = {"trial": job.trial, "state": state, "score": score, "seconds": 1.0, "config_hash": "c"}
        self.rows[job.trial] = {**row, "seed": job.config["seed"], "time": 2.0}
        return source.ended(job, attempt)

    def kinds(self):
        return [kind for kind, _ in self.told]

    def said(self, kind):
        return [said for one, said in self.told if one == kind]


def plan(**changes):
    found = given(Study, {**STUDY, **changes})
    return resolve(found.record, Path(), "study")


def drain(source, table, score):
    """Run what the source hands out, one after the other; the trials in order."""
    ran = []
    while not source.finished:
        job = source.next()
        if job is None:
            break
        ran.append(job.trial)
        table.end(source, job, score(job))
    return ran


def test_a_study_hands_out_what_has_no_result(tmp_path):
    table = Table(tmp_path)
    table.rows["slow-s0"] = {"state": "COMPLETE", "config_hash": plan().trials[0].config_hash}
    source = study_work(plan(), "").source(table.desk)
    assert drain(source, table, lambda job: 0.5) == ["fast-s0", "slow-s1", "fast-s1"]
    assert table.told == []


def test_a_trial_that_ran_as_another_config_is_refused(tmp_path):
    table = Table(tmp_path)
    table.rows["slow-s0"] = {"state": "COMPLETE", "config_hash": "other"}
    with pytest.raises(UserError, match="slow-s0 ran with another resolved config"):
        study_work(plan(), "").source(table.desk)


def test_seeds_come_in_blocks_until_a_look_decides(tmp_path):
    looks = iter([{"decided": False}, {"decided": True}])
    table = Table(tmp_path, judge=lambda folder: next(looks))
    with Ledger(tmp_path):
        work = in_blocks(study_work(plan(seeds=[0, 1, 2, 3, 4]), ""), plan(seeds=[0, 1, 2, 3, 4]), [0], Rule(5, 2))
        source = work.source(table.desk)
        ran = drain(source, table, lambda job: 0.5)
    assert ran == ["slow-s0", "fast-s0", "slow-s1", "fast-s1", "slow-s2", "fast-s2"]
    assert table.kinds() == ["redefine", "expect", "look", "redefine", "expect", "look"]
    assert table.said("expect") == [2, 6]
    assert table.said("redefine") == [{"seeds": [0]}, {"seeds": [0, 1, 2]}]


SPACE = {
    "base": {"steps": 40},
    "parameters": {"optimiser.lr": {"choice": [0.001, 0.002, 0.003]}},
    "sampler": {"kind": "grid"},
    "budget": {"configurations": 3, "seeds": 1, "confirm": {"top": 1, "seeds": 2}},
}


def test_a_search_tells_every_decision_in_order(tmp_path):
    table = Table(tmp_path)
    with Ledger(tmp_path):
        source = search_work(given(Search, SPACE).record, Path(), "search", "").source(table.desk)
        ran = drain(source, table, lambda job: job.config["optimiser"]["lr"])
    assert ran[:3] == ["c000-s0", "c001-s0", "c002-s0"]
    assert sorted(ran[3:]) == ["c002-s1000", "c002-s1001", "reference-s1000", "reference-s1001"]
    told = ["configuration", "told"] * 3
    assert table.kinds() == [*told, "expect", "selection", "redefine"]


@pytest.mark.parametrize("second", ["COMPLETE", "FAILED"])
def test_a_seed_that_is_to_be_tried_again_is_tried_although_the_other_one_was_pruned(tmp_path, second):
    table = Table(tmp_path)
    space = SPACE | {"budget": {**SPACE["budget"], "configurations": 1, "seeds": 3}}
    lost = Attempt(1.0, "", error=Failure(Status.WORKER_DIED, "WorkerDied", "gone"))
    with Ledger(tmp_path):
        source = search_work(given(Search, space).record, Path(), "search", "").source(table.desk)
        first, other = source.next(), source.next()
        assert table.end_with(source, first, "FAILED", lost)
        assert not table.end_with(source, other, "PRUNED", Attempt(1.0, "", pruned=True), 0.4)
        again = source.next()
        assert (again.trial, again.attempt) == ("c000-s0", 2)
        assert source.next() is None  # the third seed need not start, and results are due
        table.end_with(source, again, second, lost if second == "FAILED" else Attempt(1.0, ""), 0.6)
    (told,) = table.said("told")
    assert (told["state"], told["values"]) == (("PRUNED", [0.5]) if second == "COMPLETE" else ("FAIL", None))


def test_a_search_that_resumes_starts_no_seed_of_a_configuration_that_was_pruned(tmp_path):
    space = SPACE | {"budget": {**SPACE["budget"], "configurations": 1, "seeds": 3}}
    before, table = Table(tmp_path), Table(tmp_path)
    with Ledger(tmp_path) as writer:
        work = search_work(given(Search, space).record, Path(), "search", "")
        pruned, under_way = (source := work.source(before.desk)).next(), source.next()
        before.end_with(source, pruned, "PRUNED", Attempt(1.0, "", pruned=True), 0.4)
        for row in (study_row(), {**before.said("configuration")[0], "time": 1.0}):
            writer.append(row)
        row = {"trial": under_way.trial, "state": "RUNNING", "config_hash": "c", "seed": 1, "time": 3.0}
        table.rows |= before.rows | {under_way.trial: row}
        source = work.source(table.desk)
        assert source.next().trial == under_way.trial == "c000-s1"
        assert source.next() is None
