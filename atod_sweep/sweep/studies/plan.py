"""From a study file to its trials: arms x factor levels x controls x seeds, each with a resolved trainer config."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from atod_sweep.config.base import content_hash, validate
from atod_sweep.config.files import flatten, train_data
from atod_sweep.config.study import Bars, Study
from atod_sweep.config.train import Train
from atod_sweep.errors import Gathered, UserError, meant
from atod_sweep.objective import own_code, schedules
from atod_sweep.records.ledger_rows import Role
from atod_sweep.sweep.studies import asked
from atod_sweep.sweep.studies.controls import CONTROLS, Make, mean_weight, override

MATCH = ".match_mean_of"
BASE_STUDENT = "base_student"  # the student before training, on the final sets
FINAL_METRIC = "final/success"


@dataclass(frozen=True)
class Trial:
    """One arm at one combination of factor levels with one seed. `config` is the plain form of a resolved Train."""

    id: str
    arm: str
    role: Role
    levels: dict[str, str]
    seed: int
    config: dict[str, Any]
    config_hash: str
    configuration: str = ""
    """In a search: identity of the config whatever its seed."""
    phase: Literal["", "search", "confirm"] = ""


@dataclass(frozen=True)
class Plan:
    """What a study runs, in order, and the definition that decides its results.

    `base`: the resolved base config as it was given, from which the study resolves again to the same trials. The
    definition's has the horizons filled in that the study plays the base's environment at.
    """

    study: Study
    trials: tuple[Trial, ...]
    definition: dict[str, Any]
    base: dict[str, Any]


@dataclass(frozen=True)
class _Cell:
    """One combination of factor levels: their names, and the base config with their overrides."""

    levels: dict[str, str]
    keys: frozenset[str]
    data: dict[str, Any]


_Variant = tuple[_Cell, str, Role, dict[str, Any]]


def resolve(study: Study, folder: Path, where: str, made: Mapping[str, Make] = CONTROLS) -> Plan:
    """Every trial of a study. `folder` is where relative base configs are looked up; `where` names the file in errors.

    The seed is the outermost loop, so that a study that stops early holds whole rounds of paired trials. All horizons
    at which the study plays an environment enter the training mix of compact models, so that one teacher and one base
    student serve it.

    `made`: how controls are. One that is chosen by trials of its own (`tuned.py`) is not among them.

    Where final sets are played, the study's metric and its claims are about them unless they name another metric, and
    every base student plays them once.
    """
    mistakes = Gathered(where)
    base = _base(study, folder, mistakes)
    cells = _cells(study, base, mistakes)
    variants: list[_Variant] = []
    controls = [name for name in study.controls if name in made]
    for cell, arm in itertools.product(cells, [*controls, *study.arms]):
        role: Role = "teacher" if arm == "teacher" else "control" if arm in study.controls else "arm"
        if role == "control" and arm == "base":
            role = "base"
        with mistakes.noted():
            variants.append((cell, arm, role, _variant(study, cell, arm, mistakes, made)))
    with mistakes.noted():
        if _plays_final(variants, where):
            study, variants = _on_final_sets(study), [*_base_students(study, cells, where), *variants]
    played = [data["env"] for _, _, _, data in variants]
    trials = []
    for seed in study.seed_list:
        for cell, arm, role, data in variants:
            if role in ("teacher", "base") and seed != study.seed_list[0]:
                continue  # an evaluation on fixed tasks: the seed plays no part in it
            with mistakes.noted():
                resolved = with_horizons(data, _horizons(played, data)) | {"seed": seed}
                name = f"{where}: {'controls' if role != 'arm' else 'arms'}.{arm}"
                config = _resolved(study, resolved, name)
                trial_id = "~".join([arm, *cell.levels.values()]) + f"-s{seed}"
                trials.append(Trial(trial_id, arm, role, cell.levels, seed, config, content_hash(config)))
        if seed == study.seed_list[0]:
            asked.check(study, trials, mistakes)
        mistakes.check()  # after the first seed, as a rule
    trained = [(trial.arm, trial.levels, trial.config) for trial in trials if trial.role in ("arm", "control")]
    asked.check_like_with_like(study.hypotheses, trained, where)
    return Plan(study, tuple(trials), _definition(study, with_horizons(base, _horizons(played, base))), base)


def _base(study: Study, folder: Path, mistakes: Gathered) -> dict[str, Any]:
    """The resolved base config. UserError if it is none, with what is wrong with the keys of arms and levels."""
    where = f"{mistakes.where}: base"
    own = Gathered(where)
    with own.noted():
        base = validate(Train, train_data(study.base, folder, where, mistakes=own), where).model_dump(mode="json")
    try:
        own.check()
    except UserError:
        with mistakes.noted():
            raise
        for name, overrides in _overrides(study):
            override(Train().model_dump(mode="json"), overrides, f"{mistakes.where}: {name}", mistakes)
        mistakes.check()
    return base


def _overrides(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """What arms and levels set, with their names in the file."""
    for arm, own in study.arms.items():
        yield f"arms.{arm}", {key.removesuffix(MATCH): value for key, value in flatten(own).items()}
    for factor, levels in study.factors.items():
        for level, own in levels.items():
            yield f"factors.{factor}.{level}", flatten(own)


def _resolved(study: Study, data: dict[str, Any], name: str) -> dict[str, Any]:
    train = validate(Train, data, name)
    if train.seed == study.seed_list[0]:
        own_code.check(train, f"{name}: ")
    return train.model_dump(mode="json")


def _definition(study: Study, base: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides results and verdicts; where and how fast trials run is not in it."""
    return {
        **({"bars": study.bars.model_dump(mode="json")} if study.bars != Bars() else {}),  # older runs hold none
        "base": base,
        "arms": {name: flatten(overrides) for name, overrides in study.arms.items()},
        "controls": list(study.controls),
        "factors": {f: {v: flatten(o) for v, o in levels.items()} for f, levels in study.factors.items()},
        "seeds": study.seed_list,
        "metric": study.metric.model_dump(mode="json"),
        "hypotheses": [str(claim) for claim in study.hypotheses],
    }


