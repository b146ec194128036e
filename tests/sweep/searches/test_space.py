"""Search spaces: what is read, what is refused, and that every drawn value arrives in the trainer's config."""

from __future__ import annotations

import contextlib
from pathlib import Path

import optuna
import pytest
import yaml

from atod_sweep.config.files import load_file
from atod_sweep.config.search import Search
from atod_sweep.config.space import parse_constraint, parse_parameters
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.draws import CubeDraw, GridDraw, OptunaDraw, random_units
from atod_sweep.sweep.searches.run_search import search_work
from atod_sweep.sweep.searches.samplers import proposer
from atod_sweep.sweep.searches.samplers.grid import every_point as grid
from atod_sweep.sweep.searches.show import space_lines
from atod_sweep.sweep.searches.space import PROBES, Infeasible, Space, resolve_space
from atod_sweep.sweep.searches.starting_points import starting_points

SHIPPED = sorted((Path(__file__).parents[3] / "search_spaces").glob("*.yaml"))
WEIGHT = "objective.distill_weight"
SHAPE = {
    "kind": {"choice": ["cosine", "exponential"]},
    "end": {"when": {"kind": "exponential"}, "float": [0.01, 0.3], "log": True, "otherwise": {"float": [0.0, 0.3]}},
}
TURNS = {
    "kind": {"choice": ["uniform", "thresholds"]},
    "early_fraction": {"when": {"kind": "thresholds"}, "float": [0.0, 0.4]},
    "late_fraction": {"when": {"kind": "thresholds"}, "float": [0.1, 0.6], "plus": "early_fraction"},
}


@pytest.fixture
def space_of(tmp_path):
    def make(parameters, **more):
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump({"base": {}, "parameters": parameters, **more}))
        search = load_file(Search, path)
        return resolve_space(search, tmp_path, path.name), search

    return make


def lookup(config, key):
    node = config
    for part in key.split("."):
        node = getattr(node, part)
    return node.start if getattr(node, "kind", None) == "constant" and not isinstance(node, str) else node


# ---- shipped spaces ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_sampled_value_of_a_shipped_space_arrives_in_the_resolved_config(path):
    search = load_file(Search, path)
    space = resolve_space(search, path.parent, path.name)
    drawn: dict[str, set] = {}
    names = set()
    for units in random_units(1, 60):
        with contextlib.suppress(*[Infeasible] if space.constraints else []):
            sample = space.sample(CubeDraw(units))
        config = Train.model_validate(sample.config)
        for key, value in sample.values.items():
            assert lookup(config, key) == value, key
            drawn.setdefault(key, set()).add(value)
        names |= sample.params.keys()
    assert names == {b.name for p in space.varying for b in p.branches}  # every branch was drawn from
    assert all(len(drawn[p.key]) > 1 for p in space.varying)
    assert len(starting_points(space, search, path.parent, path.name)) == len(search.start_from)
    assert search_work(search, path.parent, path.name, "").total > 0


def test_there_are_the_five_shipped_spaces():
    assert {path.stem for path in SHIPPED} >= {"schedule", "tdur", "kl_penalty", "optimiser", "paper_neighbourhood"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_can_be_shown(path):
    lines = space_lines(path, 2)
    assert "parameters" in lines[0]
    assert sum(line.startswith("sample ") for line in lines) == 2


def test_a_space_says_its_size_without_trying_millions_of_points_and_its_steps(tmp_path):
    def shown(**parameters):
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump({"base": {}, "parameters": parameters}))
        return space_lines(path, 0)

    whole = {"int": [100, 10_000]}
    assert shown(steps=whole, **{"rollout.tasks": whole})[0] == "space: 2 parameters; up to 98029801 configurations"
    few = shown(steps={"int": [100, 104], "step": 2}, **{"optimiser.max_grad_norm": {"float": [1, 3], "step": 1.0}})
    assert few[0] == "space: 2 parameters; 9 configurations"
    assert "    max_grad_norm      1 .. 3  (real, step 1)" in few


