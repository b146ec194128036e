"""What can be known to be wrong before a folder is made or a model loaded: absent devices, environments, directories.

Costs the import of torch only where a GPU is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from atod_sweep.config.base import content_hash, validate
from atod_sweep.config.models import CompactStudent
from atod_sweep.config.retention import Retained
from atod_sweep.config.study import Resources
from atod_sweep.config.teachers import ServedTeacher
from atod_sweep.config.train import Env, Train, model_key
from atod_sweep.cores import gpu_count, in_words, memory_bytes
from atod_sweep.envs import registry
from atod_sweep.envs.look import look as first_look
from atod_sweep.errors import UserError
from atod_sweep.paths import existing_model
from atod_sweep.records.metric_names import check_reported
from atod_sweep.sweep.sharing import Holding, key_of, left
from atod_sweep.sweep.studies.asked import stood_in
from atod_sweep.sweep.took import before, size_of
from atod_sweep.sweep.work import Goal
from atod_sweep.training.loop import runners

Config = dict[str, Any]


def check(configs: Iterable[Config], resources: Resources, is_cluster: bool) -> None:
    """UserError for the first thing that no trial could find here. On a cluster, only what its driver must have."""
    if resources.gpu > 1:
        raise UserError(
            f"resources.gpu: {resources.gpu:g}, but a trial is one process, which trains on one GPU: use at most 1; "
            "what one cannot hold needs less with student.lora or teacher.kind: server, or is sharded by TRL "
            "(trainer.kind: trl); one training on several is accelerate launch "
            f"--num_processes {resources.gpu:.0f} -m atod_sweep train CONFIG"
        )
    seen: set[tuple[Any, ...]] = set()

    def once(found: Callable[..., object], *what: str) -> None:
        if (found, *what) not in seen:
            seen.add((found, *what))
            found(*what)

    for config in configs:
        if "trainer" in config:  # another than ours
            runners.check(validate(Train, config, "config"), here=not is_cluster)
        for env in _environments(config):
            once(registry.constructor, env["id"])
        for role in ("student", "teacher"):
            if "path" in config[role]:
                once(model, role, config[role]["path"])
        for path in _reward_models(config.get("reward", {})):
            once(model, "reward", path)
        if is_cluster:
            continue
        if "url" in config["teacher"]:
            once(_api, json.dumps(config["teacher"], sort_keys=True))
        once(_device, config["runtime"]["device"])
        for kept in config["evaluation"].get("retention", []):
            if kept.get("texts") is not None:
                once(_texts, kept["texts"])
        if config["runtime"]["precision"] == "bf16":
            once(_precision, config["runtime"]["device"])
    if resources.gpu > 0 and not is_cluster and (there := gpu_count()) < min(1.0, resources.gpu):
        raise UserError(
            f"resources.gpu: a trial needs {resources.gpu:g}, but this machine has {there} CUDA devices; "
            "set resources: {gpu: 0}, or join a cluster with --address"
        )


def look(configs: Sequence[Config], goal: Goal, doing: Callable[[str], None]) -> list[str]:
    """What to know of the environments at the start; `doing` is told before it takes seconds.

    UserError for one that does not keep the contract, or does not report what all trials are judged by; and for a claim
    about what none of them reports.
    """
    seen = first_look([validate(Env, env, "env") for config in configs for env in _environments(config)], doing)
    found = [(config, seen.metrics.get(validate(Env, config["env"], "env").model_dump_json())) for config in configs]
    for config, own in found:
        if own is not None:
            _check_metrics(goal.names, own, config)
    everything = [metric for config, own in found for metric in (*(own or ()), *stood_in(config))]
    if all(own is not None for _, own in found):
        _check_metrics([claim.metric for claim in goal.claims], everything, configs[0])
    return seen.notes


def share(resources: Resources, side_by_side: int, held: Mapping[str, Holding]) -> float:
    """Of the memory of the device that trials run on, what one of them may take beside the teachers that they share."""
    if resources.gpu > 0:
        return min(1.0, left(resources, held.values()).gpu)
    return max(0.0, 1 - sum(one.size for one in held.values()) / memory_bytes()) / side_by_side


def fit(
    configs: Iterable[Config],
    resources: Resources,
    side_by_side: int,
    held: Mapping[str, Holding] = MappingProxyType({}),
) -> list[str]:
    """What a trial with pretrained models needs of memory, a line each. UserError for one that does not fit here."""
    lines, seen = [], set[str]()
    for config in configs:
        if "trainer" in config:
            lines.append(f"trainer: {config['trainer']['kind']} runs trials; what memory they need is not known here")
            continue
        size = content_hash({key: value for key, value in config.items() if key not in ("optimiser", "seed")})
        if config["student"]["kind"] != "pretrained" or size in seen:
            continue
        seen.add(size)
        from atod_sweep.training.loop import memory

        runtime = config["runtime"]
        there = memory.there_is(runtime["device"], runtime["gpu_memory_fraction"])
        room = int(there * share(resources, side_by_side, held))
        if (
            need := memory.check(validate(Train, config, "config"), room, bool(held) and key_of(config) in held)
        ) is not None:
            lines.append(f"memory: a trial needs about {need} of {in_words(room)}")
    lines += [f"memory: {in_words(one.size)} more for a teacher that trials share" for one in held.values() if one.size]
    return list(dict.fromkeys(lines))


def of_compact(
    configs: Iterable[Config], resources: Resources, side_by_side: int, models: Mapping[str, Any] | None = None
) -> list[str]:
    """What trials hold of memory whose models are made here, in a line, of the largest; none where there are no such.

    `models`: as of `sweep.models`, once they are there: then it costs torch to tell. Before, it is known from earlier
    trials alone.
    """
    sizes = {size_of(config): config for config in configs if config["student"]["kind"] == "compact"}
    if not sizes or resources.gpu > 0:
        return []
    trials = {size: validate(Train, config, "config") for size, config in sizes.items()}
    room = in_words(int(memory_bytes() * share(resources, side_by_side, {})))
    if models is not None:
        from atod_sweep.training.loop import memory

        made = (memory.as_made(trial, models[model_key(sizes[size])]) for size, trial in trials.items())
        needs = [need for one in made if (need := memory.need(one)) is not None]
        return [f"memory: a trial needs about {max(needs, key=lambda need: need.total)} of {room}"] if needs else []
    took = [before(size) for size in sizes]
    if held := [one.memory for one in took if one is not None and one.memory is not None]:
        return [f"memory: a trial's process held up to {in_words(max(held))} when one ran here, of {room}"]
    trained = max(trial.student.parameters for trial in trials.values() if isinstance(trial.student, CompactStudent))
    size = in_words(16 * trained)
    return [
        f"memory: {trained / 1e6:.1f} M parameters are trained, {size} with gradients and optimiser, of {room}; "
        "--dry-run tells the whole"
    ]


def _check_metrics(names: Iterable[str], own: Collection[str], config: Config) -> None:
    for name in names:
        try:
            check_reported(name, [*own, *stood_in(config)], config["evaluation"]["attempts"])
        except ValueError as error:
            remedy = "what only some episodes report, the environment names: metric_names = (…,)"
            raise UserError(f"env.id: {config['env']['id']!r}: {error} ({remedy})") from None


def _environments(config: Config) -> list[Config]:
    """Its own, those of retention, and those that a compact student learns beside its own."""
    kept = [one["env"] for one in config["evaluation"].get("retention", []) if one.get("env") is not None]
    return [config["env"], *kept, *(config["student"].get("recipe") or {}).get("also", [])]


def _reward_models(reward: Config) -> list[str]:
    parts = [part["reward"] for part in reward.get("parts", [])]
    return [one["path"] for one in [reward, *parts] if one.get("kind") == "model"]


def _texts(path: str) -> None:
    Retained(texts=path).read("evaluation.retention")


def model(role: str, path: str) -> None:
    """UserError for a model directory that is not there."""
    existing_model(path, f"{role}.path: ")


def _device(device: str) -> None:
    if device.startswith("cuda") and not gpu_count():
        raise UserError(f"runtime.device: {device!r}, but this machine has no CUDA device; use auto or cpu")


def _precision(device: str) -> None:
    from atod_sweep.training.runtime import check_autocast

    check_autocast(device)


def _api(teacher: str) -> None:
    from atod_sweep.training.teachers.client import check_there

    check_there(TypeAdapter(ServedTeacher).validate_python(json.loads(teacher)))
