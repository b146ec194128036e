"""What the native families share: reading actions, splits."""

import subprocess
import sys

import pytest

from atod_sweep.envs.families.game import read_action, split_of_task


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("greet", "greet"),
        ("  Greet. \n", "greet"),
        ('"VERIFY   gold"!', "verify gold"),
        ("verify\tgold", "verify gold"),
        ("", ""),
        ("...", ""),
        ("\x00greet\x07", "\x00greet\x07"),  # control characters are not punctuation: no such action
        ("x" * 200, "x" * 200),
        ("greet" + " " * 196, ""),  # 201 characters
    ],
)
def test_read_action(text: str, action: str) -> None:
    assert read_action(text) == action


def test_split_of_a_task_is_the_same_in_every_process_and_holds_out_a_quarter() -> None:
    code = "from atod_sweep.envs.families.game import split_of_task as s; print([s(('task', i)) for i in range(40)])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == str([split_of_task(("task", i)) for i in range(40)])
    held_out = sum(split_of_task(("task", i)) == "eval" for i in range(4000))
    assert 900 < held_out < 1100
