"""The study file in a run's folder: vouched for by the ledger, at every moment, and checked before it is used."""

from __future__ import annotations

import os

import pytest
from fake_training import FAKE
from ledger_files import read_ledger, write_ledger

from atod_sweep.errors import UserError
from atod_sweep.evidence.report.write import write as report
from atod_sweep.records import layout
from atod_sweep.sweep import session
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study

pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def run(write_study, tmp_path):
    """The folder of a run, half done."""
    assert run_study(write_study(), out=tmp_path, backend="local", trainer=FAKE, max_trials=2).complete == 2
    return tmp_path / "small"


def _resume(run):
    return resume_run(run, backend="local", trainer=FAKE)


def test_a_damaged_file_is_neither_resumed_nor_reported(run, write_study):
    path = run / layout.STUDY
    path.write_text(path.read_text().replace("0.02", "0.03"))
    for use in (_resume, report):
        with pytest.raises(UserError, match=r"study.yaml: is not the file that the run was started from"):
            use(run)
    outcome = run_study(write_study(), out=run.parent, backend="local", trainer=FAKE, resume=True)  # as the remedy says
    assert outcome.complete == 4
    report(run)


def test_another_text_of_the_same_study_is_vouched_for_when_it_takes_the_place(run, write_study):
    path = write_study()
    path.write_text("# why\n" + path.read_text())
    assert run_study(path, out=run.parent, backend="local", trainer=FAKE, resume=True, max_trials=1).complete == 3
    assert _resume(run).complete == 4
    assert (run / layout.STUDY).read_text().startswith("# why\n")
    studies = [row for row in read_ledger(run) if row["event"] == "study"]
    assert len({row["file_sha256"] for row in studies}) == 2
    assert len(studies) == 2  # and none more for resuming


@pytest.mark.parametrize("folder", ["elsewhere", "mit Umläuten und 字"])
def test_a_run_that_was_moved_goes_on_under_the_name_that_it_has(run, folder):
    moved = run.rename(run.parent / folder)
    assert _resume(moved).complete == 4
    assert {row["name"] for row in read_ledger(moved) if row["event"] == "study"} == {"small"}


def test_a_run_of_an_earlier_version_resumes_and_is_vouched_for_from_then_on(run):
    write_ledger(run, [{k: v for k, v in row.items() if k != "file_sha256"} for row in read_ledger(run)])
    assert _resume(run).complete == 4
    (run / layout.STUDY).write_text("name: small\n")
    with pytest.raises(UserError, match=r"study.yaml: is not the file"):
        _resume(run)


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("begun", [False, True])
def test_a_kill_between_file_and_row_leaves_what_can_be_resumed(tmp_path, write_study, monkeypatch, begun, at):
    """Killed before the `at`-th of the writes that start a run, whichever it is: another text takes the place."""
    if begun:
        run_study(write_study(), out=tmp_path, backend="local", trainer=FAKE, max_trials=1)
    path = write_study()
    path.write_text("# why\n" + path.read_text())

    class Killed(BaseException):
        pass

    done = []

    def counted(real):
        def write(*args):
            done.append(real)
            if len(done) == at:
                raise Killed
            return real(*args)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted(os.replace))
        patch.setattr(session.Session, "record", counted(session.Session.record))
        with pytest.raises(Killed):
            run_study(path, out=tmp_path, backend="local", trainer=FAKE, resume=begun)
    if begun:
        assert _resume(tmp_path / "small").complete == 4
    assert run_study(path, out=tmp_path, backend="local", trainer=FAKE, resume=True).complete == 4