def test_a_grid_is_counted_as_far_as_the_budget_asks(monkeypatch):
    tried, sample = [], Space.sample
    monkeypatch.setattr(Space, "sample", lambda self, draw: tried.append(draw) or sample(self, draw))
    search = Search.model_validate(
        {"name": "grid", "base": {}, "parameters": {"steps": {"int": [1, 10_000]}}, "sampler": {"kind": "grid"}}
    )
    assert search_work(search, Path(), "grid", "").total == 40 * 2 + 4 * 9
    assert len(tried) < 300


# ---- conditions, sums, names ---------------------------------------------------------------------------------------


def test_a_condition_decides_the_range_and_the_name(space_of):
    space, _ = space_of({WEIGHT: SHAPE})
    # the first coordinate chooses the kind, the second the end
    cosine = space.sample(CubeDraw(iter([0.2, 0.5])))
    assert cosine.values == {f"{WEIGHT}.kind": "cosine", f"{WEIGHT}.end": 0.15}
    assert cosine.params == {f"{WEIGHT}.kind": "cosine", f"{WEIGHT}.end (otherwise)": 0.15}
    exponential = space.sample(CubeDraw(iter([0.7, 0.5])))
    assert exponential.values[f"{WEIGHT}.end"] == pytest.approx((0.01 * 0.3) ** 0.5)
    assert f"{WEIGHT}.end (kind=exponential)" in exponential.params


def test_who_plays_and_how_deep_are_schedules_like_any_other(space_of):
    keys = {
        "rollout.takeover.probability.start": {"float": [0.2, 1.0]},
        "rollout.depth.share.end": {"float": [0.5, 1.0]},
        "rollout.depth.from": {"choice": ["start", "end"]},
    }
    space, _ = space_of(keys, base={"rollout.takeover": {}, "rollout.depth": {}})
    config = Train.model_validate(space.sample(CubeDraw(iter([0.5] * 3))).config)
    assert [lookup(config, key) for key in keys] == [pytest.approx(0.6), 0.75, "end"]


def test_late_follows_early_by_construction_and_exists_only_with_thresholds(space_of):
    space, _ = space_of({"objective.turns": TURNS})
    assert space.draw(CubeDraw(iter([0.0])))[1] == {"objective.turns.kind": "uniform"}
    values = space.draw(CubeDraw(iter([0.9, 0.5, 0.2])))[1]
    assert values["objective.turns.early_fraction"] == 0.2
    assert values["objective.turns.late_fraction"] == pytest.approx(0.2 + 0.2)
    for units in random_units(3, 100):
        values = space.draw(CubeDraw(units))[1]
        if values["objective.turns.kind"] == "thresholds":
            gap = values["objective.turns.late_fraction"] - values["objective.turns.early_fraction"]
            assert 0.1 - 1e-12 <= gap <= 0.6 + 1e-12


def test_a_parameter_waits_for_those_it_needs_whatever_the_order_of_the_file(space_of):
    space, _ = space_of({"objective.turns": dict(reversed(TURNS.items()))})
    assert [p.key.rpartition(".")[2] for p in space.parameters] == ["kind", "early_fraction", "late_fraction"]


def test_the_space_is_picklable_and_speaks_to_optuna(space_of):
    import pickle

    space = pickle.loads(
        pickle.dumps(space_of({WEIGHT: SHAPE, "optimiser.warmup_steps": {"int": [0, 60], "step": 5}})[0])
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        sample = space.sample(OptunaDraw(trial))
        assert sample.params == trial.params
        assert sample.values["optimiser.warmup_steps"] % 5 == 0


@pytest.mark.parametrize(
    ("domain", "unit", "value"),
    [
        ({"float": [1.0, 3.0]}, 0.0, 1.0),
        ({"float": [1.0, 3.0]}, 0.5, 2.0),
        ({"float": [0.1, 0.5], "step": 0.2}, 0.34, 0.1 + 0.2),
        ({"float": [0.1, 0.5], "step": 0.2}, 0.999, 0.1 + 0.2 * 2),
        ({"float": [0.001, 0.1], "log": True}, 0.5, 0.01),
    ],
)
def test_unit_coordinates_map_to_the_range(space_of, domain, unit, value):
    space, _ = space_of({"optimiser.max_grad_norm": domain})
    assert space.draw(CubeDraw(iter([unit])))[1]["optimiser.max_grad_norm"] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("unit", "value"), [(0.0, 1), (0.49, 1), (0.51, 2), (0.99, 3)])
