"""tinker-cookbook's own config class takes the arguments, and its own batch preparation gives the scheduled advantages.

Needs `tinker-cookbook==0.6.1` and `tinker` (their wheels without dependencies). The service is not called: a stand-in
answers for the teacher and for the update.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from shim_modules import modules_of

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
TURNS = {"kind": "thresholds", "early_turns": 1, "late_turns": 1}
NAMES = ("do_train_step_and_get_sampling_client", "compute_advantages", "incorporate_kl_penalty")


@pytest.fixture
def train() -> Iterator[Any]:
    """Their training module, put back as it was after the shim has patched it."""
    if importlib.util.find_spec("tinker_cookbook") is None or importlib.util.find_spec("tinker") is None:
        pytest.skip("tinker-cookbook or tinker is not installed")
    if (found := importlib.metadata.version("tinker-cookbook")) != "0.6.1":
        pytest.skip(f"written for tinker-cookbook 0.6.1, found {found}")
    module = pytest.importorskip(
        "tinker_cookbook.distillation.train_on_policy",
        reason="a package that it imports is not installed",
        exc_type=ImportError,
    )
    kept = {name: getattr(module, name) for name in NAMES}
    yield module
    for name, function in kept.items():
        setattr(module, name, function)


class Teacher:
    """Log-probs of the tokens after the first one, as the sampling service returns them; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def compute_logprobs(self, sequence: Any) -> Any:
        self.calls += 1
        values = [None, *(-0.1 * (i + 1) for i in range(sequence.length - 1))]

        async def answer() -> list[float | None]:
            return values

        return type("Future", (), {"coroutine": staticmethod(answer)})()


def group(rewards: list[float]) -> Any:
    """Episodes of two turns: two words, the environment's answer of one, and two words again."""
    import tinker
    from tinker_cookbook.completers import TokensWithLogprobs
    from tinker_cookbook.rl.types import Trajectory, TrajectoryGroup, Transition

    def episode() -> Any:
        first, second = [5, 6], [8, 9]
        steps = [([1, 2], first, False), ([1, 2, *first, 7], second, True)]
        return Trajectory(
            transitions=[
                Transition(
                    ob=tinker.ModelInput.from_ints(ob),
                    ac=TokensWithLogprobs(tokens=ac, maybe_logprobs=[-0.3, -0.7]),
                    reward=0.0,
                    episode_done=done,
                )
                for ob, ac, done in steps
            ],
            final_ob=tinker.ModelInput.from_ints([]),
        )

    return TrajectoryGroup([episode() for _ in rewards], list(rewards), [{} for _ in rewards])


def config_of(train: Any, arguments: Any) -> Any:
    yours = {"model_name": "m", "recipe_name": "r", "dataset_configs": [], "learning_rate": 1e-4, "max_tokens": 8}
    return train.Config(**yours, log_path="out", **arguments.ARGUMENTS)


def test_its_config_takes_the_arguments(export_to: ExportTo, train: Any) -> None:
    out, _ = export_to("tinker-cookbook", {"kind": "hybrid", "clip_ratio": 0.3})
    with modules_of(out, "tinker_arguments") as (module,):
        config = config_of(train, module)
    assert (config.max_steps, config.kl_penalty_coef, config.loss_fn) == (8, 1.0, "ppo")
    assert config.loss_fn_config == {"clip_low_threshold": 0.7, "clip_high_threshold": 1.3}


def test_its_batches_carry_the_scheduled_advantages(export_to: ExportTo, train: Any, monkeypatch: Any) -> None:
    weight = {"kind": "linear", "start": 1.0, "end": 0.0, "anneal_fraction": 0.5}
    out, rows = export_to("tinker-cookbook", {"kind": "hybrid", "distill_weight": weight, "turns": TURNS})
    batches: list[Any] = []

    async def update(data_D: Any, **_: Any) -> list[Any]:
        batches.append(data_D)
        return []

    async def after(*_: Any) -> tuple[None, dict[str, float]]:
        return None, {}

    monkeypatch.setattr(train, "train_step", update)
    monkeypatch.setattr(train, "compute_full_batch_metrics_and_get_sampling_client", after)
    monkeypatch.setattr(train, "compute_trajectory_metrics", lambda *_: {})
    monkeypatch.setattr(train, "colorize_example", lambda *_, **__: "")
    builder = type("Builder", (), {"logging_tags": lambda self: []})()
    teacher, metrics = Teacher(), []
    with modules_of(out, "scheduled_tinker", "tinker_arguments") as (_, arguments):
        config = config_of(train, arguments)
        for step in range(8):
            groups = [group([1.0, 0.0, 0.0]), group([1.0, 1.0, 1.0])]
            step_call = train.do_train_step_and_get_sampling_client(
                config, step, None, None, None, None, [builder] * 2, groups, [0, 0], [teacher]
            )
            metrics.append(asyncio.run(step_call)[1])
    assert teacher.calls == 6 * 4  # six episodes on the four steps on which the teacher has any weight
    spread = torch.tensor([1.0, 0.0, 0.0]).std() + 1e-4
    wanted = [(2 / 3) / spread, (-1 / 3) / spread, (-1 / 3) / spread, 0.0, 0.0, 0.0]
    for step, data in enumerate(batches):
        row = rows[step]
        for datum, advantage in zip(data, wanted, strict=True):
            # Tokens 1 .. 6 are predicted: one of the prompt, two words of turn 0, one answer, two words of turn 1.
            turn, generated = [0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 1]
            student = [0.0, -0.3, -0.7, 0.0, -0.3, -0.7]
            expected = [
                g * (row["reward"][k] * advantage + row["distill"][k] * (-0.1 * (i + 1) - s))
                for i, (k, g, s) in enumerate(zip(turn, generated, student, strict=True))
            ]
            found = datum.loss_fn_inputs["advantages"].to_torch()
            assert found.tolist() == pytest.approx([float(x) for x in expected], abs=1e-5)
        assert metrics[step]["schedule/distill"] == pytest.approx(row["distill"][0])
