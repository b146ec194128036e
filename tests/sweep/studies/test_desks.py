"""Sources of trials without a run: what they hand out and what they tell, on a desk of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from atod_sweep.config.given import given
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError
from atod_sweep.records.ledger import Ledger
from atod_sweep.sweep.searches.run_search import search_work
from atod_sweep.sweep.studies.plan import resolve
from atod_sweep.sweep.studies.run_study import study_work
from atod_sweep.sweep.studies.until_decided import Rule, in_blocks
from atod_sweep.sweep.trials.desk import Decided, Desk, Expected, Redefined, RunLimits
from atod_sweep.sweep.trials.jobs import Attempt, Job, Trainer

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
        self.told, self.rows, folder = [], {}, Path(folder)
        self.desk = Desk(folder, "hash", self.rows, RunLimits(**limits), 1, self._job, self.told.append, judge)

    def _job(self, trial):
        return Job(trial.id, 1, trial.config, f"/runs/{trial.id}", ("eval/success",), Trainer())

    def end(self, source, job, score):
        """The job is complete, and the source hears of it."""
        row = {"trial": job.trial, "state": "COMPLETE", "score": score, "seconds": 1.0, "config_hash": "c"}
        self.rows[job.trial] = {**row, "seed": job.config["seed"], "time": 2.0}
        return source.ended(job, Attempt(1.0, "", {"eval/success": score}))

    def kinds(self):
        return [event.row["event"] if isinstance(event, Decided) else type(event).__name__ for event in self.told]


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
    assert table.kinds() == ["Redefined", "Expected", "look", "Redefined", "Expected", "look"]
    assert [event.total for event in table.told if isinstance(event, Expected)] == [2, 6]
    assert [event.changes["seeds"] for event in table.told if isinstance(event, Redefined)] == [[0], [0, 1, 2]]


def test_a_search_tells_every_decision_in_order(tmp_path):
    space = {
        "base": {"steps": 40},
        "parameters": {"optimiser.lr": {"choice": [0.001, 0.002, 0.003]}},
        "sampler": {"kind": "grid"},
        "budget": {"configurations": 3, "seeds": 1, "confirm": {"top": 1, "seeds": 2}},
    }
    table = Table(tmp_path)
    with Ledger(tmp_path):
        source = search_work(given(Search, space).record, Path(), "search", "").source(table.desk)
        ran = drain(source, table, lambda job: job.config["optimiser"]["lr"])
    assert ran[:3] == ["c000-s0", "c001-s0", "c002-s0"]
    assert sorted(ran[3:]) == ["c002-s1000", "c002-s1001", "reference-s1000", "reference-s1001"]
    told = ["configuration", "told"] * 3
    assert table.kinds() == [*told, "Expected", "Expected", "selection", "Redefined"]
