"""What the command line says when a run is over."""

from __future__ import annotations

import shlex
import sys

import pytest
import typer
from fake_training import FAKE

from atod_sweep.api import Run
from atod_sweep.cli import reading, running
from atod_sweep.errors import UserError
from atod_sweep.sweep.studies.run_study import run_study


@pytest.fixture
def close(write_study, tmp_path, monkeypatch, no_mlflow, capsys):
    """Run a study as `words` say, and return the `next` line at its end."""

    def close(hypotheses, words, seeds=2, extensible=True):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/atod-sweep", *words])
        path = write_study(hypotheses=hypotheses, seeds=seeds)
        outcome = run_study(path, out=tmp_path, name="it", backend="local", trainer=FAKE, overwrite=True)
        (outcome.run_dir / "report.html").touch()
        with pytest.raises(typer.Exit):
            running.close(Run(outcome.run_dir, outcome), False, extensible=extensible)
        return [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith(" next ")]

    return close


def test_open_claims_are_decided_by_the_command_just_given_and_the_rule(close):
    words = ["run", "my study.yaml", "steps=9", "--overwrite", "--out", "x", "--name", "it"]
    kept = [word for word in words if word != "--overwrite"]
    undecided = ["fast > slow by 0.4"]  # the fake trainer's difference, to the last digit
    assert close(undecided, words) == [["next", "atod-sweep", *kept, "--extend", "--until-decided"]]
    assert close(undecided, words, extensible=False) == []
    assert close(undecided, words, seeds=40) == []
    assert close([], words) == []


def test_a_student_is_exported_without_the_words_for_schedules(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--allow-lossy, --to"):
        reading.export(tmp_path, model=True, allow_lossy=True)
