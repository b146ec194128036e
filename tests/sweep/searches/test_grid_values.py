"""Stepped values lie on the decimal grid whatever draws them; conditions can hold; other tools' words are answered."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.base import validate
from atod_sweep.config.domains import Float
from atod_sweep.config.search import Search
from atod_sweep.config.space import cuts, parse_constraint, parse_parameters
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.optuna_file import OptunaFile
from atod_sweep.sweep.searches.samplers import proposer
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space, resolve_space
from atod_sweep.sweep.searches.starting_points import starting_points

END = "objective.distill_weight.end"


def search(sampler: str, parameters: dict[str, Any], **more: Any) -> tuple[Search, Space]:
    base = {"base": "presets/support_desk_compact"}
    data = {"name": "s", "base": base, "parameters": parameters, "sampler": {"kind": sampler}, **more}
    found = validate(Search, data, "s")
    return found, resolve_space(found, Path(), "s")


def drawn(found: Search, space: Space, starts: list[Sample], number: int = 12) -> list[Sample]:
    source, samples = proposer(space, found, starts), []
    for i in range(number):
        point = source.ask()
        if point is None:
            break
        if isinstance(point, Infeasible):
            source.tell(i, "FAIL", None)
            continue
        samples.append(point)
        source.tell(i, "COMPLETE", [0.1 * (i % 3)])
    return samples


GRIDS = [(0.1, 0.3, 0.1), (0.05, 0.95, 0.05), (0.1, 0.7, 0.2), (0.01, 0.08, 0.01), (0.3, 0.9, 0.3), (0.0, 1.0, 0.07)]


@pytest.mark.parametrize(
    ("sampler", "low", "high", "step"),
    [
        # Optuna draws from whatever grid it is given: two of them are quick.
        pytest.param(sampler, *grid, marks=pytest.mark.slow if sampler in ("qmc", "tpe") and i > 1 else ())
        for sampler in ("random", "grid", "qmc", "tpe")
        for i, grid in enumerate(GRIDS)
    ],
)
def test_every_path_of_drawing_stays_on_the_decimal_grid(
    sampler: str, low: float, high: float, step: float, tmp_path: Path
) -> None:
    found, space = search(sampler, {END: {"float": [low, high], "step": step}}, start_from=[{END: low}])
    domain = space.parameters[0].branches[0].domain
    assert isinstance(domain, Float)
    grid = {float(Decimal(str(low)) + i * Decimal(str(step))) for i in range(int(domain.size))}
    starts = starting_points(space, found, Path(), "s")
    samples = drawn(found, space, starts)
    assert {sample.values[END] for sample in samples} <= grid
    assert len({sample.values[END] for sample in samples}) > 1
    notes: list[str] = []
    file = OptunaFile(tmp_path, found, space, notes.append)
    for i, sample in enumerate(samples):
        file.add(f"c{i}", sample, "COMPLETE", [0.5])
    assert notes == []


def test_the_last_step_is_reached_and_a_start_there_is_the_same_configuration() -> None:
    found, space = search("grid", {END: {"float": [0.1, 0.3], "step": 0.1}}, start_from=[{END: 0.3}])
    starts = starting_points(space, found, Path(), "s")
    samples = drawn(found, space, starts)
    assert [sample.values[END] for sample in samples] == [0.3, 0.1, 0.2, 0.3]
    assert samples[0].hash == samples[3].hash


def test_a_range_that_its_step_does_not_divide_is_cut_and_said() -> None:
    parameters = parse_parameters(
        {END: {"float": [0.1, 0.35], "step": 0.1}, "steps": {"int": [10, 45], "step": 10}}, "s"
    )
    assert cuts(parameters) == [
        f"{END}: [0.1, 0.35] ends at 0.3, where whole steps of 0.1 end",
        "steps: [10, 45] ends at 40, where whole steps of 10 end",
    ]


def test_a_copy_that_optuna_refuses_is_said_once_and_ends_nothing(tmp_path: Path) -> None:
    found, space = search("grid", {END: {"float": [0.1, 0.3], "step": 0.1}})
    notes: list[str] = []
    file = OptunaFile(tmp_path, found, space, notes.append)
    bad = Sample({END: 0.25}, {END: 0.25}, {})
    for i in range(3):
        file.add(f"c{i}", bad, "COMPLETE", [0.5])
    assert len(notes) == 1
    assert "the search goes on" in notes[0]
    notes.clear()
    (tmp_path / "optuna.journal").unlink()
    (tmp_path / "optuna.journal").mkdir()
    OptunaFile(tmp_path, found, space, notes.append).add("c0", bad, "FAIL", None)
    assert len(notes) == 1


BETAS = "optimiser.betas"


@pytest.mark.parametrize("sampler", ["random", "grid", "qmc", "tpe"])
def test_lists_are_choices_where_the_key_takes_a_list(sampler: str, tmp_path: Path) -> None:
    pairs = [[0.9, 0.95], [0.9, 0.999]]
    found, space = search(sampler, {BETAS: {"choice": pairs}}, start_from=[{BETAS: pairs[1]}])
    samples = drawn(found, space, starting_points(space, found, Path(), "s"))
    assert samples[0].config["optimiser"]["betas"] == pairs[1]
    assert all(sample.values[BETAS] in pairs for sample in samples)
    notes: list[str] = []
    OptunaFile(tmp_path, found, space, notes.append).add("c0", samples[0], "COMPLETE", [0.5])
    assert notes == []


KIND, START = "objective.distill_weight.kind", "objective.distill_weight.start"


@pytest.mark.parametrize(
    ("other", "when", "said"),
    [
        ({"float": [0.5, 1.0]}, 0.7, "where one exact value has no chance"),
        ({"float": [0.5, 1.0], "step": 0.1}, 0.75, "in steps of 0.1"),
        ({"float": [0.5, 1.0], "step": 0.1}, 0.7, None),
        ({"float": [0.5, 1.0], "step": 0.1}, 1.7, "a number in [0.5, 1]"),
        ({"float": [0.5, 1.0], "step": 0.1}, "high", "never 'high'"),
        ({"choice": [0.5, 1.0]}, 0.7, "one of 0.5, 1.0"),
        (0.5, 0.7, "it is 0.5"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(other: Any, when: Any, said: str | None) -> None:
    tree = {START: other, END: {"when": {"start": when}, "float": [0, 0.3]}}
    if said is None:
        assert len(parse_parameters(tree, "s")) == 2
        return
    with pytest.raises(UserError) as error:
        parse_parameters(tree, "s")
    assert said in str(error.value)


@pytest.mark.parametrize(
    "written",
    [
        {"min": 1e-5, "max": 1e-3},
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3},
        {"values": [1e-3, 1e-4]},
        {"low": 1e-5, "high": 1e-3},
        {"uniform": [0, 1]},
        {"grid_search": [1, 2]},
        {"normal": [0, 1]},
        {"mu": 0, "sigma": 1},
        {"value": 1e-3},
        {"_type": "loguniform", "_value": [1e-5, 1]},
        {"type": "range", "bounds": [1e-5, 1]},
        {"options": [1, 2]},
        {"log_float": [0.1, 0.2]},
    ],
)
def test_other_tools_spellings_are_answered_with_ours(written: Any) -> None:
    with pytest.raises(UserError, match=r"s\.optimiser\.lr: .*is how another tool writes it; here a range is {float:"):
        parse_parameters({"optimiser.lr": written}, "s")


@pytest.mark.parametrize("written", [{"min": 0.1, "max": 0.3}, {"lower": 0, "upper": 1}])
def test_also_where_the_config_has_parts(written: Any) -> None:
    with pytest.raises(UserError, match="is how another tool writes it"):
        parse_parameters({"objective.distill_weight": written}, "s")


def test_a_misspelt_part_is_no_other_tool() -> None:
    with pytest.raises(UserError, match=r"did you mean 'objective\.distill_weight\.kind'"):
        parse_parameters({"objective.distill_weight": {"kimd": "cosine"}}, "s")


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        ({"when": {"steps": 2}, "value": 0.1, "otherwise": {"when": {"steps": 2}, "value": 0.2}}, "when {steps: 2}"),
        ({"when": {"steps": []}, "value": 0.1}, "when {steps: }"),
        ({"when": {"steps": 4, "rollout.tasks": 3}, "value": 0.1}, "when {steps: 4; rollout.tasks: 3}"),
        ({"when": {"steps": 2, "rollout.tasks": 3}, "value": 0.1, "otherwise": {"when": {"steps": 4}, "value": 0}}, ""),
    ],
)
def test_a_branch_that_is_never_come_to_is_refused(leaf: Any, said: str) -> None:
    tree = {
        "steps": {"choice": [2, 4]},
        "rollout.tasks": {"when": {"steps": 2}, "choice": [3, 4]},
        "optimiser.lr": leaf,
    }
    if not said:
        assert len(parse_parameters(tree, "s")) == 3
        return
    with pytest.raises(UserError, match="never comes to its branch") as error:
        parse_parameters(tree, "s")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("other", "when", "said"),
    [
        ({"when": {"steps": 2}, "float": [0, 1]}, {}, "is not there"),
        ({"when": {"steps": 2}, "float": [0, 1]}, {"steps": 4}, "is not there where {'steps': 4}"),
        ({"when": {"steps": 2}, "float": [0, 1]}, {"steps": 2}, ""),
        ("text", {}, "is no number"),
        ({"choice": ["a", "b"]}, {}, "is no number"),
        ({"choice": [0.1, True]}, {}, "is no number"),
        ({"choice": [0.1, 0.2]}, {}, ""),
    ],
)
def test_what_is_added_to_is_there_and_a_number(other: Any, when: dict[str, Any], said: str) -> None:
    tree = {"steps": {"choice": [2, 4]}, START: {"when": when, "float": [0.1, 0.2], "plus": "end"}, END: other}
    if not said:
        assert len(parse_parameters(tree, "s")) == 3
        return
    with pytest.raises(UserError, match=rf"start\.plus: objective\.distill_weight\.end {said}"):
        parse_parameters(tree, "s")


@pytest.mark.parametrize("other", [{"int": [1, 10**8]}, {"float": [1, 9]}, {"int": [1, 3], "plus": "steps"}])
def test_horizons_are_few_whole_numbers(other: Any) -> None:
    with pytest.raises(UserError, match=r"parameters\.env\.horizon: models are trained on every horizon"):
        search("random", {"env.horizon": other, "steps": {"choice": [2, 4]}})


@pytest.mark.parametrize(
    ("key", "written", "said"),
    [
        ("optimiser.lr", {"float": [0, 1], "step": 1e-300}, "step: 1e-300 makes more than 9007199254740992 values"),
        ("optimiser.lr", {"float": [0, 1e300], "step": 0.1}, "step: 0.1 makes more than"),
        ("steps", {"int": [1, 10**30]}, "whole numbers reach 9007199254740992 here, got [1, 1000"),
        ("steps", {"int": [-(10**400), 1]}, "whole numbers reach"),
    ],
)
def test_a_range_of_more_values_than_can_be_drawn_is_refused(key: str, written: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_parameters({key: written}, "s")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_constraint_is_read_in_linear_time() -> None:
    for text in ("<" * 200_000 + " x y", "a" * 200_000, "a < " + "b " * 100_000):
        with pytest.raises(UserError, match="cannot read"):
            parse_constraint(text, (), "s")
