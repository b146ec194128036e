"""The teacher of a trial, wherever its config says that it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import torch

from atod_sweep.config.models import CompactTeacher, NoTeacher, Pretrained
from atod_sweep.config.objective import Mixture
from atod_sweep.config.signals import Relabel
from atod_sweep.config.teachers import ChatTeacher, ServerTeacher
from atod_sweep.config.train import Train
from atod_sweep.envs.contract import Split
from atod_sweep.training import share
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.stage import Needs
from atod_sweep.training.loop import cast, found
from atod_sweep.training.models import kept
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.pretraining.cache import Models
from atod_sweep.training.runtime import torch_dtype
from atod_sweep.training.scoring import needs_distribution
from atod_sweep.training.teachers.chat import Chat
from atod_sweep.training.teachers.server import Server
from atod_sweep.training.teachers.shared import Held, Shared
from atod_sweep.training.teachers.teacher import Teacher


def teacher(
    config: Train,
    refs: Models,
    pupil: cast.Voice,
    player: Player,
    dtype: torch.dtype,
    device: torch.device,
    needs: Needs,
) -> Teacher | None:
    """None where there is none, or one behind an API whom nobody will ask. Raises UserError, TeacherUnreachable."""
    match config.teacher:
        case NoTeacher():
            return None
        case CompactTeacher() | Pretrained() as model:
            assert refs.teacher is not None
            if (holder := share.teacher()) is not None and (shared := Shared(holder, device)).fits(dtype):
                kept.forget()
                return shared
            return cast.teacher(config, cast.source_of(model, refs.teacher), pupil, player, dtype, device, needs)
        case ServerTeacher() | ChatTeacher() as served:
            if not (config.objective.taught or config.rollout.teacher_plays):
                return None
            scores = isinstance(config.objective, Mixture) and not isinstance(config.objective.distill, Relabel)
            return remote(served, config, player, device, scores)
        case _:
            assert_never(config.teacher)


def hold(config: Train, refs: Models, device: torch.device) -> Held:
    """The teacher of trials like this one, for all of them. Raises UserError."""
    model = config.teacher
    assert refs.teacher is not None
    assert isinstance(model, CompactTeacher | Pretrained)
    needs = ALGORITHMS[config.objective.kind].needs(config)
    dtype = torch_dtype(found.precision(config, None, device), device)
    pupil = kept.tokenizer(cast.source_of(config.student, refs.student))
    _, policy = cast.scorer(config, cast.source_of(model, refs.teacher), pupil, dtype, device, needs)
    assert policy is not None, "`only_scores` says so"
    return Held(policy, found.fingerprints(config, refs, {"teacher": policy.model}))


@dataclass(frozen=True)
class Itself:
    """A teacher behind an API in the place of a policy and of what plays it, to be evaluated."""

    teacher: Server | Chat

    @property
    def device(self) -> torch.device:
        return self.teacher.device

    def play(
        self, _: Any, seeds: list[int], split: Split, temperature: float, generator: torch.Generator, truncation: None
    ) -> Itself.Played:
        return Itself.Played(self.teacher.episodes(seeds, split, temperature, generator))

    @dataclass(frozen=True)
    class Played:
        """Episodes without tokens."""

        outcomes: list[Outcome]


def remote(
    served: ServerTeacher | ChatTeacher, config: Train, player: Player, device: torch.device, scores: bool
) -> Server | Chat:
    """One behind an API, found to be what the config says. `scores`: it will be asked for log-probs.

    Raises UserError, TeacherUnreachable.
    """
    match served:
        case ServerTeacher():
            server = Server(served, player, device)
            full = needs_distribution(config.objective.distill) if isinstance(config.objective, Mixture) else None
            server.check(scores, full.top_k or 0 if full else 0)
            return server
        case ChatTeacher():
            return Chat(served, player, device)
        case _:
            assert_never(served)
