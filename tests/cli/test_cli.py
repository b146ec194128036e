"""The command line as a user meets it: what it says to bad input, and a small study from file to exported schedule."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import fields

import pytest
import yaml
from ledger_files import read_ledger
from tiny_study import BASE, write

from atod_sweep import cli
from atod_sweep.cli.options import RunOptions
from atod_sweep.envs.families.support_desk import SupportDesk
from atod_sweep.errors import UserError
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.trials.desk import RunLimits
from atod_sweep.sweep.work import Site


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `atod-sweep ...`; returns (exit code, stdout, stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["atod-sweep", *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_ctrl_c_is_ctrl_c_whatever_a_library_makes_of_it(call, monkeypatch):
    def app(**options):
        raise ValueError('Error building "literal" validator:\n  KeyboardInterrupt: ')

    monkeypatch.setitem(cli.main.__globals__, "app", app)
    code, out, err = call("list")
    assert (code, out, err) == (130, "", "")


def test_an_output_directory_that_cannot_be_written(call, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = call("run", write(tmp_path / "s.yaml"), "--out", str(tmp_path / "file"), "--backend", "local")
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    assert str(tmp_path / "file") in err


def test_the_options_of_a_run_are_a_session_s_and_reach_it(call, monkeypatch, tmp_path):
    own = {f.name for f in fields(RunOptions)} - {"quiet", "verbose"}
    assert own == {f.name for part in (Site, RunLimits) for f in fields(part)}
    asked: dict[str, object] = {}

    def look(*_, **options):
        asked.update(options)
        raise UserError("seen")

    monkeypatch.setattr("atod_sweep.sweep.resume.resume_run", look)
    words = ["--concurrency=3", "--address=a", "--storage=s", "--tracking-uri=t", "--max-retries=2"]
    assert call("resume", str(tmp_path), *words, "--time-budget=5", "--max-trials=6", "--backend=local")[0] == 2
    given = {"concurrency": 3, "address": "a", "storage": "s", "tracking_uri": "t", "max_retries": 2}
    assert given.items() | {("time_budget", 5.0), ("max_trials", 6), ("backend", "local")} <= asked.items()


def test_schemas_are_json(call):
    for what, key in (("study", "arms"), ("train", "objective")):
        code, out, _ = call("schema", what)
        assert code == 0
        assert key in json.loads(out)["properties"]


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_from_file_to_exported_schedule(call, tmp_path):
    study, out = write(tmp_path / "tiny.yaml", seeds=1), str(tmp_path / "runs")
    code, shown, err = call("run", study, "--out", out, "--backend", "local")
    assert code == 0, err
    assert "cosine > linear" in shown
    run_dir = tmp_path / "runs" / "tiny"
    for name in ("ledger.jsonl", "study.yaml", "report.md", "report.html", "best_schedule.yaml", "tables/arms.csv"):
        assert (run_dir / name).stat().st_size > 0, name
    rows = read_ledger(run_dir)
    done = {row["trial"] for row in rows if row.get("state") == "COMPLETE"}
    assert done == {f"{arm}-s0" for arm in ("cosine", "linear", "rl", "teacher")}

    # the same definition is not run again unasked, another one neither, and nothing is lost when it is
    code, _, err = call("run", study, "--out", out, "--backend", "local")
    assert code == 2
    assert "--resume" in err
    other = write(tmp_path / "other.yaml", seeds=1, base={**BASE, "optimiser": {"lr": 2e-3}})
    code, _, err = call("run", other, "--out", out, "--backend", "local")
    assert code == 2
    assert "optimiser.lr" in err
    assert "--overwrite" in err

    (run_dir / "report.html").unlink()
    assert call("report", str(run_dir))[0] == 0
    assert (run_dir / "report.html").is_file()

    code, shown, err = call("pack", str(run_dir), str(tmp_path / "published"))
    assert code == 0, err
    assert "every 10th step" in shown
    text = (tmp_path / "published" / "report.md").read_text()
    assert call("report", str(tmp_path / "published"))[0] == 0
    assert (tmp_path / "published" / "report.md").read_text() == text
    assert call("status", str(tmp_path / "published"))[0] == 0

    bundle = tmp_path / "bundle"
    assert call("export", str(run_dir), "--out", str(bundle))[0] == 0
    assert call("verify", str(bundle))[0] == 0
    code, shown, err = call(
        "train", str(run_dir / "trials" / "linear-s0" / "config.yaml"), "--schedule", str(bundle), "--out",
        str(tmp_path / "again"), "steps=4",
    )  # fmt: skip
    assert code == 0, err
    assert (tmp_path / "again" / "student" / "model.safetensors").is_file()
    code, shown, err = call("export", str(run_dir), "--model", "--register", "tiny-agent")
    assert code == 0, err
    words = shown.split()
    assert [*words[:3], *words[4:]] == [
        "model", str(run_dir / "export" / "model"), "sha256", "registered", "models:/tiny-agent/1"
    ]  # fmt: skip
    assert "as recorded" in call("verify", str(run_dir / "export" / "model"))[1]
    for words, said in (
        (["--register", "x"], "add --model"),
        (["--model", "--to", "trl"], "--to, --steps and --horizon"),
    ):
        code, _, err = call("export", str(run_dir), *words)
        assert (code, said in err) == (2, True)


@pytest.mark.parametrize(
    ("verb", "work"),
    [
        ("run", "atod_sweep.sweep.studies.run_study.run_study"),
        ("search", "atod_sweep.sweep.searches.run_search.run_search"),
        ("train", "atod_sweep.training.pretraining.cache.ensure"),
    ],
)
def test_modules_beside_the_file_are_found(call, tmp_path, monkeypatch, verb, work):
    """Also if the file is not in the working directory."""
    (tmp_path / f"beside_{verb}.py").write_text("FOUND = 'found'", encoding="utf-8")
    (tmp_path / "file.yaml").write_text("base: presets/support_desk_compact\n", encoding="utf-8")

    def look(*_, **__):
        raise UserError(importlib.import_module(f"beside_{verb}").FOUND)

    monkeypatch.setattr(work, look)
    code, _, err = call(verb, str(tmp_path / "file.yaml"), "--out", str(tmp_path / "out"))
    assert (code, err) == (2, "found\n")


def test_an_environment_shows_its_card(call, tmp_path, monkeypatch):
    code, shown, _ = call("envs", "support_desk")
    assert (code, shown) == (0, SupportDesk().card() + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "untold.py").write_text("import gymnasium\n\nclass Game(gymnasium.Env): pass\n", encoding="utf-8")
    code, _, err = call("envs", "untold:Game")
    assert (code, err) == (2, "untold:Game: has no card(); add that method, or read its source\n")


def test_a_training_that_goes_on_leaves_one_row_per_step(call, tmp_path, monkeypatch):
    """Rows that were reported between the checkpoint and the kill come again; a finished training does not."""
    from atod_sweep.training.loop import trainer
    from atod_sweep.training.pretraining import cache as models

    def fake(config, directory, report, resume=False, mutable=False):
        last = {"eval/success": 0.5, "eval/turns": 3.0, "cost/seconds": 1.0}
        (directory / "checkpoint").mkdir(exist_ok=True)
        for step in range(4 if resume else 0, 10 if resume else 7, 2):
            between = [{"phase": "train", "step": s, "again": resume} for s in (step - 2, step - 1) if s >= 0]
            report([*between, {"phase": "eval", "step": step, "again": resume, **last}])
        if not resume:
            raise RuntimeError("killed")
        (directory / "checkpoint").rmdir()
        (directory / "student").mkdir()
        return trainer.Result(last, {})

    monkeypatch.setattr(models, "ensure", lambda *_: None)
    monkeypatch.setattr(trainer, "train", fake)
    words = ("train", "presets/support_desk_compact", "--out", str(tmp_path))
    with pytest.raises(RuntimeError, match="killed"):
        call(*words)
    assert call(*words, "--resume")[0] == 0
    metrics = (tmp_path / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in metrics.splitlines()]
    steps = [(row["phase"], row["step"]) for row in rows]
    assert sorted(steps) == sorted([("eval", s) for s in range(0, 10, 2)] + [("train", s) for s in range(8)])
    assert all(row["again"] == (row["step"] >= (2 if row["phase"] == "train" else 4)) for row in rows)

    code, _, err = call(*words, "--resume")
    assert code == 2
    assert err == f"--resume: {tmp_path} holds a finished training, nothing is left to do; use another --out\n"
    assert (tmp_path / "metrics.jsonl").read_text() == metrics


@pytest.mark.usefixtures("blank_pictures")
def test_failed_trials_are_listed_and_cost_the_exit_code(call, tmp_path):
    """A learning rate that must diverge: recorded, reported, and the other arm is there."""
    arms = {"fine": {}, "broken": {"optimiser.lr": 1e30, "optimiser.warmup_steps": 0}}
    study = write(tmp_path / "s.yaml", arms=arms, reference="fine", controls=[], hypotheses=[], seeds=1)
    code, _, _ = call("run", study, "--out", str(tmp_path / "runs"), "--backend", "local")
    assert code == 1
    report = (tmp_path / "runs" / "tiny" / "report.md").read_text()
    assert "diverged" in report
    assert "broken" in report


@pytest.mark.slow
def test_ray_and_the_local_backend_agree_to_the_bit(call, tmp_path):
    study = write(tmp_path / "tiny.yaml")
    found = {}
    for backend in ("local", "ray"):
        out = tmp_path / backend
        code, _, err = call("run", study, "--out", str(out), "--backend", backend)
        assert code == 0, err
        for path in sorted((out / "tiny" / "trials").glob("*/metrics.jsonl")):
            rows = read_metrics(path)
            timeless = [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]
            found.setdefault(path.parent.name, {})[backend] = timeless
        for path in sorted((out / "tiny" / "trials").glob("*/student/model.safetensors")):
            found.setdefault(f"{path.parts[-3]} weights", {})[backend] = path.read_bytes()
    assert len(found) >= 12
    for name, results in found.items():
        assert results["local"] == results["ray"], name


@pytest.mark.parametrize("verb", ["train", "run", "search"])
def test_a_broken_contract_is_known_before_anything_is_built(call, tmp_path, monkeypatch, verb):
    monkeypatch.setattr("atod_sweep.training.pretraining.cache.ensure", None)
    base = {**BASE, "env": {"id": "odd_env:Base", "horizon": 3, "kwargs": {"case": "success 7"}}}
    search = {"base": base, "parameters": {"optimiser.lr": {"float": [1e-4, 1e-2]}}, "budget": {"configurations": 2}}
    file = tmp_path / "some.yaml"
    if verb == "run":
        write(file, base=base, controls=[])
    else:
        file.write_text(yaml.safe_dump(base if verb == "train" else search))
    backend = [] if verb == "train" else ["--backend", "local"]
    code, _, err = call(verb, str(file), *backend, "--out", str(tmp_path / "out"))
    assert code == 2
    said = "env.id: 'odd_env:Base', task seed 0, turn 3: info['success'] is 7.0 (float); expected the solved share of"
    assert err.splitlines()[-1].startswith(said)
