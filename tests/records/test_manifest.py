"""A manifest vouches for every file of a folder, and for itself."""

from __future__ import annotations

import pytest

from atod_sweep.records import manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "weights").write_bytes(bytes(range(256)))
    (tmp_path / "below" / "words.txt").write_text("so red")
    manifest.write(tmp_path, step=3)
    return tmp_path


def test_the_facts_come_back(folder):
    assert manifest.check(folder) == {"step": 3}


CHANGES = {
    "a byte more": (lambda f: (f / "weights").write_bytes(bytes(range(256)) + b"x"), "weights does not match"),
    "another byte": (lambda f: (f / "weights").write_bytes(bytes(range(255)) + b"x"), "weights does not match"),
    "a file below": (lambda f: (f / "below" / "words.txt").write_text("so rad"), "below/words.txt does not match"),
    "a file gone": (lambda f: (f / "weights").unlink(), "weights is missing"),
    "a folder in its place": (lambda f: ((f / "weights").unlink(), (f / "weights").mkdir()), "cannot be read: Is a"),
    "no manifest": (lambda f: (f / manifest.NAME).unlink(), "manifest.json is missing"),
    "an empty manifest": (lambda f: (f / manifest.NAME).write_text(""), "manifest.json: not a JSON row"),
    "a list": (lambda f: (f / manifest.NAME).write_text("[]"), "manifest.json: not a JSON object"),
    "no files": (lambda f: (f / manifest.NAME).write_text("{}"), "manifest.json is not a manifest"),
    "files that are none": (lambda f: (f / manifest.NAME).write_text('{"files": 3}'), "manifest.json is not a"),
    "no text": (lambda f: (f / manifest.NAME).write_bytes(b"\xff"), "manifest.json: not a JSON row"),
}


@pytest.mark.parametrize(("change", "why"), CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_named(folder, change, why):
    change(folder)
    with pytest.raises(ValueError, match=why):
        manifest.check(folder)


def test_every_bit_of_the_manifest_is_its_own_witness(folder):
    path = folder / manifest.NAME
    whole = path.read_bytes()
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"manifest\.json"):
            manifest.check(folder)
