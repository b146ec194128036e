"""How long a model takes over a turn, one conversation at a time, on the machine that this runs on."""

from __future__ import annotations

import time
from pathlib import Path

from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Train
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Answer
from atod_sweep.envs.contract import Split
from atod_sweep.training.loop import cast
from atod_sweep.training.loop.build import accelerator_for
from atod_sweep.training.play.evaluate import held_out_seeds
from atod_sweep.training.play.truncation import Truncation
from atod_sweep.training.randomness import torch_generator
from atod_sweep.training.runtime import torch_dtype


class _Timed(Batch):
    """Notes the seconds from each observation to the action that answers it."""

    def reset(self, seeds: list[int], split: Split) -> list[str]:
        self.laps: list[float] = []
        said = super().reset(seeds, split)
        self._since = time.perf_counter()
        return said

    def step(self, actions: list[str | None]) -> list[Answer | None]:
        self.laps.append(time.perf_counter() - self._since)
        answers = super().step(actions)
        self._since = time.perf_counter()
        return answers


def turn_seconds(config: Train, path: Path, role: str, tasks: int) -> list[float]:
    """Seconds of every turn on `tasks` held-out tasks. `role`: "teacher", or else a trained student of the config."""
    model = config.teacher if role == "teacher" else config.student
    how = model if isinstance(model, Pretrained) else Pretrained(path="")
    source = how.made(str(path)) if role != "teacher" else how.model_copy(update={"path": str(path)})
    device = accelerator_for(config).device
    voice = cast.Voice.load("student", source, config.rollout, torch_dtype(source.dtype, device))
    batch = _Timed(config.env, 1)
    policy, player = voice.policy(device), voice.player(config, batch)
    generator = torch_generator(config.evaluation.seed, "latency", device)
    laps: list[float] = []
    for i, seed in enumerate(held_out_seeds(config.evaluation.model_copy(update={"tasks": tasks + 1}))):
        temperature, truncation = config.evaluation.temperature, Truncation.of(config.evaluation)
        player.play(policy, [seed], "eval", temperature, generator, truncation=truncation)
        laps += batch.laps if i else []  # the first is for caches to fill
    batch.close()
    return laps
