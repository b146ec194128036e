"""Mistakes that are gathered: all of them, once, under one header."""

from __future__ import annotations

import pickle

import pytest

from atod_sweep.errors import Gathered, Mistakes, UserError


def test_one_is_a_line_and_several_have_a_header() -> None:
    assert str(Mistakes("a.yaml", ["x: y"])) == "a.yaml: x: y"
    assert str(Mistakes("a.yaml", ["x: y", "z: 3", "x: y"])) == "a.yaml: 2 mistakes\n  x: y\n  z: 3"
    assert str(pickle.loads(pickle.dumps(Mistakes("a.yaml", ["x", "y"])))) == "a.yaml: 2 mistakes\n  x\n  y"


def test_gathering_goes_on_after_a_mistake_and_tells_them_all() -> None:
    mistakes = Gathered("a.yaml")
    mistakes.check()
    with mistakes.noted():
        raise UserError("a.yaml: one")
    with mistakes.noted("part: "):
        raise UserError("two")
    inner = Gathered("a.yaml: arms.b")
    with inner.noted():
        raise UserError("three")
    with inner.noted():
        raise UserError("a.yaml: arms.b: four")
    with mistakes.noted():
        inner.check()
    with pytest.raises(UserError) as caught:
        mistakes.check()
    assert str(caught.value).splitlines()[1:] == ["  one", "  part: two", "  arms.b: three", "  arms.b: four"]


def test_other_errors_are_not_gathered() -> None:
    with pytest.raises(KeyError), Gathered("a").noted():
        raise KeyError("x")