# ---- final sets ----------------------------------------------------------------------------------------------------


def _plays_final(variants: list[_Variant], where: str) -> bool:
    """Whether trials and base students play final sets. UserError if some do and some do not."""
    configs = [data for cell, _, _, own in variants for data in (cell.data, own)]
    playing = {data["evaluation"].get("final") is not None for data in configs}
    if len(playing) > 1:
        raise UserError(f"{where}: evaluation.final: some trials would play final sets, others not; set it in base")
    return playing == {True}


def _on_final_sets(study: Study) -> Study:
    """The study with the metrics that it leaves to their defaults taken from the final sets."""
    metric, claims = study.metric, study.hypotheses
    if "name" not in metric.model_fields_set:
        metric = metric.model_copy(update={"name": FINAL_METRIC})
    told = [
        claim if "metric" in claim.model_fields_set else claim.model_copy(update={"metric": FINAL_METRIC})
        for claim in claims
    ]
    return study.model_copy(update={"metric": metric, "hypotheses": told})


def _base_students(study: Study, cells: list[_Cell], where: str) -> list[_Variant]:
    """An evaluation of every base student; a single one, without levels, if all cells start from the same."""
    if "base" in study.controls:
        return []
    if BASE_STUDENT in study.arms:
        raise UserError(f"{where}: arms.{BASE_STUDENT}: names the student before training; call the arm otherwise")
    same = len({content_hash([cell.data[key] for key in ("env", "student", "evaluation")]) for cell in cells}) == 1
    chosen = [replace(cells[0], levels={})] if same else cells
    return [(cell, BASE_STUDENT, "base", cell.data) for cell in chosen]


# ---- factors ------------------------------------------------------------------------------------------------------


