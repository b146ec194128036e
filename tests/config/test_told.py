"""Mistakes in words: all of a file at once, none of them in the words of a library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from atod_sweep.config.base import validate
from atod_sweep.config.files import load_train
from atod_sweep.config.given import given
from atod_sweep.config.schema import records_at
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.run_search import search_work
from atod_sweep.sweep.studies.plan import resolve

FOREIGN = ("input should", "field required", "valid integer", "valid string", "instance of", "dictionary", "unable to")
WRONG = (None, True, "word", "", -1, 2.5, 10**30, float("nan"), [], ["x"], {}, {"x": 1}, {"kind": "nothing"})


def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a record and of the records in it, down to a depth that no config goes beyond."""
    for record in records_at(model, above):
        for name in record.model_fields:
            yield (*above, name)
            if len(above) < 4:
                yield from leaves(model, (*above, name))


@pytest.mark.parametrize("model", [Train, Study, Search])
def test_no_word_of_a_library_reaches_the_user(model: type[BaseModel]) -> None:
    refused = []
    for path in dict.fromkeys(leaves(model)):
        for value in WRONG:
            data: Any = value
            for part in reversed(path):
                data = {part: data}
            try:
                validate(model, data, "f.yaml")
            except UserError as error:
                refused.append(f"{path} = {value!r}: {error}")
    assert len(refused) > 200
    assert [said for said in refused if any(words in said.lower() for words in FOREIGN)] == []


def _resolve(path: Path) -> None:
    found = given(Study, path, resolve)
    resolve(found.record, found.folder, found.where)


def study(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        _resolve(path)
    return str(caught.value).splitlines()


REST = "name: x\nquestion: q\nbase: presets/support_desk_compact\n"


def test_all_mistakes_of_a_study_at_once(tmp_path: Path) -> None:
    """Misspelt, missing, of the wrong type, and what shows only when arms are resolved."""
    text = (
        "nam: x\nbase: presets/support_desk_compact\n"
        "armz: {a: {objective.distil_weight.kind: cosine, optimiser.lr: -3}, b: {steps: 0}}\n"
        "hypotheses: [a > c, a > a]\nseeds: two\n"
    )
    header, *lines = study(tmp_path / "s.yaml", text)
    assert header == f"{tmp_path / 's.yaml'}: 9 mistakes"
    assert sorted(line.strip() for line in lines) == sorted(
        [
            "unknown key 'nam'; did you mean 'name'?",
            "question: is missing (what the study asks, as one sentence)",
            "unknown key 'armz'; did you mean 'arms'?",
            "arms.a: unknown key 'objective.distil_weight.kind'; did you mean 'objective.distill_weight.kind'?",
            "arms.a: optimiser.lr: must be above 0, got -3",
            "arms.b: steps: must be at least 1, got 0",
            "hypotheses.0: 'c' is not an arm; known: a, b",
            "hypotheses.1: compares 'a' with itself; name two different arms",
            "seeds: expected a whole number or a list, got 'two'",
        ]
    )


def test_an_arm_is_not_blamed_for_a_broken_base(tmp_path: Path) -> None:
    """Of a base that cannot be resolved nothing is known: only keys that no config has are told of arms."""
    text = "name: x\nquestion: q\nbase: {steps: many}\narms: {a: {student.path: m, stepz: 1}, b: {seed: -1}}\n"
    assert [line.strip() for line in study(tmp_path / "s.yaml", text)[1:]] == [
        "base: steps: expected a whole number, got 'many'",
        "arms.a: unknown key 'stepz'; did you mean 'steps'?",
    ]


def test_a_broken_part_that_others_refer_to_blames_none_of_them(tmp_path: Path) -> None:
    text = REST + "arms: {a: {}, b: {}}\nfactors: 3\nhypotheses: [a > b at horizon=long]\n"
    assert study(tmp_path / "s.yaml", text) == [f"{tmp_path / 's.yaml'}: factors: expected a mapping, got 3"]


def test_arms_and_levels_are_told_once_however_often_they_are_resolved(tmp_path: Path) -> None:
    text = REST + "arms: {a: {steps: -1}, b: {}}\nfactors: {h: {one: {}, two: {env.horizn: 3}}}\nseeds: 4\n"
    assert [line.strip() for line in study(tmp_path / "s.yaml", text)[1:]] == [
        "factors.h.two: unknown key 'env.horizn'; did you mean 'env.horizon'?",
        "arms.a: steps: must be at least 1, got -1",
    ]


def test_all_mistakes_of_a_trainer_config_and_of_the_overrides(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("stepz: 3\noptimiser: {lr: fast}\n")
    with pytest.raises(UserError) as caught:
        load_train(str(path), {"rollout.taskz": 1, "steps": 0})
    assert str(caught.value).splitlines() == [
        f"{path}: 4 mistakes",
        "  unknown key 'stepz'; did you mean 'steps'?",
        "  unknown key 'rollout.taskz'; did you mean 'rollout.tasks'?",
        "  optimiser.lr: expected a number, got 'fast'",
        "  steps: must be at least 1, got 0",
    ]


def test_all_mistakes_of_a_search(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(
        "base: presets/support_desk_compact\nparametrs: {optimiser.lr: {float: [1e-2, 1e-4]}}\nsampler: {kind: tpee}\n"
    )
    with pytest.raises(UserError) as caught:
        given(Search, path, search_work)
    assert str(caught.value).splitlines() == [
        f"{path}: 3 mistakes",
        "  sampler.kind: unknown kind 'tpee'; did you mean 'tpe'? known: tpe, random, grid, qmc, optuna",
        "  unknown key 'parametrs'; did you mean 'parameters'?",
        "  parameters.optimiser.lr: a range needs two numbers in order, got [0.01, 0.0001]; swap them: [0.0001, 0.01]",
    ]


def test_a_key_in_a_list_is_told_with_its_place() -> None:
    data = {"name": "x", "question": "q", "base": "b", "arms": {"a": {}}, "hypotheses": [{"arm": "a", "metrc": "x"}]}
    with pytest.raises(UserError) as caught:
        validate(Study, data, "s.yaml")
    assert "  hypotheses.0: unknown key 'metrc'; did you mean 'metric'?" in str(caught.value).splitlines()
