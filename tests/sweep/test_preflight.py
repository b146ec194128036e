"""What no trial could find is refused before a folder is made."""

from __future__ import annotations

import pytest
from fake_training import FAKE

from atod_sweep.errors import UserError
from atod_sweep.sweep import preflight
from atod_sweep.sweep.studies.run_study import run_study

CASES = {
    "environment": ({"env.id": "suport_desk"}, {}, "did you mean 'support_desk'"),
    "module": ({"env.id": "no_such_module:Env"}, {}, "no_such_module"),
    "model": ({"student": {"kind": "pretrained", "path": "./nowhere"}}, {}, "model directory './nowhere'"),
    "teacher": ({"teacher": {"kind": "pretrained", "path": "~/nowhere"}}, {}, "teacher.path"),
    "device": ({"runtime.device": "cuda"}, {}, "runtime.device: 'cuda'"),
    "gpu": ({}, {"resources": {"gpu": 1}}, "resources.gpu: a trial needs 1, but this machine has 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_left_behind(case, write_study, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "_gpus", lambda: 0)
    base, study, said = CASES[case]
    with pytest.raises(UserError, match=said):
        run_study(write_study(base=base, **study), out=tmp_path / "runs", backend="local", trainer=FAKE)
    assert not (tmp_path / "runs").exists()


def test_a_cluster_has_devices_of_its_own(monkeypatch):
    from atod_sweep.config.study import Resources
    from atod_sweep.config.train import Train

    monkeypatch.setattr(preflight, "_gpus", lambda: 0)
    config = Train().model_dump(mode="json") | {"runtime": {"device": "cuda"}}
    preflight.check([config], Resources(gpu=1), is_cluster=True)
