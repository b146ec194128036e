"""The trainer's config: overrides, kinds, files, and every refusal with its one-line message."""

import math
from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.base import content_hash, dump_yaml, parse_assignments, validate, with_overrides
from atod_sweep.config.files import flatten, load_train, preset_names, train_data
from atod_sweep.config.objective import GAE, Hybrid, Interpolated
from atod_sweep.config.penalties import K2, TargetKL
from atod_sweep.config.schedules import Constant, Cosine, Linear
from atod_sweep.config.schema import check_key
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError


def plain(**overrides: Any) -> dict[str, Any]:
    return with_overrides(Train, Train().model_dump(mode="json"), overrides)


# ---- round trips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["interpolated", "hybrid", "sft", "dpo", "spin"])
def test_a_resolved_config_survives_yaml(tmp_path: Path, kind: str) -> None:
    config = load_train({"objective.kind": kind, "optimiser.lr": 1e-5})
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(config.model_dump(mode="json")))
    again = load_train(str(path))
    assert again == config
    assert content_hash(again.model_dump(mode="json")) == content_hash(config.model_dump(mode="json"))


def test_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Train().steps = 5  # type: ignore[misc]


# ---- overrides ---------------------------------------------------------------------------------------------------


def test_a_new_kind_keeps_shared_fields_and_drops_the_others() -> None:
    start = {"objective": {"distill_weight": {"kind": "cosine", "start": 0.8, "end": 0.2, "anneal_steps": 7}}}
    linear = with_overrides(Train, start, {"objective.distill_weight.kind": "linear"})
    assert linear["objective"]["distill_weight"] == {"kind": "linear", "start": 0.8, "end": 0.2, "anneal_steps": 7}
    constant = with_overrides(Train, start, {"objective.distill_weight.kind": "constant"})
    assert constant["objective"]["distill_weight"] == {"kind": "constant", "start": 0.8}
    assert start["objective"]["distill_weight"]["kind"] == "cosine"


def test_the_same_kind_drops_nothing() -> None:
    start = {"objective": {"distill_weight": {"kind": "cosine", "start": 0.8, "typo": 1}}}
    assert with_overrides(Train, start, {"objective.distill_weight.kind": "cosine"}) == start


def test_a_new_objective_keeps_what_both_have() -> None:
    config = load_train(
        {"objective.distill_weight.end": 0.3, "objective.turns.kind": "t_dur", "objective.kl_penalty.kind": "k2"},
        {"objective.kind": "hybrid"},
    )
    assert isinstance(config.objective, Hybrid)
    assert config.objective.distill_weight == Cosine(end=0.3)
    assert config.objective.turns.kind == "t_dur"
    assert config.objective.kl_penalty == K2()
    assert config.objective.reward_weight == Linear(start=1.0, end=2.0)


def test_kinds_are_set_before_the_fields_that_need_them() -> None:
    overrides = {
        "objective.distill_weight.end": 0.05,
        "objective.kl_penalty.coef.target": 0.2,
        "objective.distill_weight.kind": "exponential",
        "objective.kl_penalty.coef.kind": "target_kl",
        "objective.kl_penalty.kind": "k2",
        "objective.kind": "hybrid",
    }
    for ordered in (overrides, dict(reversed(overrides.items()))):
        objective = load_train({}, ordered).objective
        assert isinstance(objective, Hybrid)
        assert objective.distill_weight.model_dump(include={"kind", "end"}) == {"kind": "exponential", "end": 0.05}
        assert objective.kl_penalty == K2(coef=TargetKL(target=0.2))


def test_a_field_that_the_new_kind_lacks_is_refused_in_either_order() -> None:
    overrides = {"objective.distill_weight.end": 0.05, "objective.distill_weight.kind": "constant"}
    for ordered in (overrides, dict(reversed(overrides.items()))):
        with pytest.raises(UserError, match=r"objective\.distill_weight\.end: not a field of kind 'constant'"):
            load_train({}, ordered)


def test_a_number_is_a_constant_schedule() -> None:
    config = load_train({"objective.distill_weight": 0.5, "rollout": {"temperature": 1}})
    assert isinstance(config.objective, Interpolated)
    assert config.objective.distill_weight == Constant(start=0.5)
    assert config.rollout.temperature == Constant(start=1.0)


def test_a_number_makes_room_for_fields() -> None:
    config = load_train({"objective.distill_weight": 0.5}, {"objective.distill_weight.kind": "linear"})
    assert isinstance(config.objective, Interpolated)
    assert config.objective.distill_weight == Linear(start=0.5)


