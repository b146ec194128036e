"""Text of somebody's who means harm, or had an accident: one line, at once."""

from __future__ import annotations

import pytest

from atod_sweep.config.base import parse_yaml, validate
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 30))
CHAIN = "a0: &a0 []\n" + "".join(f"a{i}: &a{i} {'[' * 40}*a{i - 1}{']' * 40}\n" for i in range(1, 60))
HOSTILE = {
    "deep flow": ("a: " + "[" * 1500 + "]" * 1500, "nested more than 50 levels"),
    "deep block": ("".join(" " * i + "a:\n" for i in range(300)), "nested more than 50 levels"),
    "a list in itself": ("a: &x [1, *x]", "alias 'x' leads back to itself"),
    "a mapping in itself": ("a: &x {b: {c: *x}}", "alias 'x' leads back to itself"),
    "aliases that multiply": (BOMB, "more than 100000 values"),
    "enormous": ("a: " + "x" * 2_000_001, "characters"),
    "infinite": ("env.kwargs: {x: .inf}", "'.inf' is not a finite number"),
    "not a number": ("env: {kwargs: {x: [1, {y: .NaN}]}}", "'.NaN' is not a finite number"),
    "beyond floats": ("x: 1e999", "'1e999' is not a finite number"),
    "minus": ("x: -.inf", "is not a finite number"),
    "endless digits": ("seed: " + "9" * 5000, "a number of 5000 digits"),
    "bytes": ("x: !!binary aGk=", "binary"),
    "a set": ("x: !!set {a, b}", "set"),
    "no such number": ("x: !!int abc", "not valid YAML"),
    "no such flag": ("x: !!bool maybe", "not valid YAML"),
    "no such mapping": ("x: !!map y", "not valid YAML"),
    "deep by aliases": (CHAIN, "nested more than 50 levels"),
    "half a character": ('a: [x, {y: "\\ud83d"}]', "a text that holds half of a character"),
    "a zero byte": ('path: "a\\0b"', "a text that holds a zero byte"),
    "a zero byte in a key": ('"a\\0b": 1', "a text that holds a zero byte"),
    "code": ("x: !!python/object/apply:os.system [ls]", "python/object/apply"),
    "a tab": ("a:\n\t- b", "in line 2, column 1"),
    "a control sign": ("a: \x00", "at position"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_one_line_with_a_position_in_words(case: str) -> None:
    text, said = HOSTILE[case]
    with pytest.raises(UserError) as error:
        parse_yaml(text, "s.yaml")
    assert "\n" not in str(error.value)
    assert said in str(error.value)
    assert "unicode string" not in str(error.value)


def test_ordinary_yaml_is_read_as_before() -> None:
    text = "a: &x {lr: 1e-4, on: off}\nb: *x\nc: [*x, 2024-01-01, 3, 0.5]\nd: {<<: *x, e: 1}\n"
    x = {"lr": 1e-4, "on": "off"}
    assert parse_yaml(text, "s") == {"a": x, "b": x, "c": [x, "2024-01-01", 3, 0.5], "d": {**x, "e": 1}}


def claim(text: str) -> str:
    data = {"name": "s", "question": "?", "base": "presets/support_desk_compact", "hypotheses": [text]}
    study = validate(
        Study, {**data, "arms": {"a": {}, "b": {}}, "factors": {"x": {"y": {}, "z": {}}, "u": {"v": {}}}}, "s"
    )
    return str(study.hypotheses[0])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a > b", "a > b on eval/success"),
        ("  a   >  b  at x=y by 0.02 ", "a > b on eval/success at x=y by 0.02"),
        ("a = b on eval/success at x=y , u=v within 1e-2", "a = b on eval/success at x=y, u=v within 0.01"),
        ("a >= b at x=y,u=v within .5", "a >= b on eval/success at x=y, u=v within 0.5"),
    ],
)
def test_claims_are_read_word_by_word(text: str, read: str) -> None:
    assert claim(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "a > b on m at " + ",".join(["x=y"] * 20) + " !",
        "a > b on m at " + ",".join(["x=y"] * 50_000) + " !",
        "a" * 1_000_000,
        "a > b " + "at x=y " * 50_000,
        "a > b by",
        "a > b at x",
        "a > b at x=",
        "a > b at",
        "a > b at x=y z=w",
        "a < b",
        "my arm > b",
        "a > b by ten",
        "",
    ],
)
def test_claims_that_cannot_be_read_are_one_short_line_at_once(text: str) -> None:
    with pytest.raises(UserError) as error:
        claim(text)
    assert "\n" not in str(error.value)
    assert "cannot read" in str(error.value)
    assert len(str(error.value)) < 500
