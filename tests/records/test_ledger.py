"""The ledger survives what kills its writer, and never has two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.ledger import Ledger

TRIAL = {"event": "trial", "trial": "a-s0", "state": "RUNNING"}


def test_the_last_row_of_a_trial_is_its_state(tmp_path):
    with Ledger(tmp_path) as writer:
        for row in (
            {"event": "study", "name": "first"},
            TRIAL,
            TRIAL | {"trial": "b-s0"},
            TRIAL | {"state": "COMPLETE"},
            {"event": "study", "name": "second"},
        ):
            writer.append(row)
    history = ledger.fold(ledger.read(tmp_path))
    assert {trial: row["state"] for trial, row in history.trials.items()} == {"a-s0": "COMPLETE", "b-s0": "RUNNING"}
    assert [row["name"] for row in history.studies] == ["first", "second"]
    assert history.study["name"] == "second"
    assert (history.count("COMPLETE"), history.count("RUNNING"), history.count("FAILED")) == (1, 1, 0)


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_a_torn_last_line_does_not_count_and_is_cut_off_by_the_next_writer(tmp_path, keep):
    path = tmp_path / ledger.NAME
    whole = json.dumps(TRIAL).encode()
    torn = whole if keep == -1 else whole[:keep]  # -1: all but the newline
    path.write_bytes(whole + b"\n" + torn)
    assert ledger.read(tmp_path) == [TRIAL]
    with Ledger(tmp_path) as writer:
        writer.append(TRIAL | {"state": "FAILED"})
    assert [row["state"] for row in ledger.read(tmp_path)] == ["RUNNING", "FAILED"]


def test_a_damaged_line_is_an_error_that_names_it(tmp_path):
    (tmp_path / ledger.NAME).write_text('{"event": "study"}\n{"event": tri\n{"event": "study"}\n')
    with pytest.raises(UserError, match=r"ledger.jsonl:2: not a JSON row: b'\{\"event\": tri'"):
        ledger.read(tmp_path)


def test_a_second_writer_is_refused_until_the_first_process_is_gone(tmp_path):
    code = "import sys, time\nfrom pathlib import Path\nfrom atod_sweep.records.ledger import Ledger\n"
    code += f"with Ledger(Path({str(tmp_path)!r})):\n    print('locked', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process is running this study"), Ledger(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with Ledger(tmp_path) as writer:
        writer.append(TRIAL)
    assert ledger.read(tmp_path) == [TRIAL]


def test_a_row_that_does_not_fit_leaves_no_trace(tmp_path, monkeypatch):
    with Ledger(tmp_path) as writer:
        writer.append(TRIAL)
        real = os.write

        def full(file, data):
            real(file, data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            writer.append(TRIAL)
        monkeypatch.setattr(os, "write", real)
        writer.append(TRIAL | {"state": "COMPLETE"})
    assert [row["state"] for row in ledger.read(tmp_path)] == ["RUNNING", "COMPLETE"]