def test_logarithmic_whole_numbers_reach_both_ends(space_of, unit, value):
    # [1, 4) in the logarithm: half of it lies below 2
    space, _ = space_of({"update.epochs": {"int": [1, 3], "log": True}})
    assert space.draw(CubeDraw(iter([unit])))[1]["update.epochs"] == value


def test_a_grid_visits_every_path_once(space_of):
    parameters = {
        WEIGHT: {
            "kind": {"choice": ["cosine", "exponential"]},
            "end": {"when": {"kind": "exponential"}, "float": [0.1, 0.3], "step": 0.1},
        },
        "update.epochs": {"int": [1, 2]},
    }
    space, _ = space_of(parameters, sampler={"kind": "grid"})
    found = [
        (s.values[f"{WEIGHT}.kind"], s.values.get(f"{WEIGHT}.end"), s.values["update.epochs"]) for s in grid(space)
    ]
    exponential = [("exponential", pytest.approx(end), epochs) for end in (0.1, 0.2, 0.3) for epochs in (1, 2)]
    assert found == [("cosine", None, 1), ("cosine", None, 2), *exponential]
    assert GridDraw().next() is None


def test_constraints_rule_out_points(space_of):
    parameters = {f"{WEIGHT}.start": {"choice": [0.2, 0.8]}, f"{WEIGHT}.end": {"choice": [0.1, 0.5]}}
    space, search = space_of(parameters, constraints=[f"{WEIGHT}.end < {WEIGHT}.start"], sampler={"kind": "grid"})
    assert [(s.values[f"{WEIGHT}.start"], s.values[f"{WEIGHT}.end"]) for s in grid(space)] == [
        (0.2, 0.1),
        (0.8, 0.1),
        (0.8, 0.5),
    ]
    assert len(list(iter(proposer(space, search, []).ask, None))) == 3


# ---- samplers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "qmc"])
def test_listed_points_depend_on_the_seed_alone(space_of, kind):
    parameters = {"optimiser.lr": {"float": [1e-4, 1e-2], "log": True}, "update.epochs": {"int": [1, 8]}}

    def points(seed):
        space, search = space_of(parameters, sampler={"kind": kind, "seed": seed})
        source = proposer(space, search, [])
        return [source.ask().hash for _ in range(20)]

    assert points(0) == points(0)
    assert points(0) != points(1)
    assert len(set(points(0))) == 20


def test_qmc_fills_the_range_evenly(space_of):
    space, search = space_of({"optimiser.max_grad_norm": {"float": [1.0, 2.0]}}, sampler={"kind": "qmc"})
    source = proposer(space, search, [])
    values = [source.ask().values["optimiser.max_grad_norm"] for _ in range(64)]
    assert {int((v - 1.0) * 64) for v in values} == set(range(64))  # one point in each of 64 equal parts


def test_tpe_asked_and_told_the_same_proposes_the_same(space_of):
    space, search = space_of({WEIGHT: SHAPE, "optimiser.lr": {"float": [1e-4, 1e-2], "log": True}})

    def walk():
        source, seen = proposer(space, search, []), []
        for number in range(25):
            sample = source.ask()
            seen.append(sample.hash)
            source.tell(number, "FAIL" if number == 3 else "COMPLETE", [sample.values["optimiser.lr"]])
        return seen

    assert walk() == walk()


# ---- refusals -------------------------------------------------------------------------------------------------------

EARLY = {"float": [0.0, 0.4]}


