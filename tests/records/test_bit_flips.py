"""One bit wrong in any file that is read later: noticed in one line, or without effect, never silent, no traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from bit_flips import FILES, flip_bits


def _flip(place: Path, name: str, flips: int) -> None:
    file = FILES[name]
    folder = file.make(place)
    seen = flip_bits(folder / file.name, lambda: file.read(folder), flips, random.Random(name))
    assert not seen.wrong
    assert seen.noticed >= 0.95 * flips  # that a file's last newline is another byte changes nothing


@pytest.mark.parametrize("name", FILES)
def test_a_sample_of_flips_is_noticed(tmp_path, name):
    _flip(tmp_path, name, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_thousands_of_flips_are_noticed(tmp_path, name):
    _flip(tmp_path, name, 280)  # 3,080 in all


def test_a_flip_that_nobody_notices_is_said(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"7")
    silent = flip_bits(path, path.read_text, 1, random.Random(0))
    assert (silent.noticed, silent.harmless) == (0, 0)
    assert silent.wrong.startswith("x, byte 0, bit 6: read as w")
    assert flip_bits(path, lambda: "", 3, random.Random(0)) == (0, 3, "")
    broken = flip_bits(path, lambda: str(10 // (path.read_bytes() == b"7")), 1, random.Random(0))
    assert "ZeroDivisionError" in broken.wrong
    assert path.read_bytes() == b"7"
