"""Slips of somebody new: understood where they can be, else answered with what to do."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from atod_sweep.config.base import validate
from atod_sweep.config.files import load_file, load_train
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.errors import UserError

STUDY = (
    "name: s\nquestion: q\nbase: presets/support_desk_compact\narms: {a: , b: {steps: 3}}\nfactors: {x: {y: , z: {}}}\n"
)


def test_an_empty_arm_or_level_is_the_base(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    study = load_file(Study, tmp_path / "s.yaml")
    assert study.arms == {"a": {}, "b": {"steps": 3}}
    assert study.factors == {"x": {"y": {}, "z": {}}}


@pytest.mark.parametrize(
    "seeds", ["[4294967296]", "1000000000000000000000000000000", "[0, 99999999999999999999]", "5000000000", "100001"]
)
def test_seeds_that_no_generator_takes(seeds: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY + f"seeds: {seeds}\n")
    with pytest.raises(UserError, match=r"a seed lies below 2\^32"):
        load_file(Study, tmp_path / "s.yaml")


@pytest.mark.parametrize("key", ["seed", "evaluation.seed", "teacher.recipe.seed", "student.recipe.seed"])
def test_a_seed_of_a_trial_ends_where_generators_do(key: str) -> None:
    load_train({}, {key: 2**32 - 1})
    with pytest.raises(UserError, match=f"{key}: must be at most 4294967295, got 4294967296"):
        load_train({}, {key: 2**32})


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_seed_of_a_sampler_ends_there_too(sampler: str) -> None:
    data = {"name": "x", "base": "b", "parameters": {"a": 1}, "sampler": {"kind": sampler, "seed": 2**32 - 1}}
    validate(Search, data, "f.yaml")
    with pytest.raises(UserError, match=r"sampler.seed: must be at most 4294967295"):
        validate(Search, {**data, "sampler": {"kind": sampler, "seed": 2**32}}, "f.yaml")


@pytest.mark.parametrize(("first", "fine"), [(2**32 - 9, True), (2**32 - 8, False)])
def test_confirmation_seeds_end_there_too(first: int, fine: bool) -> None:
    data = {"name": "x", "base": "b", "parameters": {"a": 1}, "budget": {"confirm": {"first_seed": first, "seeds": 9}}}
    with contextlib.nullcontext() if fine else pytest.raises(UserError, match="a seed lies below 2"):
        validate(Search, data, "f.yaml")


def test_the_other_verb_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    with pytest.raises(UserError, match="is a study; run it with: atod-sweep run"):
        load_file(Search, tmp_path / "s.yaml")
    (tmp_path / "f.yaml").write_text("base: presets/support_desk_compact\nparameters: {steps: {int: [1, 3]}}\n")
    with pytest.raises(UserError, match="is a search; run it with: atod-sweep search"):
        load_file(Study, tmp_path / "f.yaml")