@pytest.mark.parametrize(
    ("parameters", "more", "words"),
    [
        ({"objective.distil_weight": SHAPE}, {}, ["'objective.distill_weight.end'?"]),
        ({"optimiser.lr": {"float": [1e-3]}}, {}, ["optimiser.lr.float", "[low, high]", "[0.001]"]),
        ({"optimiser.lr": {"float": [1e-3, 1e-4]}}, {}, ["in order", "[0.001, 0.0001]; swap them: [0.0001, 0.001]"]),
        ({"update.epochs": {"int": [2, 2]}}, {}, ["in order, got [2, 2]; for one value write 2 alone"]),
        ({"update.epochs": {"int": [True, 3]}}, {}, ["update.epochs: low: expected a number, got true"]),
        ({"optimiser.lr": {"float": [0.0, 1.0], "log": True}}, {}, ["optimiser.lr", "log", "0"]),
        ({"optimiser.lr": {"float": [0.1, 1.0], "setp": 0.1}}, {}, ["optimiser.lr", "'setp'", "'step'"]),
        ({"optimiser.lr": {"float": [0.1, 1.0], "int": [1, 2]}}, {}, ["optimiser.lr", "one of float, int"]),
        ({"update.epochs": {"choice": [1, 1]}}, {}, ["update.epochs", "[1, 1]"]),
        ({"optimiser.lr": {"choice": ["0.001", 1e-2]}}, {}, ["optimiser.lr: '0.001'", "holds 0.001", "without quotes"]),
        ({"update.epochs": {"choice": ["1", 2]}}, {}, ["update.epochs: '1'", "holds 1 instead"]),
        ({"seed": {"choice": [1, 2]}}, {}, ["seed", "budget.seeds"]),
        ({WEIGHT: {"end": {"when": {"knid": "cosine"}, "float": [0, 1]}, "kind": "cosine"}}, {}, ["'knid'", "'kind'?"]),
        (
            {WEIGHT: {"end": {"when": {"kind": "cosin"}, "float": [0, 1]}, "kind": {"choice": ["cosine", "linear"]}}},
            {},
            ["never 'cosin'", "cosine, linear"],
        ),
        ({WEIGHT: {"end": {"choice": [0.1], "otherwise": 0.2}}}, {}, ["end.otherwise", "when"]),
        ({"objective.turns": {"late_fraction": {**EARLY, "plus": "early_fraktion"}}}, {}, ["'early_fraktion'"]),
        (
            {
                "objective.turns": {
                    "kind": "thresholds",
                    "late_fraction": {**EARLY, "plus": "early_fraction"},
                    "early_fraction": {**EARLY, "plus": "late_fraction"},
                }
            },
            {},
            ["leads back to itself"],
        ),
        ({"steps": {"int": [-5, 0]}}, {}, ["none of 200 random draws", "steps"]),
        ({"update.epochs": {"int": [1, 3]}}, {"constraints": ["update.epochs ~ 2"]}, ["'update.epochs ~ 2'", "write"]),
        ({"update.epochs": {"int": [1, 3]}}, {"constraints": ["update.epochs < nan"]}, ["'nan'", "a finite number"]),
        ({"update.epochs": {"int": [1, 3]}}, {"constraints": ["update.epochs < inf"]}, ["'inf'", "a finite number"]),
        ({"update.epochs": {"int": [1, 3]}}, {"constraints": ["update.epoch < 2"]}, ["'update.epoch'", "epochs"]),
    ],
)
def test_bad_spaces_are_one_line_that_quotes_the_value(space_of, monkeypatch, parameters, more, words):
    monkeypatch.setattr("atod_sweep.sweep.searches.space.PROBES", PROBES)  # all that users have
    with pytest.raises(UserError) as caught:
        space_of(parameters, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("space.yaml: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("sampler", "parameters", "words"),
    [
        ("qmc", {WEIGHT: SHAPE}, ["'qmc'", f"{WEIGHT}.end"]),
        ("grid", {"optimiser.lr": {"float": [0.1, 1.0]}}, ["optimiser.lr", "grid needs a step"]),
    ],
)
def test_samplers_refuse_what_they_cannot_do(space_of, sampler, parameters, words):
    space, search = space_of(parameters, sampler={"kind": sampler})
    with pytest.raises(UserError) as caught:
        proposer(space, search, [])
    assert all(word in str(caught.value) for word in words)


START = {f"{WEIGHT}.kind": "cosine", f"{WEIGHT}.end": 0.2}


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({**START, "optimiser.lr": 1e-3}, ["'optimiser.lr' is not a parameter"]),
        ({f"{WEIGHT}.kind": "cosine"}, [f"no value for '{WEIGHT}.end'"]),
        ({**START, f"{WEIGHT}.end": 0.4}, [f"{WEIGHT}.end is 0.4", "[0, 0.3]"]),
        ({f"{WEIGHT}.kind": "linear", f"{WEIGHT}.end": 0.2}, [f"{WEIGHT}.kind is 'linear'"]),
        ({f"{WEIGHT}.kind": "exponential", f"{WEIGHT}.end": 0.001}, ["0.001", "[0.01, 0.3]"]),
        ("presets/none", ["'presets/none'"]),
        ("presets/paper_2606_27814", [f"{WEIGHT}.kind is 'linear'"]),
    ],
)
def test_starting_points_outside_the_space_are_errors(space_of, tmp_path, start, words):
    space, search = space_of({WEIGHT: SHAPE}, start_from=[start])
    with pytest.raises(UserError, match=r"space.yaml: start_from.0") as caught:
        starting_points(space, search, tmp_path, "space.yaml")
    assert all(word in str(caught.value) for word in words)


