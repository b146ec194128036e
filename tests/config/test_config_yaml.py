"""YAML as people write it: numbers, words, repeated keys, and a dump that reads back to the same data."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from atod_sweep.config.base import content_hash, dump_yaml, load_own, load_yaml, parse_yaml
from atod_sweep.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("1E5", 100000.0),
        ("-2e3", -2000.0),
        ("+.5e3", 500.0),
        ("5.e-2", 0.05),
        ("1.0e-4", 0.0001),
        ("12", 12),
        ("0.5", 0.5),
        # not numbers
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e4x", "1e4x"),
        ("1-e4", "1-e4"),
        ('"1e-4"', "1e-4"),
        # YAML 1.2 booleans only: `off` is a good name for a factor level
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("null", None),
        ("none", "none"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    parsed = parse_yaml(f"key: {text}", "x")["key"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "key"),
    [("a: 1\nb: 2\na: 3", "a"), ("x: {b: 1, b: 1}", "b"), ("arms:\n  cosine: {}\n  cosine: {}", "cosine")],
)
def test_repeated_keys_are_errors(text: str, key: str) -> None:
    with pytest.raises(UserError, match=f"^study.yaml: not valid YAML in line .*: key '{key}' appears twice"):
        parse_yaml(text, "study.yaml")


def test_anchors_and_merge_keys_work() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}"
    assert parse_yaml(text, "x") == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a:\n\t- b", "a: {{template}}", "? [1, 2]\n: 3", "a: !!python/object/apply:os.getcwd []", "a: *nowhere"],
)
def test_what_cannot_be_read_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^study\.yaml: not valid YAML in line ") as caught:
        parse_yaml(text, "study.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- 1", "word", "", "3"])
def test_a_file_holds_a_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"expected a mapping of keys, got |is empty"):
        load_yaml(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml: no such file$"):
        load_yaml(tmp_path / "gone.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(UserError, match=r"is not UTF-8 text \(byte 3\); save it as UTF-8$"):
        load_yaml(tmp_path / "latin.yaml")


def test_dump_reads_back() -> None:
    data = {
        "z_first": 1e-5,
        "number like": ["1e-4", "12", "0.5", "1e5", ".5e3"],
        "word like": ["on", "off", "true", "null", "~", "", " padded ", "a: b", "# no comment"],
        "numbers": [1e-4, 1e20, -0.0, 3, True, None],
        "1e-4": {"nested": {}},
        "ü": "naïve → κ",
        "long": "word " * 60,
    }
    back = parse_yaml(dump_yaml(data), "x")
    assert back == data
    assert list(back) == list(data)


def test_what_we_read_otherwise_is_nobody_else_s_business(tmp_path: Path) -> None:
    assert yaml.safe_load("[2024-01-31, on]") == [date(2024, 1, 31), True]
    assert yaml.safe_dump("2024-01-31") == "'2024-01-31'\n"
    assert parse_yaml("[2024-01-31, on]", "x") == ["2024-01-31", "on"]
    (tmp_path / "own.yaml").write_text(dump_yaml({"date": "2024-01-31", "on": "off", "lr": 1e-4, "word": "1e3"}))
    assert load_own(tmp_path / "own.yaml") == {"date": "2024-01-31", "on": "off", "lr": 1e-4, "word": "1e3"}


def test_content_hash_is_of_the_content() -> None:
    assert content_hash({"a": 1, "b": [1, 2]}) == content_hash({"b": [1, 2], "a": 1})
    others = [{"a": 1, "b": [2, 1]}, {"a": 1}, {"a": 1.5, "b": [1, 2]}, {"a": "1", "b": [1, 2]}]
    assert len({content_hash(x) for x in [{"a": 1, "b": [1, 2]}, *others]}) == 5
