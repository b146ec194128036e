"""The cache of answers: whoever is killed leaves all that were paid for, and damage costs questions, never answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atod_sweep.training.teachers.answers import Answers, key_of

WRITER = """
import sys
from pathlib import Path
from atod_sweep.training.teachers.answers import Answers
answers = Answers(Path(sys.argv[1]))
for i in range(int(sys.argv[2]), 10**9):
    answers.put([({"ids": [i]}, {"logp": [-0.1 * i, -1e-7]})])
    print(i, flush=True)
"""


def test_an_answer_comes_back_as_it_was_whatever_the_order_of_keys(tmp_path):
    answers = Answers(tmp_path / "folder" / "a.sqlite")
    said = {"logp": [-0.1, -1.1920928955078125e-07, -103.27892], "text": "Ü 漢\n"}
    assert answers.get({"a": 1, "b": [2]}) is None
    answers.put([({"a": 1, "b": [2]}, said)])
    assert answers.get({"b": [2], "a": 1}) == said
    assert Answers(answers.path).get({"b": [2], "a": 1}) == said
    assert key_of({"a": 1}) != key_of({"a": 1.5}) != key_of({"a": [1]})


def test_whoever_is_killed_leaves_every_answer_that_was_kept(tmp_path):
    path, kept = tmp_path / "a.sqlite", 0
    for pause in (0.02, 0.05, 0.09):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(kept)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(pause)
            os.kill(writer.pid, signal.SIGKILL)
            kept = max([kept, *(int(line) + 1 for line in writer.stdout.read().split())])
        answers = Answers(path)
        assert all(answers.get({"ids": [i]}) == {"logp": [-0.1 * i, -1e-7]} for i in range(kept))
    assert kept > 3


@pytest.mark.parametrize("what", ["cut", "flipped"])
def test_damage_at_any_place_costs_questions_and_never_gives_another_answer(tmp_path, what):
    path = tmp_path / "a.sqlite"
    answers = Answers(path)
    for i in range(60):
        answers.put([({"ids": [i]}, {"logp": [float(i)] * 40})])
    answers.close()
    whole = path.read_bytes()
    for at in range(0, len(whole), 997):
        damaged = whole[:at] if what == "cut" else whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
        for old in tmp_path.iterdir():
            old.unlink()
        path.write_bytes(damaged)
        answers = Answers(path)
        for i in range(60):
            assert answers.get({"ids": [i]}) in (None, {"logp": [float(i)] * 40})
        answers.put([({"ids": [60]}, "new")])
        assert answers.get({"ids": [60]}) == "new"
        answers.close()


def test_two_processes_share_a_file(tmp_path):
    one, other = Answers(tmp_path / "a.sqlite"), Answers(tmp_path / "a.sqlite")
    one.put([({"q": 1}, "a")])
    other.put([({"q": 2}, "b")])
    assert (one.get({"q": 2}), other.get({"q": 1})) == ("b", "a")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Answers(Path(tmp_path / "file" / "a.sqlite"))