def test_nested_and_dotted_keys_are_the_same() -> None:
    nested = {"objective": {"distill_weight": {"kind": "linear", "end": 0.2}}, "steps": 7}
    dotted = {"objective.distill_weight.kind": "linear", "objective.distill_weight.end": 0.2, "steps": 7}
    mixed = {"objective": {"distill_weight.kind": "linear"}, "objective.distill_weight": {"end": 0.2}, "steps": 7}
    assert load_train(nested) == load_train(dotted) == load_train(mixed) == load_train({}, nested)
    assert load_train(nested) != load_train({"steps": 7})


def test_free_form_arguments_are_addressed_key_by_key() -> None:
    config = load_train({"env": {"kwargs": {"a": {"b": 1}, "intents": 4}}}, {"env.kwargs.a.c": 2})
    assert config.env.kwargs == {"a": {"b": 1, "c": 2}, "intents": 4}


def test_an_optional_record_is_created_by_its_fields() -> None:
    config = load_train({"student": {"kind": "pretrained", "path": "somewhere"}}, {"student.lora.rank": 8})
    assert config.student.model_dump(include={"kind", "lora"}) == {
        "kind": "pretrained",
        "lora": {"rank": 8, "alpha": 32.0, "target_modules": "all-linear"},
    }


def test_assignments_are_yaml() -> None:
    words = ["optimiser.lr=1e-4", "student.path=a=b", "env.kwargs.x=[1, 2]", "update.target_kl=null", "env.id="]
    assert parse_assignments(words) == {
        "optimiser.lr": 0.0001,
        "student.path": "a=b",
        "env.kwargs.x": [1, 2],
        "update.target_kl": None,
        "env.id": None,
    }
    for word in ("steps", "=5"):
        with pytest.raises(UserError, match=f"^'{word}': an override has the form key=value"):
            parse_assignments([word])
    with pytest.raises(UserError, match=r"^a=\[1: not valid YAML"):
        parse_assignments(["a=[1"])
    for long in ("a=" + "[" * 3000, "a" * 3000, "a=" + "9" * 5000):
        with pytest.raises(UserError) as error:
            parse_assignments([long])
        assert len(str(error.value)) < 300


# ---- unknown keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("objective.distil_weight.kind", "did you mean 'objective.distill_weight.kind'?"),
        ("objectiv.kind", "did you mean 'objective.kind'?"),
        ("optimizer.lr", "did you mean 'optimiser.lr'?"),
        ("objective.turns.early_frac", "did you mean 'objective.turns.early_fraction'?"),
        ("student.recipe.sucess", "did you mean 'student.recipe.success'?"),
        ("rollout.zzz", "known here: action, admissible, depth, episodes_at_once, group_size, history, "),
        ("steps.more", "nothing lies below it"),
        ("rollout.top_p", "rollouts draw from all tokens, .*; evaluation has this key"),
        ("rollout.min_p", "rollouts draw from all tokens, .*; evaluation has this key"),
    ],
)
def test_unknown_keys_name_the_nearest(key: str, hint: str) -> None:
    message = rf"unknown key '{key}'; {hint}".replace("?", r"\?")
    with pytest.raises(UserError, match=message):
        check_key(Train, key)
    with pytest.raises(UserError, match=f"^config: {message}"):
        load_train({key: 1})
    with pytest.raises(UserError, match=f"^config: {message}"):
        load_train({}, {key: 1})


@pytest.mark.parametrize(
    "key",
    [
        "steps",
        "student.path",
        "student.hidden",
        "teacher.recipe.perturb",
        "objective.distill.beta",
        "objective.kl_penalty.coef.target",
        "objective.distill_weight.levels",
        "objective.refresh_steps",
        "env.kwargs.anything.at.all",
    ],
)
def test_keys_of_every_kind_are_known(key: str) -> None:
    check_key(Train, key)


def test_unknown_keys_inside_plain_data_are_found_too() -> None:
    data = plain()
    data["objective"]["distill_weight"]["ende"] = 1
    with pytest.raises(
        UserError, match=r"^x: unknown key 'objective\.distill_weight\.ende'; did you mean .*weight\.end'"
    ):
        validate(Train, data, "x")


# ---- refusals ----------------------------------------------------------------------------------------------------

EXPONENTIAL = {"objective.distill_weight.kind": "exponential"}
STEP = {"kind": "step", "boundaries": [0.5], "values": [1.0, 0.0]}

