"""Code of the user's own: found, hashed, run, and refused, each in one line."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.base import content_hash, validate, with_overrides
from atod_sweep.config.custom import imports, named_in
from atod_sweep.config.schedules import CustomDecay
from atod_sweep.config.train import Train
from atod_sweep.config.turns import CustomTurns
from atod_sweep.errors import UserError

GOOD = "def half(p):\n    return p / 2\n\n\ndef square(p):\n    return p * p\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(text: str, name: str = "mine") -> Path:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return module


def train_with(path: str, **fields: Any) -> Train:
    weight = {"kind": "custom", "path": path, **fields}
    return validate(Train, {"objective": {"kind": "interpolated", "distill_weight": weight}}, "study.yaml")


def test_the_source_becomes_part_of_the_config_and_of_its_hash(write: Any) -> None:
    write(GOOD)
    first = train_with("mine:half")
    weight = first.objective.distill_weight
    assert weight.source == hashlib.sha256(GOOD.encode()).hexdigest()
    assert weight.function(0.5) == 0.25
    again = Train.model_validate(first.model_dump(mode="json"))
    assert again == first
    write(GOOD.replace("p / 2", "p / 3"))
    second = train_with("mine:half")
    assert second.objective.distill_weight.function(0.5) == pytest.approx(1 / 6)
    assert weight.function(0.5) == 0.25  # what was run under a hash stays what it is
    assert content_hash(first.model_dump(mode="json")) != content_hash(second.model_dump(mode="json"))


def test_packages_may_hold_it(write: Any) -> None:
    write("", "lab.__init__")
    write(GOOD, "lab.ideas")
    assert train_with("lab.ideas:square").objective.distill_weight.function(0.5) == 0.25


def test_a_recorded_config_is_read_without_its_code(write: Any) -> None:
    """A laptop that only reads a run need not have the module; whoever runs it must have the same one."""
    path = write(GOOD)
    data = train_with("mine:square").model_dump(mode="json")
    path.write_text("raise SystemExit('must not run')\n", encoding="utf-8")
    weight = Train.model_validate(data).objective.distill_weight
    assert weight.function(1.0) == 1.0  # known by its hash from above
    data["objective"]["distill_weight"]["source"] = "0" * 64
    unknown = Train.model_validate(data).objective.distill_weight
    with pytest.raises(UserError, match=r"'mine:square' has changed since this config was made.*restore the module"):
        _ = unknown.function
    path.unlink()
    with pytest.raises(UserError, match="no module 'mine' here"):
        _ = unknown.function


def test_another_path_gets_another_hash(write: Any) -> None:
    write(GOOD)
    write(GOOD + "\n", "other")
    base = train_with("mine:half").model_dump(mode="json")
    key = "objective.distill_weight.path"
    changed = validate(Train, with_overrides(Train, base, {key: "other:half"}), "arm").objective.distill_weight
    assert changed.source == hashlib.sha256((GOOD + "\n").encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (GOOD, "mine:halve", "'mine:halve': module 'mine' has no function 'halve'"),
        ("half = 0.5\n", "mine:half", "module 'mine' has no function 'half'"),
        (GOOD, "mime:half", "no module 'mime' here; put mime.py into the folder"),
        (GOOD, "no.such.module:half", "no module 'no.such.module' here"),
        (GOOD, "math:sqrt", "module 'math' is not one file of Python"),
        (GOOD, "mine", "names no function; write package.module:function"),
        (GOOD, "mine:half:more", "names no function; write package.module:function"),
        (GOOD, "../mine:half", "names no function; write package.module:function"),
        ("def half(p, q):\n    return p\n", "mine:half", r"is called as half\(progress\), which its parameters do not"),
        ("def half():\n    return 0\n", "mine:half", r"is called as half\(progress\)"),
        ("def half(p:\n", "mine:half", r"'\(' was never closed in line 1"),
        ("raise ValueError('a\\nb')\n", "mine:half", "running 'mine' fails: ValueError: a b$"),
        ("1 / 0\n", "mine:half", "running 'mine' fails: ZeroDivisionError: division by zero"),
        ("import helper\n", "mine:half", "imports 'helper', which is neither installed nor part of the hash"),
        ("def half(p):\n    import helper\n    return p\n", "mine:half", "imports 'helper'"),
        ("from . import helper\n", "mine:half", r"imports '\.'"),
        ("import no_such_package\n", "mine:half", "imports 'no_such_package'"),
    ],
)
def test_refused_in_one_line(write: Any, text: str, path: str, message: str) -> None:
    write(text)
    write("", "helper")
    with pytest.raises(UserError, match=message) as caught:
        train_with(path)
    assert str(caught.value).startswith("study.yaml: objective.distill_weight.path: ")
    assert "\n" not in str(caught.value)


def test_installed_packages_may_be_imported(write: Any) -> None:
    write("import math\n\nimport numpy as np\n\n\ndef half(p):\n    return float(np.sqrt(p)) * math.pi / math.pi\n")
    assert train_with("mine:half").objective.distill_weight.function(0.25) == 0.5


def test_modules_may_hold_dataclasses(write: Any) -> None:
    write(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Power:\n"
        "    exponent: float\n\n    def __call__(self, p: float) -> float:\n        return p**self.exponent\n\n\n"
        "cube = Power(3.0)\n"
    )
    assert train_with("mine:cube").objective.distill_weight.function(0.5) == 0.125


@pytest.mark.parametrize(
    ("record", "fields", "arguments"),
    [
        (CustomDecay, {}, "progress"),
        (CustomTurns, {}, "turn, horizon"),
        (CustomTurns, {"weighs": "tokens"}, "student_logp_BT, teacher_logp_BT, turn_BT, mask_BT"),
    ],
)
def test_every_kind_says_what_it_calls(write: Any, record: Any, fields: dict[str, Any], arguments: str) -> None:
    write(f"def right({arguments}):\n    return 1.0\n\n\ndef wrong({arguments}, more):\n    return 1.0\n")
    assert record(path="mine:right", **fields).source
    with pytest.raises(ValueError, match=f"is called as wrong\\({arguments}\\)"):
        record(path="mine:wrong", **fields)


def test_imports_of_a_text() -> None:
    text = "import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n    import i\n"
    assert imports(text) == {"a", "c", "d", ".", "i"}
    assert imports("x = 1\n") == set()


def test_nothing_is_left_behind_by_a_module_that_fails(write: Any) -> None:
    before = set(sys.modules)
    write("1 / 0\n")
    with pytest.raises(UserError):
        train_with("mine:half")
    assert not [name for name in set(sys.modules) - before if name.startswith("mine")]


def test_what_a_recorded_config_names(write: Any) -> None:
    write(GOOD)
    data = train_with("mine:half").model_dump(mode="json")
    assert named_in(data) == ["mine:half"]
    assert named_in(Train().model_dump(mode="json")) == []