def _cells(study: Study, base: dict[str, Any], mistakes: Gathered) -> list[_Cell]:
    options = [[(f, level, flatten(o)) for level, o in levels.items()] for f, levels in study.factors.items()]
    cells = []
    for chosen in itertools.product(*options):
        data, keys = base, frozenset[str]()
        for factor, level, overrides in chosen:
            name = f"{mistakes.where}: factors.{factor}.{level}"
            with mistakes.noted():
                _refuse_twice(name, overrides, keys)
            data, keys = override(data, overrides, name, mistakes), keys | overrides.keys()
        cells.append(_Cell({factor: level for factor, level, _ in chosen}, keys, data))
    return cells


def _refuse_twice(name: str, overrides: Mapping[str, Any], taken: frozenset[str]) -> None:
    if twice := sorted(overrides.keys() & taken):
        raise UserError(f"{name}: {twice[0]!r} is already set by a factor; leave it to one of them")


def _horizons(played: list[dict[str, Any]], data: dict[str, Any]) -> list[int]:
    """The horizons at which the study plays the environment of `data`; its own if no trial plays it."""
    env = data["env"]
    same = {e["horizon"] for e in played if (e["id"], e["kwargs"]) == (env["id"], env["kwargs"])}
    return sorted(same) or [env["horizon"]]


def with_horizons(data: dict[str, Any], horizons: list[int]) -> dict[str, Any]:
    """`data` with the study's horizons in the training mix of models with a recipe that names none itself."""
    filled = dict(data)
    for role in ("teacher", "student"):
        model = data[role]
        if model.get("recipe") is not None and not model["recipe"]["horizons"]:
            filled[role] = {**model, "recipe": {**model["recipe"], "horizons": horizons}}
    return filled


# ---- arms and controls ----------------------------------------------------------------------------------------------


def _variant(
    study: Study, cell: _Cell, arm: str, mistakes: Gathered, made: Mapping[str, Make], pending: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The config data of an arm or control in one cell, `{match_mean_of: ARM}` values solved."""
    if arm in study.controls:
        return made[arm](cell.data, f"{mistakes.where}: controls.{arm}")
    name = f"{mistakes.where}: arms.{arm}"
    overrides = flatten(study.arms[arm])
    matches = {key.removesuffix(MATCH): other for key, other in overrides.items() if key.endswith(MATCH)}
    plain = {key: value for key, value in overrides.items() if not key.endswith(MATCH)}
    _refuse_twice(name, plain | matches, cell.keys)
    data = override(cell.data, plain, name, mistakes)
    for key, other in matches.items():
        known = [*study.arms, *(name for name in study.controls if name in made)]
        if other not in known:
            hint = meant(other, known, f"known: {', '.join(known)}")
            raise UserError(f"{name}: {key}: match_mean_of {other!r} is not an arm; {hint}")
        if other in (arm, *pending):
            raise UserError(f"{name}: {key}: match_mean_of {other!r} leads back to itself; match an arm with numbers")
        target = _variant(study, cell, other, mistakes, made, (*pending, arm))
        data = _matched(data, key, target, name)
    return data


def _matched(data: dict[str, Any], key: str, target: dict[str, Any], name: str) -> dict[str, Any]:
    """`data` with `key` (the `start` or `end` of a schedule) solved so that the schedule's mean equals the target's."""
    path, _, field = key.rpartition(".")
    if field not in ("start", "end"):
        raise UserError(f"{name}: {key}: match_mean_of can solve the start or the end of a schedule, got {field!r}")
    trial = validate(Train, override(data, {key: 1.0}, name), name)  # any value: it is replaced below
    other = validate(Train, target, name)
    try:
        mean = mean_weight(_at(other, path), other.steps)
        value = schedules.match_mean(_at(trial, path), field, mean, trial.steps)  # type: ignore[arg-type]
    except UserError as error:
        raise UserError(f"{name}: {key}: {error}") from None
    return override(data, {key: value}, name)


def _at(config: Train, path: str) -> Any:
    return reduce(getattr, path.split("."), config)
