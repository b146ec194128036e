"""What is handed on as it is, given from Python: as a file would hold it, or refused in a line that says where."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from atod_sweep.config.base import content_hash, validate
from atod_sweep.config.train import Env, Train
from atod_sweep.errors import UserError

REFUSED = {
    "infinity": (math.inf, "env.kwargs.x: must be a finite number, got inf"),
    "deep inside": ({"a": [0, {"b": -math.inf}]}, "env.kwargs.x.a.1.b: must be a finite number, got -inf"),
    "not a number": ((math.nan,), "env.kwargs.x.0: must be a finite number, got nan"),
    "a set": ({1}, "env.kwargs.x: must be a number, text, list or mapping, got {1} (set)"),
    "bytes": (b"x", "got b'x' (bytes)"),
    "a path": (Path("x"), "(PosixPath)"),
    "a function": (len, "(builtin_function_or_method)"),
    "half a character": ("\ud83d", "env.kwargs.x: holds half of a character"),
    "endless digits": (10**100, "env.kwargs.x: a number of more than 100 digits"),
    "a key of two parts": ({(1, 2): 3}, "env.kwargs: x.a key: must be a number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_file_can_hold_is_refused_in_a_line(case):
    value, said = REFUSED[case]
    with pytest.raises(UserError) as error:
        validate(Train, {"env": {"kwargs": {"x": value}}}, "config")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_file_can_hold_is_kept_and_tuples_are_lists():
    given = {"x": (1, ("a", None)), "y": {"😀": True, "z": 0.5}, "n": 10**99}
    kwargs = validate(Env, {"kwargs": given}, "env").kwargs
    assert kwargs == {"x": [1, ["a", None]], "y": {"😀": True, "z": 0.5}, "n": 10**99}
    assert content_hash(kwargs) == content_hash(given)


@pytest.mark.parametrize(
    "where",
    [
        {"teacher": {"kind": "compact", "recipe": {"curriculum": [{"steps": 1, "kwargs": {"x": math.inf}}]}}},
        {"student": {"kind": "pretrained", "path": "p", "chat_template_kwargs": {"x": math.inf}}},
    ],
)
def test_the_same_of_other_settings(where):
    with pytest.raises(UserError, match=r"kwargs\.x: must be a finite number, got inf"):
        validate(Train, where, "config")