REFUSED: list[tuple[dict[str, Any], str]] = [
    # kinds
    (
        {"objective.distill_weight.kind": "cosin"},
        "objective.distill_weight.kind: unknown kind 'cosin'; did you mean 'cosine'? known: constant, linear, cosine,",
    ),
    ({"objective.kind": "hybird"}, "objective.kind: unknown kind 'hybird'; did you mean 'hybrid'?"),
    ({"objective.turns.kind": "xyz"}, "objective.turns.kind: unknown kind 'xyz'; known: uniform, thresholds, t_dur,"),
    ({"rollout.temperature.kind": "adaptive"}, "rollout.temperature.kind: unknown kind 'adaptive'; known: constant,"),
    (
        {"objective.kind": "hybrid", "objective.reward_weight.kind": "adaptive"},
        "objective.reward_weight.kind: unknown kind 'adaptive'",
    ),
    # fields of another kind, and missing ones
    ({"student.path": "x"}, "student.path: not a field of kind 'compact'; choose another student.kind"),
    ({"objective.distill.beta": 0.5}, "objective.distill.beta: not a field of kind 'forward_kl'"),
    ({"objective.kind": "sft", "objective.turns.kind": "t_dur"}, "objective.turns: not a field of kind 'sft'"),
    ({"student.kind": "pretrained"}, "student.path: is missing (model directory or hub id)"),
    (
        {"objective.distill_weight": {"kind": "step", "boundaries": [0.5]}},
        "objective.distill_weight.values: is missing (one value more than boundaries)",
    ),
    # types and ranges
    ({"steps": "many"}, "steps: expected a whole number, got 'many'"),
    ({"steps": 0}, "steps: must be at least 1, got 0"),
    ({"optimiser.lr": -1e-3}, "optimiser.lr: must be above 0, got -0.001"),
    ({"optimiser.lr": math.inf}, "optimiser.lr: must be a finite number, got inf"),
    ({"objective.distill_weight.start": math.nan}, "objective.distill_weight.start: must be a finite number"),
    ({"objective.distill_weight": True}, "objective.distill_weight: expected a mapping, got true"),
    ({"env": 5}, "env: expected a mapping, got 5"),
    ({"objective": None}, "objective: expected a mapping, got null"),
    ({"optimiser.betas": [0.9, 1.0]}, "optimiser.betas.1: must be below 1, got 1.0"),
    ({"runtime.device": "gpu"}, "runtime.device: cannot be 'gpu' (auto, cpu, cuda or cuda:N)"),
    ({"student.recipe.horizons": [4, 0]}, "student.recipe.horizons.1: must be at least 1"),
    # schedules
    (
        EXPONENTIAL | {"objective.distill_weight.end": 0},
        "objective.distill_weight.end: exponential decay needs end > 0, got 0.0; use kind: linear, or end: 0.01",
    ),
    (EXPONENTIAL | {"objective.distill_weight.start": 0}, "objective.distill_weight.start: exponential decay needs"),
    (
        {"objective.distill_weight": STEP | {"values": [1.0]}},
        "objective.distill_weight.values: 1 boundaries need 2 values, got 1",
    ),
    (
        {"objective.distill_weight": STEP | {"boundaries": [0.5, 0.5], "values": [1, 0.5, 0]}},
        "objective.distill_weight.boundaries: must increase strictly inside (0, 1), got [0.5, 0.5]",
    ),
    ({"objective.distill_weight": STEP | {"boundaries": [0.0]}}, "objective.distill_weight.boundaries: must increase"),
    ({"objective.distill_weight": STEP | {"boundaries": [1.0]}}, "objective.distill_weight.boundaries: must increase"),
    # weights out of range
    ({"objective.distill_weight.start": 1.5}, "objective.distill_weight: must be from 0 to 1 at every step, got 1.5"),
    ({"objective.distill_weight.end": -0.1}, "objective.distill_weight: must be from 0 to 1 at every step, got -0.1"),
    (
        {"objective.distill_weight": STEP | {"values": [0.5, 1.1]}},
        "objective.distill_weight: must be from 0 to 1 at every step, got 1.1",
    ),
    (
        {"objective.kind": "hybrid", "objective.distill_weight.end": -0.1},
        "objective.distill_weight: must be at least 0 at every step, got -0.1",
    ),
    (
        {"objective.kind": "hybrid", "objective.reward_weight": -1},
        "objective.reward_weight: must be at least 0 at every step, got -1.0",
    ),
    (
        {"objective.kl_penalty.kind": "k2", "objective.kl_penalty.coef": -0.1},
        "objective.kl_penalty.coef: must be at least 0 at every step, got -0.1",
    ),
    ({"rollout.temperature": 0}, "rollout.temperature: rollouts are sampled, must be above 0 at every step, got 0.0"),
    # turn profiles
    (
        {"objective.turns.kind": "thresholds", "objective.turns.early_turns": 9},
        "objective.turns.early_turns: 9 turns lie beyond the horizon of 8; use at most 8, or early_fraction",
    ),
    (
        {"objective.turns.kind": "product", "objective.turns.late_turns": 9},
        "objective.turns.late_turns: 9 turns lie beyond the horizon of 8; use at most 8, or late_fraction",
    ),
    (
        {"objective.turns.kind": "thresholds", "objective.turns.early_turns": 4, "env.horizon": 3},
        "objective.turns.early_turns: 4 turns lie beyond the horizon of 3",
    ),
    (
        {"objective.turns": {"kind": "thresholds", "early_turns": 5, "late_turns": 4}},
        "objective.turns: the late part starts at turn 4, before the early part ends at 5 (horizon 8)",
    ),
    (
        {"objective.turns": {"kind": "thresholds", "early_fraction": 0.7, "late_fraction": 0.6}},
        "objective.turns: the late part starts at turn 4.8, before the early part ends at 5.6",
    ),
    (
        {"objective.turns": {"kind": "thresholds", "shape": "exponential", "late": 0}},
        "objective.turns.late: an exponential shape needs early, late > 0, got 0.9, 0.0; use shape: linear",
    ),
    # combinations without a meaning
    (
        {"objective.kl_penalty.kind": "k1"},
        "objective.kl_penalty.kind: 'k1' goes into per-step rewards and needs advantage.kind: gae, got",
    ),
    (
        {"objective.kind": "hybrid", "objective.kl_penalty.kind": "k1"},
        "objective.kl_penalty.kind: 'k1' needs per-step rewards",
    ),
    (
        {"rollout.group_size": 1},
        "rollout.group_size: a group-relative advantage needs at least 2 rollouts per task, got 1",
    ),
    ({"rollout.group_size": 1, "objective.kind": "hybrid"}, "rollout.group_size: a group-relative advantage needs"),
    ({"rollout.group_size": 1, "objective.kind": "dpo"}, "rollout.group_size: dpo pairs rollouts of one task, needs 2"),
    (
        {"teacher.kind": "none"},
        "teacher.kind: 'none' leaves nothing to distil, but objective.distill_weight is not 0; "
        "set objective.distill_weight: 0",
    ),
    ({"teacher.kind": "none", "objective.kind": "sft"}, "teacher.kind: objective 'sft' learns from teacher episodes"),
    ({"teacher.kind": "none", "objective.kind": "spin"}, "teacher.kind: objective 'spin' learns from teacher episodes"),
    # models
    ({"student.hidden": 66}, "student.heads: hidden / heads must be an even integer, got 66 / 4"),
    ({"teacher.hidden": 12}, "teacher.heads: hidden / heads must be an even integer, got 12 / 4"),
    (
        {"student.recipe.success": [0.3, 0.2]},
        "student.recipe.success: a band needs 0 <= low < high <= 1, got [0.3, 0.2]",
    ),
    (
        {"student.recipe.success": [0.3, 1.2]},
        "student.recipe.success: a band needs 0 <= low < high <= 1, got [0.3, 1.2]",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_refused_on_one_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_train({}, overrides)
    assert str(caught.value).startswith(f"config: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        # the neighbours of what is refused
        {"objective.kind": "hybrid", "objective.distill_weight.start": 1.5},
        {"objective.kl_penalty.kind": "k1", "objective.advantage.kind": "gae"},
        {"rollout.group_size": 1, "objective.advantage.kind": "gae"},
        {"rollout.group_size": 1, "objective.kind": "sft"},
        {"teacher.kind": "none", "objective.distill_weight": 0},
        {"teacher.kind": "none", "objective.kind": "dpo"},
        {"objective.turns.kind": "thresholds", "objective.turns.early_turns": 8, "objective.turns.late_turns": 0},
        {"objective.turns.kind": "thresholds", "objective.turns.early_turns": 4, "objective.turns.late_turns": 4},
        {"objective.turns.kind": "thresholds", "objective.turns.late": 0},
        {"objective.distill_weight.end": 0},
        {"student.recipe.success": [0.0, 1.0]},
        {"runtime.device": "cuda:1"},
        {"evaluation.temperature": 0},
    ],
)
def test_accepted(overrides: dict[str, Any]) -> None:
    flat = flatten(load_train({}, overrides).model_dump(mode="json"))
    assert {key: flat.get(key, flat.get(f"{key}.start")) for key in overrides} == overrides  # a number is a constant


def test_advantage_defaults_are_those_of_its_kind() -> None:
    objective = load_train({"objective.advantage.kind": "gae"}).objective
    assert isinstance(objective, Interpolated)
    assert objective.advantage == GAE()


# ---- files and bases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names())
def test_shipped_presets_load_and_have_only_real_keys(name: str) -> None:
    config = load_train(f"presets/{name}")
    assert config == validate(Train, config.model_dump(mode="json"), name)


def test_there_are_presets() -> None:
    assert "support_desk_compact" in preset_names()


def test_a_base_is_overridden_by_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text("steps: 10\nseed: 3\nobjective: {distill_weight: 0.5}")
    (tmp_path / "sub" / "middle.yaml").write_text("base: base.yaml\nsteps: 20\nobjective.distill_weight.kind: linear")
    config = load_train({"base": "sub/middle.yaml", "seed": 4}, {"optimiser.lr": 0.5}, tmp_path)
    assert (config.steps, config.seed, config.optimiser.lr) == (20, 4, 0.5)
    assert isinstance(config.objective, Interpolated)
    assert config.objective.distill_weight == Linear(start=0.5)


def test_messages_name_the_file_at_fault(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("stepz: 10")
    (tmp_path / "top.yaml").write_text("base: base.yaml")
    with pytest.raises(UserError, match=r"base\.yaml: unknown key 'stepz'; did you mean 'steps'\?$"):
        load_train(str(tmp_path / "top.yaml"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("presets/nowhere", "unknown preset 'presets/nowhere'; "),
        ("nowhere.yaml", "no such trainer config: 'nowhere.yaml'; give a YAML file or presets/NAME"),
        (5, "base: expected a preset, a YAML file or a mapping, got 5"),
        (["a.yaml"], r"base: expected a preset, a YAML file or a mapping, got \['a.yaml'\]"),
    ],
)
def test_bases_that_do_not_exist(source: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_train({"base": source})


def test_a_circle_of_bases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(UserError, match=r"b\.yaml: base 'a\.yaml' leads back to itself"):
        train_data("a.yaml", tmp_path, "a.yaml")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"objective.kind": "dpo", "update.epochs": 2}, "epochs 2"),
        ({"objective.kind": "spin", "update.minibatches": 3}, "minibatches 3"),
        ({"objective.kind": "sft", "update.target_kl": 0.1}, "got 0.1"),
    ],
)
def test_baselines_refuse_updates_that_they_cannot_make(overrides, said):
    with pytest.raises(UserError, match=said):
        load_train("presets/support_desk_compact", overrides)


