"""Bytes that a trial holds at a time, by what holds them: what stands all the time, and what each of its phases adds.

Each figure follows from what the code keeps there, counted on models without weights (`models.anatomy`); how many
copies of logits there are was counted once, by looking at every tensor of a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from atod_sweep.config.objective import Mixture
from atod_sweep.config.penalties import FullKL
from atod_sweep.config.signals import Distill, OverVocabulary, Relabel
from atod_sweep.config.train import Train
from atod_sweep.envs.contract import Split
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.models import adapters, head
from atod_sweep.training.models.anatomy import Anatomy
from atod_sweep.training.play.decoder import PIECE
from atod_sweep.training.runtime import torch_dtype
from atod_sweep.training.scoring import STORED_PORTIONS, scoring_tokens

UNBOUNDED = 10**9
PLAYS: dict[Split, str] = {"train": "rollout", "eval": "evaluation"}
SAMPLED = 4  # copies of a token's logits while it is drawn: themselves, probabilities, their sums, the bf16 ones

Parts = dict[str, int]


@dataclass(frozen=True)
class Talk:
    """Tokens of the longest conversation, of the longest piece of it that goes into a model at once, and generated."""

    longest: int
    chunk: int
    said: int


def standing(config: Train, student: Anatomy, teacher: Anatomy | None, device: torch.device) -> Parts:
    """What is there from the first step to the last."""
    masters = 4 * student.trained if student.width < 4 else 0
    parts = {"student": student.weights, "optimiser": 8 * student.trained + masters}
    if teacher is not None:
        parts["teacher"] = teacher.weights * (2 if teacher.folds else 1)
    reference = ALGORITHMS[config.objective.kind].needs(config).reference
    initial = (reference == "frozen" or config.evaluation.retention) and not adapters.are_fresh(config.student)
    width = 4 * (reference == "renewed") + (torch_dtype(config.frozen_dtype, device).itemsize if initial else 0)
    if width:
        parts["reference"] = student.weights // student.width * width * (2 if student.folds else 1)
    return parts


@dataclass(frozen=True)
class Phases:
    """What goes on beside it, one at a time."""

    config: Train
    student: Anatomy
    teacher: Anatomy | None
    talk: Talk
    device: torch.device

    def all(self, at_once: Mapping[Split, int]) -> list[Parts]:
        """Rollouts and evaluations, with so many episodes at a time; scoring, the update's passes, its step."""
        played = self.config.rollout.tasks * self.config.rollout.group_size
        scores = self._scores(played * self.talk.said)
        # relabelling has one for every state, padded to the longest, beside those of episodes
        sequences = 1 + self.config.env.horizon if isinstance(self._signal, Relabel) else 1
        return [
            *(
                {f"{PLAYS[split]} {part}": n * size for part, size in self.an_episode.items()} | self.to_play
                for split, n in at_once.items()
            ),
            scores | self.scoring(),
            scores | self._update(played * sequences),
            {"gradients": (self._gradient + 5) * self.student.trained},  # with what lost updates are counted by
        ]

    @property
    def an_episode(self) -> Parts:
        """Of one that is played. Caches grow by a quarter; where heads share keys, a layer's are spread to be read."""
        model, talk = self.student, self.talk
        mask = (1 + model.width) * talk.longest  # of a token, over all that it sees
        return {
            "cache": int(talk.longest * (1.25 * model.cached_per_token + model.expanded_per_token)),
            "activations": int(min(talk.chunk, PIECE) * (model.passing_per_token + mask)),
            "logits": 4 * SAMPLED * model.vocabulary,
        }

    @property
    def to_play(self) -> Parts:
        """Of all of them together."""
        return {"weights to play by": self.student.weights} if self.student.folds else {}

    def scoring(self) -> Parts:
        """Frozen models see so many tokens at a time."""
        model = self.teacher or self.student
        rows = max(1, scoring_tokens(self.device) // self.talk.longest)
        return {
            "activations": int(rows * self.talk.longest * model.passing_per_token),
            "logits": 4 * (4 if self._over_vocabulary else 2) * self._portion(rows, model),
        }

    def _scores(self, tokens: int) -> Parts:
        """What frozen models said of a batch, kept until its update."""
        kept = 0
        if self.teacher is not None and self._over_vocabulary:
            kept += 12 * self._top_k * tokens if self._top_k else self._distributions(tokens, self.teacher)
        if self._over_vocabulary_of_reference:
            kept += self._distributions(tokens, self.student)
        return {"scores": kept} if kept else {}

    def _distributions(self, tokens: int, model: Anatomy) -> int:
        """Whole ones, or where they would be large what they are made of."""
        whole = tokens * model.vocabulary
        is_late = whole > STORED_PORTIONS * head.elements_at_once(self.device)
        return tokens * model.width * model.hidden if is_late else 4 * whole

    def _update(self, episodes: int) -> Parts:
        """Of the part of the batch that needs most: beside its graph are the gradients of the parts before it."""
        rows = max(1, min(episodes, (self.config.update.micro_batch_tokens or UNBOUNDED) // self.talk.longest))
        gradients = {"gradients": self._gradient * self.student.trained}
        last = episodes % rows or rows
        if rows < episodes <= 2 * rows:
            return max(self._graph(rows), self._graph(last) | gradients, key=lambda parts: sum(parts.values()))
        return self._graph(rows) | gradients  # where there is one part, its graph outlives a term's gradient

    def _graph(self, rows: int) -> Parts:
        return {
            "activations": int(self.student.kept_always + self.student.kept_per_token * rows * self.talk.longest),
            "logits": 4 * self._copies * self._portion(rows, self.student),
        }

    def _portion(self, rows: int, model: Anatomy) -> int:
        """Elements of the logits that are made at a time, of so many conversations."""
        return min(rows * self.talk.said * model.vocabulary, head.elements_at_once(self.device))

    @property
    def _gradient(self) -> int:
        """Bytes of a weight's gradient; a rounded weight's master has one beside it."""
        return 4 if self.student.width == 4 else 4 + self.student.width

    @property
    def _signal(self) -> Distill | None:
        return self.config.objective.distill if isinstance(self.config.objective, Mixture) else None

    @property
    def _over_vocabulary(self) -> bool:
        return isinstance(self._signal, OverVocabulary)

    @property
    def _top_k(self) -> int | None:
        return self._signal.top_k if isinstance(self._signal, OverVocabulary) else None

    @property
    def _over_vocabulary_of_reference(self) -> bool:
        objective = self.config.objective
        return isinstance(objective, Mixture) and isinstance(objective.kl_penalty, FullKL)

    @property
    def _copies(self) -> int:
        """Of a portion's logits: themselves, their log-probs and a gradient; and what each term adds to that."""
        objective = self.config.objective
        if not isinstance(objective, Mixture):
            return 3
        signal = (2 if self._top_k else 4) if self._over_vocabulary else 0
        return 3 + signal + (3 if self._over_vocabulary_of_reference else 0) + (1 if objective.entropy_coef > 0 else 0)
