"""Folders of runs that died before or while their first rows were written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import fake_training
import pytest
from fake_training import FAKE
from grown_records import grown

from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.sweep.record.rundir import run_folder
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study

pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def go(tmp_path):
    return lambda path, **options: run_study(path, out=tmp_path / "runs", backend="local", trainer=FAKE, **options)


def test_out_may_be_the_folder_of_the_run_itself_and_of_no_other(tmp_path):
    (tmp_path / "mine").mkdir()
    assert run_folder(tmp_path, "mine") == tmp_path / "mine"
    assert run_folder(tmp_path / "mine", "mine") == tmp_path / "mine" / "mine"  # as long as it holds no run
    (tmp_path / "mine" / "ledger.jsonl").touch()
    assert run_folder(tmp_path / "mine", "mine") == tmp_path / "mine"
    with pytest.raises(UserError, match=r"mine: is the folder of a run, and runs lie .* its own, 'other'"):
        run_folder(tmp_path / "mine", "other")


class Killed(BaseException):
    """The process is gone: nothing cleans up after it."""


STILLBORN = {
    "only the folder": [],
    "only trials/": ["trials/"],
    "the lock": ["trials/", "ledger.lock"],
    "an empty ledger": ["trials/", "ledger.lock", "ledger.jsonl"],
    "a study file without a row": ["trials/", "ledger.lock", "ledger.jsonl", "study.yaml"],
    "a study file being written": ["trials/", "ledger.lock", "ledger.jsonl", "study.tmp"],
    "a torn first row": ["trials/", "ledger.lock", "ledger.jsonl=" + '{"id": "43', "study.yaml"],
}


@pytest.mark.parametrize("intent", ["", "resume", "extend", "overwrite"])
@pytest.mark.parametrize("found", STILLBORN.values(), ids=STILLBORN)
def test_the_folder_of_a_run_that_never_began_is_new(write_study, go, tmp_path, found, intent):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    for entry in found:
        name, _, text = entry.partition("=")
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text(text)
    with pytest.raises(UserError, match=r"stopped before it began; start it again: atod-sweep run"):
        resume_run(folder, backend="local", trainer=FAKE)
    outcome = go(write_study(seeds=1), **({intent: True} if intent else {}))
    assert outcome.complete == outcome.total == 2


FOREIGN = {
    "a thesis": ["thesis.tex"],
    "a thesis among the trials": ["trials/", "trials/thesis.tex"],
    "a study file of one's own": ["study.yaml"],
    "trials whose ledger is gone": ["trials/", "ledger.lock", "trials/a-s0/"],
}


@pytest.mark.parametrize("intent", ["", "resume", "extend", "overwrite"])
@pytest.mark.parametrize("found", FOREIGN.values(), ids=FOREIGN)
def test_the_folder_of_something_else_is_left_alone(write_study, go, tmp_path, found, intent):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    for name in found:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text("years of work")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="is not the folder of a run"):
        go(write_study(seeds=1), **({intent: True} if intent else {}))
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("resumed", [True, False], ids=["resume", "run"])
def test_a_run_killed_while_its_models_were_built_goes_on(write_study, go, tmp_path, monkeypatch, resumed):
    path, real = write_study(seeds=1), fake_training.ensure

    def killed(config, note):
        raise Killed

    monkeypatch.setattr(fake_training, "ensure", killed)
    with pytest.raises(Killed):
        go(path)
    monkeypatch.setattr(fake_training, "ensure", real)
    folder = tmp_path / "runs" / "small"
    outcome = resume_run(folder, backend="local", trainer=FAKE) if resumed else go(path)
    assert outcome.complete == 2
    (study,) = ledger.fold(ledger.read(folder)).studies
    assert study["models"]["student"]["path"] == "/models/student"
    assert [row["event"] for row in ledger.read(folder)][:2] == ["study", "models"]
    assert resume_run(folder, backend="local", trainer=FAKE).complete == 2
    assert [row["event"] for row in ledger.read(folder)].count("models") == 1


def test_a_definition_is_open_until_something_was_tried(write_study, go, tmp_path, monkeypatch):
    real = fake_training.ensure
    monkeypatch.setattr(fake_training, "ensure", lambda config, note: (_ for _ in ()).throw(UserError("no vocabulary")))
    with pytest.raises(UserError, match="no vocabulary"):
        go(write_study(seeds=1))
    monkeypatch.setattr(fake_training, "ensure", real)
    outcome = go(write_study(seeds=2, hypotheses=["fast > slow"]))
    assert outcome.complete == 4
    (study,) = ledger.fold(ledger.read(outcome.run_dir)).studies  # the claim counts as written before the run
    assert study["seeds"] == [0, 1]


def test_a_kill_at_any_system_call_of_the_driver_costs_nothing(write_study, tmp_path, monkeypatch):
    """Every call that changes the folder fails once, as if the process had ended there."""
    path = write_study(seeds=1)
    changing = ("mkdir", "open", "write", "fsync", "replace", "rename", "ftruncate")
    calls = 0

    def run(at: int, folder: Path) -> bool:
        """True if the run came to its end."""
        nonlocal calls
        calls = 0
        with monkeypatch.context() as patch:
            for name in changing:
                patch.setattr(os, name, dying(getattr(os, name), at))
            try:
                run_study(path, out=folder, backend="local", trainer=FAKE)
            except Killed:
                return False
        return True

    def dying(call, at):
        def called(*args, **kwargs):
            nonlocal calls
            if any(str(arg).startswith(str(tmp_path)) for arg in args) or call.__name__ in ("write", "fsync"):
                calls += 1
                if calls == at:
                    raise Killed
            return call(*args, **kwargs)

        return called

    for at in range(1, 100):
        folder = tmp_path / f"runs-{at}"
        if run(at, folder):
            break
        outcome = run_study(path, out=folder, backend="local", trainer=FAKE, resume=True)
        assert outcome.complete == 2, at
        shutil.rmtree(folder)
    assert 5 < at < 99


RESUME = """
from pathlib import Path
from fake_training import FAKE
from no_mlflow import NoMlflow
from atod_sweep.sweep import session
from atod_sweep.sweep.resume import resume_run

session.Mirror = session.Background = NoMlflow
print(resume_run(Path(sys.argv[1]), backend="local", trainer=FAKE).complete)
"""


def test_a_run_begun_before_the_records_grew_goes_on_after_it(write_study, go):
    factors = {"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}}}
    folder = go(write_study(factors=factors, controls=["teacher", "rl"], seeds=1), max_trials=3).run_dir
    before = ledger.read(folder)
    assert grown(RESUME, str(folder)).splitlines()[-1] == "8"
    after = ledger.read(folder)
    assert after[: len(before)] == before
    assert {row["event"] for row in after[len(before) :]} == {"trial"}  # the same definition, the same models