WIDE = {"student": {"kind": "pretrained", "path": "somewhere"}}


@pytest.mark.parametrize(
    ("data", "overrides", "top_k"),
    [
        ({}, {}, None),
        (WIDE, {}, 64),
        ({"teacher": WIDE["student"]}, {}, 64),
        (WIDE, {"objective.distill.kind": "jsd"}, 64),
        (WIDE | {"objective": {"distill": {"top_k": 8}}}, {}, 8),
        (WIDE | {"objective.distill.top_k": None}, {"objective.distill.kind": "reverse_kl"}, None),
        ({}, {"student.kind": "pretrained", "student.path": "x"}, 64),
        (WIDE | {"objective.distill.kind": "sampled_reverse_kl"}, {"objective.distill.kind": "forward_kl"}, 64),
        (WIDE, {"objective.distill.top_k": None}, None),
    ],
)
def test_signals_of_pretrained_models_compare_the_likeliest_tokens(data, overrides, top_k) -> None:
    assert load_train(data, overrides).objective.distill.top_k == top_k


def test_recorded_configs_keep_the_whole_vocabulary_and_the_teachers_precision() -> None:
    """What ran before there were these defaults says null and float32 outright."""
    data = load_train(WIDE | {"teacher": WIDE["student"]}).model_dump(mode="json")
    data["objective"]["distill"]["top_k"] = None
    data["teacher"]["dtype"] = "float32"
    assert validate(Train, data, "recorded").model_dump(mode="json") == data
    assert load_train(data).model_dump(mode="json") == data


def test_objectives_without_such_a_signal_get_none() -> None:
    for kind in ("sft", "dpo"):
        assert "distill" not in load_train(WIDE, {"objective.kind": kind}).objective.model_dump()
