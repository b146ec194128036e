"""A run that an earlier revision (f29d5b3) was stopped in: before ledgers had a format, checksums and `started_with`.

`earlier_run` is its folder, without weights and figures, and with paths and the host's name shortened.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_training import FAKE

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.write import write
from atod_sweep.records import ledger
from atod_sweep.sweep.resume import resume_run


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(Path(__file__).parent / "earlier_run", tmp_path / "tiny")


@pytest.mark.usefixtures("blank_pictures")
def test_it_is_read_and_reported(folder):
    results = load(folder)
    done = {trial.id: trial.state for trial in results.trials if trial.state == "COMPLETE"}
    assert set(done) == {"teacher-s0", "rl-s0", "cosine-s0"}
    assert [row["step"] for row in results.find("cosine", {}, 0).rows if row["phase"] == "eval"] == [0, 2, 4]
    assert "cosine" in write(folder).markdown.read_text(encoding="utf-8")


def test_it_goes_on_where_it_was_stopped(folder, no_mlflow):
    before = ledger.read(folder)
    outcome = resume_run(folder, backend="local", trainer=FAKE)
    assert (outcome.complete, outcome.failed) == (7, 0)
    rows = ledger.read(folder)
    assert rows[: len(before)] == before
    assert {row["definition_hash"] for row in rows if row["event"] == "study"} == {before[0]["definition_hash"]}
    again = {row["trial"] for row in rows[len(before) :] if row["event"] == "trial"}
    assert again == {"rl-s1", "cosine-s1", "linear-s0", "linear-s1"}
