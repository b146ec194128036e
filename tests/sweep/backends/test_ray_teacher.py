"""A teacher that trials share on a Ray that is really started, and its holder's death in the middle."""

from __future__ import annotations

import signal

import psutil
import pytest
import ray
from broken_teacher import Broken

from atod_sweep.records import ledger
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.backends import ray_teacher
from atod_sweep.sweep.record.progress import Quiet
from atod_sweep.sweep.studies.run_study import run_study
from atod_sweep.training.failures import TeacherFailed, TeacherUnreachable
from benchmarks import tiny_models


class Killing(Quiet):
    """Kills whoever holds the teacher once a trial has trained for a while."""

    killed = 0

    def reported(self, trial, steps, rows):
        if rows[-1]["step"] > 0 and not self.killed:
            keepers = [p for p in psutil.Process().children(recursive=True) if "Keeper" in " ".join(_words(p))]
            self.killed = len(keepers)
            for process in keepers:
                process.send_signal(signal.SIGKILL)


def _words(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _rows(folder):
    return {
        trial.name: [
            {key: value for key, value in row.items() if "seconds" not in key}
            for row in read_metrics(trial / "metrics.jsonl")
        ]
        for trial in sorted((folder / "trials").iterdir())
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_rows_are_those_of_private_teachers_and_a_death_costs_nothing(write_study, tmp_path, no_mlflow):
    model = {"kind": "pretrained", "path": str(tiny_models.save("qwen3", tmp_path / "models")), "dtype": "float32"}
    base = {
        "env": {"id": "support_desk", "horizon": 4, "kwargs": {"style": "natural"}},
        "student": model,
        "teacher": model,
        "rollout": {"tasks": 2, "group_size": 2, "max_action_tokens": 6},
        "evaluation": {"every": 2, "tasks": 4},
        "steps": 6,
    }
    arms = {"slow": {}, "fast": {"optimiser.lr": 0.02}, "played": {"objective": {"kind": "sft"}}}
    found = {}
    for shares in (False, True):
        study = write_study(base=base, arms=arms, seeds=1, resources={"share_teacher": shares})
        show = Killing()
        outcome = run_study(study, out=tmp_path / str(shares), concurrency=2, show=show)
        assert (outcome.complete, outcome.failed) == (3, 0)
        assert show.killed == shares
        assert all(row.get("attempt", 1) == 1 for row in ledger.read(outcome.run_dir))
        found[shares] = _rows(outcome.run_dir)
    assert found[True] == found[False]


@pytest.mark.slow
def test_a_trial_ends_with_the_failure_of_its_teacher():
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        broken = ray.remote(Broken).options(num_cpus=0, max_restarts=1, max_task_retries=1).remote()
        reached = ray_teacher._Reached(broken)
        with pytest.raises(TeacherFailed, match=r"^the teacher gives nan$"):
            reached._answer("score", "nan")
        with pytest.raises(TeacherUnreachable, match=r"is gone, .* resources.share_teacher: false gives every trial"):
            reached._answer("score", "die")
        assert ray_teacher.reach("nobody") is None
    finally:
        ray.shutdown()


def test_tensors_arrive_as_they_were():
    import torch

    for tensor in (
        torch.arange(6, dtype=torch.int64),
        torch.randn(3, 5).to(torch.bfloat16),
        torch.randn(4, 3).T,
    ):
        arrived = ray_teacher._unpacked(*ray_teacher._packed(tensor))
        assert arrived.dtype == tensor.dtype
        assert torch.equal(arrived, tensor)
