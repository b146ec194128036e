"""The one file in which a published run keeps what its trials left."""

from __future__ import annotations

import gzip
import random

import pytest

from atod_sweep.errors import UserError
from atod_sweep.records import layout, packed
from atod_sweep.records.packed import Packed, PackedTrial, thinned

ROWS = [{"phase": "train", "step": s, "loss": s / 8, "lr": 0.1} for s in range(25)]
EVALS = [{"phase": "eval", "step": s, "eval/success": s / 32} for s in (0, 7, 25)]


def _run(folder, **trials):
    folder.mkdir(exist_ok=True)
    found = Packed(10, 1, {name: PackedTrial({"steps": 25}, rows, {"m": 0.5}) for name, rows in trials.items()})
    packed.write(folder, found)
    return found


@pytest.mark.parametrize(
    ("every", "last", "steps"),
    [(10, 1, [0, 10, 20, 24]), (10, 3, [0, 10, 20, 22, 23, 24]), (50, 1, [0, 24]), (1, 1, list(range(25)))],
)
def test_training_rows_are_thinned_by_step_and_evaluations_never(every, last, steps):
    rows = sorted([*ROWS, *EVALS], key=lambda row: row["step"])
    kept = thinned(rows, every, last)
    assert [row["step"] for row in kept if row["phase"] == "train"] == steps
    assert [row for row in kept if row["phase"] == "eval"] == EVALS
    assert all(row in rows for row in kept)


def test_the_last_values_of_a_number_that_ends_early_stay():
    """A teacher whose weight has fallen to 0 is asked no more: results are read from what it said last."""
    rows = [row | ({"kl/teacher": 0.1} if row["step"] < 13 else {}) for row in ROWS]
    assert [row["step"] for row in thinned(rows, 10, 2)] == [0, 10, 11, 12, 20, 23, 24]


def test_numbers_that_an_export_needs_stay_at_every_step():
    kept = thinned(ROWS, 10, 1, ["lr"])
    assert [row["step"] for row in kept] == list(range(25))
    assert kept[11] == {"phase": "train", "step": 11, "lr": 0.1}
    assert kept[20] == ROWS[20]


def test_what_is_read_is_what_was_written_and_the_same_content_gives_the_same_bytes(tmp_path):
    found = _run(tmp_path / "a", a=ROWS, b=EVALS)
    assert packed.read(tmp_path / "a") == found
    _run(tmp_path / "b", a=ROWS, b=EVALS)
    assert (tmp_path / "a" / layout.PACKED).read_bytes() == (tmp_path / "b" / layout.PACKED).read_bytes()
    assert packed.read(tmp_path) is None


def _lines(change):
    return lambda data: gzip.compress(b"\n".join(change(gzip.decompress(data).split(b"\n"))))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not gzip",
        lambda data: data[:-40],
        lambda data: data[:40],
        lambda data: gzip.compress(b""),
        lambda data: gzip.compress(b"{}\n"),
        _lines(lambda lines: lines[1:]),
        _lines(lambda lines: [*lines[:-2], b""]),
        _lines(lambda lines: [*lines[:2], lines[2].replace(b"0.1", b"0.2"), b""]),
        _lines(lambda lines: [*lines[:2], b'{"trial": "b", "config": {}, "rows": [], "means": {}}', b""]),
    ],
)
def test_damage_is_one_line_that_says_what_to_do(tmp_path, damage):
    _run(tmp_path, a=EVALS, b=ROWS)
    path = tmp_path / layout.PACKED
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="pack the run again") as refusal:
        packed.read(tmp_path)
    assert "\n" not in str(refusal.value)


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    found = _run(tmp_path, a=ROWS, b=EVALS)
    path, rng = tmp_path / layout.PACKED, random.Random(3)
    whole = path.read_bytes()
    for _ in range(300):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        try:
            assert packed.read(tmp_path) == found, at
        except UserError:
            continue
