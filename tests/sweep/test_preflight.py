"""What no trial could find is refused before a folder is made."""

from __future__ import annotations

import re

import pytest
from fake_training import FAKE

from atod_sweep.config.files import load_train
from atod_sweep.config.study import Resources
from atod_sweep.errors import UserError
from atod_sweep.sweep import preflight
from atod_sweep.sweep.searches.run_search import run_search
from atod_sweep.sweep.studies.run_study import run_study
from benchmarks import tiny_models

CASES = {
    "environment": ({"env.id": "suport_desk"}, {}, "did you mean 'support_desk'"),
    "module": ({"env.id": "no_such_module:Env"}, {}, "no_such_module"),
    "model": ({"student": {"kind": "pretrained", "path": "./nowhere"}}, {}, "model directory './nowhere'"),
    "teacher": ({"teacher": {"kind": "pretrained", "path": "~/nowhere"}}, {}, "teacher.path"),
    "device": ({"runtime.device": "cuda"}, {}, "runtime.device: 'cuda'"),
    "precision": (
        {"runtime.precision": "bf16", "runtime.device": "cpu"},
        {},
        "runtime.precision: 'bf16' is slower than",
    ),
    "gpus": (
        {},
        {"resources": {"gpu": 2}},
        r"resources.gpu: 2, but .* student.lora .* \(trainer.kind: trl\); .* accelerate launch --num_processes 2",
    ),
    "gpu": ({}, {"resources": {"gpu": 1}}, "resources.gpu: a trial needs 1, but this machine has 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_left_behind(case, write_study, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "gpu_count", lambda: 0)
    base, study, said = CASES[case]
    with pytest.raises(UserError, match=said):
        run_study(write_study(base=base, **study), out=tmp_path / "runs", backend="local", trainer=FAKE)
    assert not (tmp_path / "runs").exists()


def test_a_cluster_has_devices_of_its_own(monkeypatch):
    from atod_sweep.config.study import Resources
    from atod_sweep.config.train import Train

    monkeypatch.setattr(preflight, "gpu_count", lambda: 0)
    config = Train.model_validate({"runtime": {"device": "cuda"}}).model_dump(mode="json")
    preflight.check([config], Resources(gpu=1), is_cluster=True)
    with pytest.raises(UserError, match="no CUDA device"):
        preflight.check([config], Resources(gpu=1), is_cluster=False)


MEASURING = {"id": "odd_env:Base", "horizon": 3, "kwargs": {"case": "metrics of all sorts"}}


@pytest.mark.parametrize(
    ("env", "metric", "said"),
    [
        (
            {"env.id": "support_desk"},
            "eval/sucess",
            "hypotheses.0: no trial reports 'eval/sucess'; did you mean 'eval",
        ),
        ({"env.id": "support_desk"}, "eval/pass@8", "hypotheses.0: no trial reports 'eval/pass@8' with evaluation.att"),
        (
            {"env": MEASURING},
            "eval/okay",
            "'odd_env:Base': no trial reports 'eval/okay'; did you mean 'eval/ok'?",
        ),
    ],
)
def test_a_metric_that_no_trial_reports(env, metric, said, write_study, tmp_path):
    study = write_study(base=env, hypotheses=[f"fast > slow on {metric}"])
    with pytest.raises(UserError) as caught:
        run_study(study, out=tmp_path / "runs", backend="local", trainer=FAKE)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_metric_of_one_own_environment_is_asked_of_its_own_arms(write_study, tmp_path):
    arms = {"a": {"env": MEASURING}, "b": {"env": MEASURING}, "plain": {"env": {"id": "odd_env:Base", "horizon": 3}}}
    study = write_study(arms=arms, reference="a", hypotheses=["a > b on eval/ok"])
    run_study(study, out=tmp_path / "runs", backend="local", trainer=FAKE)
    assert (tmp_path / "runs").exists()


@pytest.mark.parametrize("where", ["metric", "bars", "second"])
def test_wherever_it_is_named(where, tmp_path, write_study):
    if where == "second":
        space = {"base": "presets/support_desk_compact", "parameters": {"optimiser.lr": {"float": [1e-4, 1e-2]}}}
        with pytest.raises(UserError, match="search: second: no trial reports 'eval/trns'; did you mean 'eval/turns'"):
            run_search({**space, "second": {"name": "eval/trns", "mode": "min"}}, out=tmp_path / "runs", trainer=FAKE)
        return
    changes = {"metric": {"name": "eval/sucess"}, "bars": {"learning": {"eval/sucess": 0.1}}}
    with pytest.raises(UserError, match=rf"{where}.*: no trial reports 'eval/sucess'; did you mean 'eval/success'"):
        run_study(write_study(**{where: changes[where]}), out=tmp_path / "runs", trainer=FAKE)


def test_what_a_trial_needs_of_memory_is_said_and_has_to_be_there(write_study, tmp_path, monkeypatch):
    from atod_sweep.training.loop import memory

    folder = str(tiny_models.save("qwen3", tmp_path))
    model = {"kind": "pretrained", "path": folder}
    base = {"env.id": "support_desk", "env.kwargs": {"style": "natural"}, "student": model, "teacher": model}
    study = write_study(base=base)
    config = load_train("presets/support_desk_compact", base).model_dump(mode="json")
    (line,) = preflight.fit([config, {**config, "seed": 1}], Resources(), 1)
    assert re.fullmatch(r"memory: a trial needs about \d+ MB \(libraries 45 MB, .*\) of \d+\.\d GB", line)
    monkeypatch.setattr(memory, "there_is", lambda device, fraction: 10**6)
    with pytest.raises(UserError, match=r"a trial needs about .* but there are 1 MB; most is the .*: lower it by "):
        run_study(study, out=tmp_path / "others", backend="local", trainer=FAKE)
    assert not (tmp_path / "others").exists()
