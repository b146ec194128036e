"""Tune keeps every trial until its end: what it is left with must be small, or a long sweep fills the driver."""

from __future__ import annotations

import pytest
from ray.tune.experiment import Trial

from atod_sweep.errors import UserError
from atod_sweep.sweep.backends.ray_bridge import Bridge
from atod_sweep.sweep.trials.jobs import Attempt, Job, Trainer

HEAVY = "heavy " * 100


class OneJob:
    """A source with one job, and a sink."""

    def next(self):
        return Job("a-s0", 1, {"note": HEAVY}, "/none", ("eval/success",), Trainer())

    def should_stop(self, job, rows):
        return False

    def started(self, job):
        pass

    def rows(self, job, rows):
        pass

    def ended(self, job, attempt):
        pass


def result(**more):
    """A report as Tune hands it to its callbacks."""
    auto = {"training_iteration": 1, "done": False, "hostname": "h", "pid": 1, "node_ip": "::1", "time_total_s": 1.0}
    return {**auto, "config": {"job": HEAVY}, "time_since_restore": 0.5, "timestamp": 7, **more}


def test_a_trial_that_is_over_keeps_neither_its_config_nor_what_it_reported():
    deaf = OneJob()
    bridge = Bridge(deaf, deaf, None)
    trial = Trial("x", stub=True, trial_id="t", experiment_tag=HEAVY)
    trial.config = trial.evaluated_params = bridge.suggest("t")
    assert vars(trial)["_Trial__unresolved_config"] == {}  # these two are Tune's own: another version may rename them
    assert vars(trial)["_default_result_or_future"] is None
    trial._Trial__unresolved_config = trial.config
    trial._default_result_or_future = {"config": HEAVY}
    ended = Attempt(1.0, "h:1", {"eval/success": 0.5})
    bridge.on_trial_start(0, [trial], trial)
    for report in (result(rows=[{"phase": "eval", "note": HEAVY}]), result(attempt=ended)):
        bridge.on_trial_result(0, [trial], trial, report)
        trial.update_last_result(report)
    bridge.on_trial_complete(0, [trial], trial)
    assert set(trial.metric_analysis) == {"training_iteration", "done"}
    assert HEAVY not in repr({**vars(trial), **vars(trial.run_metadata)})


def test_what_goes_on_meanwhile_is_asked_after_until_it_is_over():
    asked = []

    def meanwhile():
        asked.append(len(asked))
        return len(asked) == 2

    bridge = Bridge(OneJob(), OneJob(), None, meanwhile=meanwhile)
    for step in range(4):
        bridge.on_step_end(step, [])
    assert asked == [0, 1]


def test_what_goes_wrong_meanwhile_is_ours():
    def meanwhile():
        raise UserError("the teacher cannot be built")

    bridge = Bridge(OneJob(), OneJob(), None, meanwhile=meanwhile)
    with pytest.raises(UserError):
        bridge.on_step_end(0, [])
    assert isinstance(bridge.error, UserError)
