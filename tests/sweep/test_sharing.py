"""Which trials share a teacher, and what is left for each of them."""

from __future__ import annotations

import pytest

from atod_sweep.config.files import load_train
from atod_sweep.config.study import Resources
from atod_sweep.errors import UserError
from atod_sweep.sweep import preflight, sharing
from atod_sweep.sweep.sharing import Holding, holdings, key_of, left
from atod_sweep.sweep.work import Site
from atod_sweep.training.loop import memory
from atod_sweep.training.loop.memory import TeachersNeed
from benchmarks import tiny_models

RAY = Site(backend="ray")
GB = 1_000_000_000
MODEL = {"kind": "pretrained", "path": "/models/m"}


def config(**overrides):
    base = {"env.kwargs": {"style": "natural"}, "student": MODEL, "teacher": MODEL}
    return load_train("presets/support_desk_compact", base | overrides).model_dump(mode="json")


@pytest.fixture
def sized(monkeypatch):
    """Make teachers look as large as a test wants, on a device of 80 GB."""

    def make(weights, is_mapped=False):
        monkeypatch.setattr(memory, "teacher", lambda trial: TeachersNeed(weights, weights + 2 * GB, is_mapped))
        monkeypatch.setattr(memory, "there_is", lambda device, fraction: 80 * GB)

    return make


@pytest.mark.parametrize(
    ("overrides", "can"),
    [
        ({}, True),
        ({"seed": 3, "objective.distill_weight.kind": "cosine", "optimiser.lr": 1e-3}, True),
        ({"env.horizon": 12, "env.id": "support_desk", "rollout.tasks": 4}, True),
        ({"objective.distill": {"kind": "relabel"}}, False),
        ({"objective": {"kind": "sft"}}, False),
        ({"rollout.takeover": {"probability": 0.5}}, False),
        ({"teacher": {"kind": "none"}, "objective.distill_weight": 0.0}, False),
        ({"teacher": {"kind": "server", "url": "http://127.0.0.1:1", "model": "m"}}, False),
    ],
)
def test_only_a_teacher_of_ours_that_is_asked_for_probabilities_alone(overrides, can):
    assert (key_of(config(**overrides)) == key_of(config())) == can
    assert (key_of(config(**overrides)) is not None) == can


@pytest.mark.parametrize(
    "other",
    [
        {"teacher": MODEL | {"path": "/models/n"}},
        {"student": MODEL | {"path": "/models/n"}},  # whose tokenizer may be another one
        {"teacher.dtype": "bfloat16"},
        {"runtime.hand_written": False},
    ],
)
def test_another_teacher_is_another_one(other):
    assert key_of(config(**other)) not in (None, key_of(config()))


@pytest.mark.parametrize(
    ("weights", "is_mapped", "gpu", "wide", "share", "held"),
    [
        (GB - 1, False, 0, 2, None, False),  # a CPU: one copy too many, of less than 1 GB
        (GB, False, 0, 2, None, True),
        (GB // 3, False, 0, 3, None, False),
        (GB // 3 + 1, False, 0, 4, None, True),
        (100 * GB, True, 0, 16, None, False),  # its file's pages are everybody's
        (100 * GB, False, 0, 1, None, False),  # one at a time
        (8 * GB, True, 0.25, 4, None, True),  # on a GPU nothing is mapped
        (8 * GB, True, 1, 4, None, False),  # each has a GPU of its own
        (8 * GB, True, 0.25, 4, False, False),
        (1, True, 0, 2, True, True),
    ],
)
def test_it_is_shared_where_copies_would_cost_more_than_a_gigabyte(weights, is_mapped, gpu, wide, share, held, sized):
    sized(weights, is_mapped)
    resources = Resources(gpu=gpu, share_teacher=share)
    configs = [config(), config(seed=1), config(**{"objective": {"kind": "sft"}})]
    assert list(holdings(configs, resources, wide, RAY)) == ([key_of(config())] if held else [])


@pytest.mark.parametrize("site", [Site(backend="local", concurrency=4), Site(address="ray://there:10001")])
def test_not_without_ray_nor_unasked_on_a_cluster(site, sized):
    sized(100 * GB)
    assert holdings([config()], Resources(), 4, site) == {}


def test_what_it_takes_of_a_gpu_is_taken_from_all_trials(sized):
    sized(14 * GB)  # and 2 to ask it
    resources = Resources(gpu=0.25)
    held = holdings([config()], resources, 4, RAY)
    (one,) = held.values()
    assert (one.size, one.gpu) == (16 * GB, 0.2)
    assert left(resources, [one]).gpu == pytest.approx(0.2)  # four of them, and the teacher
    assert left(resources, []) == resources
    assert preflight.share(resources, 4, held) == pytest.approx(0.2)


def test_what_it_takes_of_a_machine_is_taken_from_all_trials(monkeypatch):
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 64 * GB)
    held = {"key": Holding("key", {}, 16 * GB, 0.0)}
    assert preflight.share(Resources(), 3, held) == pytest.approx(0.25)
    assert preflight.share(Resources(), 4, {}) == 0.25


def test_what_nothing_can_share_is_not_to_be_shared():
    compact = load_train("presets/support_desk_compact", {"objective": {"kind": "sft"}}).model_dump(mode="json")
    with pytest.raises(UserError, match=r"^resources.share_teacher: true, but no trial has a local teacher that is"):
        holdings([compact], Resources(share_teacher=True), 2, RAY)


@pytest.mark.parametrize(("dtype", "is_mapped"), [("float32", True), ("bfloat16", False)])
def test_a_file_in_another_precision_is_copied_by_each(dtype, is_mapped, tmp_path):
    folder = str(tiny_models.save("qwen3", tmp_path))
    model = {"kind": "pretrained", "path": folder}
    trial = config(student=model, teacher={**model, "dtype": dtype})
    found = memory.teacher(load_train(trial))
    assert found.is_mapped == is_mapped
    assert found.held > 2 * found.weights > 10**5  # a folded copy, and what it takes to ask
    lines = preflight.fit([trial], Resources(), 1, {key_of(trial): Holding("k", trial, 3 * GB, 0.0)})
    assert lines[1:] == ["memory: 3.0 GB more for a teacher that trials share"]
    assert sharing.PAYS == GB
