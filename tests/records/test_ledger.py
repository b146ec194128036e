"""The ledger survives what kills its writer, never has two of them, and says which of its rows is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_files import configuration_row, failed_row, models_row, study_row, told_row, trial_row, write_ledger

from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.records.ledger import Ledger
from atod_sweep.records.ledger_rows import FORMAT
from atod_sweep.records.rows import seal

RESULTS = Path(__file__).parents[2] / "studies" / "results"
STUDY, TRIAL = study_row(), trial_row()


def line(row):
    return seal(row, FORMAT)


@pytest.fixture
def path(tmp_path):
    """A ledger of two rows."""
    write_ledger(tmp_path, [STUDY, TRIAL])
    return tmp_path / layout.LEDGER


def test_the_last_row_of_a_trial_is_its_state(tmp_path):
    with Ledger(tmp_path) as writer:
        for row in (
            study_row("first"),
            trial_row("a"),
            trial_row("b"),
            trial_row("a", 0, "COMPLETE"),
            study_row("second"),
        ):
            writer.append(row)
    history = ledger.fold(ledger.read(tmp_path))
    assert {trial: row["state"] for trial, row in history.trials.items()} == {"a-s0": "COMPLETE", "b-s0": "RUNNING"}
    assert [row["name"] for row in history.studies] == ["first", "second"]
    assert history.study["name"] == "second"
    assert (history.count("COMPLETE"), history.count("RUNNING"), history.count("FAILED")) == (1, 1, 0)


def test_models_belong_to_the_definition_before_them_and_those_that_follow(tmp_path):
    rows = [study_row("draft"), study_row("first"), models_row(), trial_row(), study_row("second")]
    studies = ledger.fold(rows).studies
    assert [row["name"] for row in studies] == ["first", "second"]
    assert [row["models"]["teacher"]["digest"] for row in studies] == ["aaaa", "aaaa"]
    assert ledger.fold(rows[:1]).study["models"] == {}
    assert [ledger.fold(rows[:n]).begun for n in range(6)] == [False, False, False, False, True, True]


@pytest.mark.parametrize("keep", [1, 20, 150, -30, -2])
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "of a first version"])
def test_a_torn_last_line_does_not_count_and_is_cut_off_by_the_next_writer(path, keep, sealed):
    torn = line(TRIAL) if sealed else json.dumps(TRIAL).encode() + b"\n"
    with path.open("ab") as file:
        file.write(torn[:keep])
    assert ledger.read(path.parent) == [STUDY, TRIAL]
    with Ledger(path.parent) as writer:
        writer.append(trial_row("a", 0, "FAILED"))
    assert [row.get("state") for row in ledger.read(path.parent)][:2] == [None, "RUNNING"]
    assert ledger.read(path.parent)[-1]["state"] == "FAILED"


def test_a_row_that_lacks_its_newline_alone_counts_and_stays(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert ledger.read(path.parent) == [STUDY, TRIAL]
    with Ledger(path.parent):
        pass
    assert path.read_bytes() == whole


DAMAGED = {
    "half a row": (b'{"event": tri\n', "not a JSON row"),
    "a number": (b"1\n", "not a JSON object"),
    "null": (b"null\n", "not a JSON object"),
    "a list": (b"[{}]\n", "not a JSON object"),
    "an empty line": (b"\n", "not a JSON row"),
    "an empty object": (b"{}\n", "no row of a ledger, its event is None"),
    "an unknown event": (b'{"event": "party"}\n', "no row of a ledger, its event is 'party'"),
    "deep nesting": (b"[" * 100_000 + b"\n", "not a JSON row"),
    "bytes that are no text": (b"\xff\xfe\x00\n", "not a JSON row"),
    "a field too few": (
        json.dumps({k: v for k, v in TRIAL.items() if k != "seed"}).encode() + b"\n",
        "no trial row, seed: field required",
    ),
    "a field too many, and no checksum": (
        json.dumps(TRIAL | {"scor": 1.0}).encode() + b"\n",
        "no trial row, scor: not a field of it",
    ),
    "a field of another type": (
        json.dumps(TRIAL | {"seed": "1"}).encode() + b"\n",
        "no trial row, seed: input should be a valid integer",
    ),
    "an unknown state": (line(TRIAL | {"state": "COMPLETE?"}), "no trial row, state: input should be 'RUNNING'"),
    "another checksum": (line(TRIAL).replace(b'"seed": 0', b'"seed": 1'), "damaged, its checksum is another"),
    "no checksum": (line(TRIAL).replace(b'"check"', b'"chEck"'), "damaged, its checksum is gone"),
    "a later format": (
        seal(TRIAL, "atod-sweep/ledger/9"),
        "in the format 'atod-sweep/ledger/9', and this version of atod-sweep reads 'atod-sweep/ledger/1'",
    ),
}


@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "at the end"])
@pytest.mark.parametrize(("bad", "why"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_an_error_that_names_it_and_the_remedy(path, bad, why, last):
    path.write_bytes(line(STUDY) + bad + (b"" if last else line(TRIAL)))
    with pytest.raises(UserError) as error:
        ledger.read(path.parent)
    said = str(error.value)
    assert said.startswith(f"{path}:2: {why}")
    assert "; delete this line and resume" in said or "; restore the file from a copy" in said
    assert "\n" not in said
    assert len(said) < 600
    before = path.read_bytes()
    with pytest.raises(UserError), Ledger(path.parent):
        pass
    assert path.read_bytes() == before  # a writer leaves what it cannot read
    path.unlink()
    with Ledger(path.parent):  # and has let go of the lock
        pass


def test_a_trial_without_its_study_is_no_ledger(path):
    path.write_bytes(line(TRIAL))
    with pytest.raises(UserError, match=r"ledger.jsonl:1: a ledger begins with the study, and not with a trial row"):
        ledger.read(path.parent)


def test_any_flipped_bit_is_found(path):
    """In every byte, and every bit of the newlines: an error of one line, and never another history."""
    write_ledger(path.parent, [STUDY, failed_row("a", 0), trial_row("b", 1, "COMPLETE", metrics={"eval/success": 0.5})])
    whole = path.read_bytes()
    every = {(at, at % 8) for at in range(len(whole))}
    for at, bit in every | {(at, bit) for at in range(len(whole)) if whole[at] == 10 for bit in range(8)}:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.raises(UserError) as error:
            ledger.read(path.parent)
        assert "\n" not in str(error.value)


def test_what_is_no_row_is_not_written(path):
    before = path.read_bytes()
    with Ledger(path.parent) as writer, pytest.raises(ValueError, match="no told row, state"):
        writer.append(told_row("c000", "DONE", None))
    assert path.read_bytes() == before


ODD = ["one\u2028two\u0085three", 'a "check": "0123456789abcdef"}', "half of a pair \ud800", "\x00\x1f", "ä𝔘"]


@pytest.mark.parametrize("text", ODD)
def test_text_of_all_kinds_comes_back(tmp_path, text):
    rows = [study_row(question=text), configuration_row("c000", {"x": {"a": text, "check": "0123456789abcdef"}})]
    write_ledger(tmp_path, rows)
    assert ledger.read(tmp_path) == rows


@pytest.mark.parametrize("folder", sorted(p.parent.name for p in RESULTS.glob("*/ledger.jsonl")))
def test_committed_ledgers_are_read_as_they_are(folder):
    """Those of the first versions have neither format nor checksum."""
    raw = (RESULTS / folder / layout.LEDGER).read_text(encoding="utf-8").splitlines()
    rows = [{k: v for k, v in json.loads(one).items() if k not in ("format", "check")} for one in raw]
    assert ledger.read(RESULTS / folder) == rows
    history = ledger.fold(ledger.read(RESULTS / folder))
    assert history.study["models"]["teacher"]["digest"]
    assert history.count("COMPLETE") == len({row["trial"] for row in rows if row["event"] == "trial"})


def test_a_ledger_of_a_first_version_goes_on_with_sealed_rows(tmp_path):
    (tmp_path / layout.LEDGER).write_text(json.dumps(STUDY) + "\n" + json.dumps(TRIAL) + "\n")
    with Ledger(tmp_path) as writer:
        writer.append(trial_row("a", 0, "COMPLETE"))
    lines = (tmp_path / layout.LEDGER).read_bytes().splitlines()
    assert [b"check" in one for one in lines] == [False, False, True]
    assert ledger.fold(ledger.read(tmp_path)).count("COMPLETE") == 1


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
        writer.append(STUDY)
    assert ledger.read(tmp_path) == [STUDY]


def test_a_row_that_does_not_fit_leaves_no_trace(tmp_path, monkeypatch):
    with Ledger(tmp_path) as writer:
        writer.append(STUDY)
        real = os.write

        def full(file, data):
            real(file, data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            writer.append(TRIAL)
        monkeypatch.setattr(os, "write", real)
        writer.append(trial_row("a", 0, "COMPLETE"))
    assert [row.get("state") for row in ledger.read(tmp_path)] == [None, "COMPLETE"]
