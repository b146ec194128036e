"""Slips of somebody new: understood where they can be, else answered with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from atod_sweep.config.files import load_study
from atod_sweep.config.search import load_search
from atod_sweep.errors import UserError

STUDY = (
    "name: s\nquestion: q\nbase: presets/support_desk_compact\narms: {a: , b: {steps: 3}}\nfactors: {x: {y: , z: {}}}\n"
)


def test_an_empty_arm_or_level_is_the_base(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    study = load_study(tmp_path / "s.yaml")
    assert study.arms == {"a": {}, "b": {"steps": 3}}
    assert study.factors == {"x": {"y": {}, "z": {}}}


@pytest.mark.parametrize("seeds", ["[4294967296]", "[0, 99999999999999999999]", "5000000000", "100001"])
def test_seeds_that_no_generator_takes(seeds: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY + f"seeds: {seeds}\n")
    with pytest.raises(UserError, match=r"a seed lies below 2\^32"):
        load_study(tmp_path / "s.yaml")


def test_the_other_verb_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    with pytest.raises(UserError, match="is a study; run it with: atod-sweep run"):
        load_search(tmp_path / "s.yaml")
    (tmp_path / "f.yaml").write_text("base: presets/support_desk_compact\nparameters: {steps: {int: [1, 3]}}\n")
    with pytest.raises(UserError, match="is a search; run it with: atod-sweep search"):
        load_study(tmp_path / "f.yaml")
