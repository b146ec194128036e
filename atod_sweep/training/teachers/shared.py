"""A teacher that several trials share: its weights are with whoever holds it, in one place for all of them.

What goes to and fro is a batch's ids, and of every token that the student said a log-prob, the likeliest ids, or what
the teacher's head read there. Whole distributions are made of that by the trial, with a head of its own, portion by
portion; so they are bit by bit those of a teacher of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from atod_sweep.objective.distributions import tempered
from atod_sweep.training import scoring
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models import head
from atod_sweep.training.models.llama_inference import times
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.scoring import FullDistribution
from atod_sweep.training.teachers.teacher import Action, Shown, State, Teacher


@dataclass(frozen=True)
class Facts:
    """`dtype`: of its weights. `fingerprints`: of its files, as `loop.found` has them. `vocabulary`: V.

    `sharable`: whether its logits are its head's product, of a head that is a plain layer. `factor`: that of
    `scoring.padded`.
    """

    dtype: torch.dtype
    fingerprints: dict[str, str]
    vocabulary: int
    sharable: bool
    factor: int


@dataclass(frozen=True)
class Head:
    """Logits (N, V) from hidden states (N, C), as the policy that it was taken from makes them."""

    weight: Tensor
    bias: Tensor | None
    words: int
    folded: bool

    @staticmethod
    def of(policy: Policy) -> Head:
        folded, words = policy.folded, policy.vocabulary
        if folded is not None:
            return Head(folded.head, folded.head_bias, words, True)
        return Head(policy.head.weight, policy.head.bias, words, False)

    def to(self, device: torch.device | str) -> Head:
        bias = None if self.bias is None else self.bias.detach().to(device)
        return Head(self.weight.detach().to(device), bias, self.words, self.folded)

    @torch.no_grad()
    def logits(self, hidden_NC: Tensor) -> Tensor:
        if not self.folded:
            return F.linear(hidden_NC, self.weight, self.bias)[:, : self.words].float()
        logits_NV = times(hidden_NC, self.weight)
        return logits_NV if self.bias is None else logits_NV + self.bias


class Holder(Protocol):
    """Who has the teacher: `Held` itself, or what reaches one in another process. All tensors are on the CPU."""

    def facts(self) -> Facts:
        """What is the same whatever is asked."""

    def head(self) -> Head:
        """A copy."""

    def score(
        self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int
    ) -> dict[str, Tensor]:
        """The fields that `training.scoring.score` adds, whole distributions always as `teacher_hidden`."""


class Held:
    """A frozen teacher that is asked for others."""

    def __init__(self, policy: Policy, fingerprints: dict[str, str]) -> None:
        self.policy, self._fingerprints = policy, fingerprints

    def facts(self) -> Facts:
        policy = self.policy
        plain = type(policy.head) is torch.nn.Linear and policy.finish is head.unchanged
        factor = scoring.padded(policy, 1)
        return Facts(policy.model.dtype, self._fingerprints, policy.vocabulary, plain, factor)

    def head(self) -> Head:
        return Head.of(self.policy).to("cpu")

    def score(
        self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int
    ) -> dict[str, Tensor]:
        batch = _bare(batch, self.policy.device)
        scored = scoring.score(self.policy, batch, "teacher", temperature, full, tokens, late=True)
        return {name: value.cpu() for name, value in scored.fields.items() if name.startswith("teacher_")}


class Shared(Teacher):
    """What a trial has in the place of its own: it scores, and neither acts nor plays."""

    judges = True

    def __init__(self, holder: Holder, device: torch.device) -> None:
        self.holder, self.facts, self._device = holder, holder.facts(), device

    def fits(self, dtype: torch.dtype) -> bool:
        """Whether it is as good as one of the trial's own in this precision."""
        return self.facts.sharable and self.facts.dtype == dtype

    @cached_property
    def _head(self) -> Head:
        """Fetched where whole distributions are compared."""
        return self.holder.head().to(self._device)

    @property
    def _at_once(self) -> int:
        return max(1, head.elements_at_once(self._device) // self.facts.vocabulary)

    def score(self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int) -> TokenBatch:
        said = self.holder.score(_bare(batch, torch.device("cpu")), temperature, full, tokens)
        found = {name: value.to(self._device) for name, value in said.items()}
        if full is not None and full.top_k is None and batch.tokens <= scoring.STORED_PORTIONS * self._at_once:
            found["teacher_full"] = self._full(batch, found.pop("teacher_hidden"), full.temperature, tokens)
        return batch.having(**found)

    def _full(self, batch: TokenBatch, hidden_NC: Tensor, temperature: float, tokens: int) -> Tensor:
        """Log-probs (N, V), made in the portions in which `scoring.score` makes them."""
        full_NV = hidden_NC.new_empty((batch.tokens, self.facts.vocabulary), dtype=torch.float32)
        batch = batch.having(row=torch.arange(batch.tokens, device=self._device))
        for part in batch.parts(tokens * self.facts.factor):
            for row_N in part["row"].split(self._at_once):
                full_NV[row_N] = tempered(self._head.logits(hidden_NC[row_N]), temperature)
        return full_NV

    def whole(self, batch: TokenBatch, temperature: float) -> Tensor:
        if "teacher_full" in batch.fields:
            return batch["teacher_full"]
        return tempered(self._head.logits(batch["teacher_hidden"]), temperature)

    def act(self, states: Sequence[State], temperature: float, generator: torch.Generator) -> list[Action]:
        raise AssertionError("`config.objective` says which trials let their teacher act: they have one of their own")

    def play(self, tasks: list[int], temperature: float, generator: torch.Generator) -> Shown:
        raise AssertionError("see `act`")


def _bare(batch: TokenBatch, device: torch.device) -> TokenBatch:
    """Its sequences and which of their tokens count, on another device."""
    ids_ST, length_S = batch.ids_ST.to(device), batch.length_S.to(device)
    return TokenBatch(ids_ST, length_S, batch.sequence_N.to(device), batch.column_N.to(device), {})