def test_starting_points_come_first_and_give_the_config_that_they_name(space_of, tmp_path):
    turns = {"kind": "thresholds", "early_fraction": 0.2, "late_fraction": 0.8}
    space, search = space_of(
        {WEIGHT: SHAPE, "objective.turns": TURNS}, start_from=[{**START, "objective.turns": turns}]
    )
    (start,) = starting_points(space, search, tmp_path, "space.yaml")
    config = Train.model_validate(start.config)
    assert (config.objective.turns.early_fraction, config.objective.turns.late_fraction) == (0.2, pytest.approx(0.8))
    assert start.params["objective.turns.late_fraction"] == pytest.approx(0.6)
    for kind in ("tpe", "random"):
        space, search = space_of({WEIGHT: SHAPE, "objective.turns": TURNS}, sampler={"kind": kind})
        assert proposer(space, search, [start]).ask().hash == start.hash


def test_a_constraint_with_a_number():
    parameters = parse_parameters({"update.epochs": {"int": [1, 3]}}, "x")
    assert str(parse_constraint("update.epochs <= 2", parameters, "x")) == "update.epochs <= 2.0"


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ([1, 1], "1 and 1"),
        ([1, True], "1 and True"),  # Optuna's choices.index(True) is that of 1: true was never tried
        ([False, 2, 0], "False and 0"),
        ([2, 1, 1.0], "1 and 1.0"),
        (["[1, 2]", [1, 2]], "'[1, 2]' and [1, 2]"),  # a list is drawn by its JSON text
        ([[1], [1.0]], "[1] and [1.0]"),
    ],
)
def test_values_that_a_draw_cannot_tell_apart_are_refused(values, same):
    with pytest.raises(UserError) as error:
        parse_parameters({"update.epochs": {"choice": values}}, "x")
    assert f"choice: {same} count as one value; drop one of them, got {values}" in str(error.value)


@pytest.mark.parametrize(
    "values", [[1, "1"], [True, "true"], [None, "null"], [0, None], [[1, 2], [2, 1]], ["1e-3", 1e-3]]
)
def test_values_that_only_look_alike_are_drawn_each(values):
    domain = parse_parameters({"update.epochs": {"choice": values}}, "x")[0].branches[0].domain
    assert [domain.values[domain.labels.index(label)] for label in domain.labels] == values
