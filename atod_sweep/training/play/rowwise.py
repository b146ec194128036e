"""Cached decoding one row at a time, with whatever cache the model makes for itself: slow, and right for every model.

Models that keep more than keys and values (recurrent states, the last inputs of a convolution), and those whose masks
are tied to a batch of equally long rows, cannot have rows of different lengths in one batch.

Shapes: _B rows, _L new tokens per row, _V ids.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor

from atod_sweep.training.models import passes
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.decoder import Decoder


class RowDecoder(Decoder):
    """A cache per row. `by_token`: a model that takes only one token at a time behind its cache."""

    def __init__(self, policy: Policy, rows: int, slots: int, by_token: bool) -> None:
        super().__init__(rows, slots, policy.device)
        self.piece = sys.maxsize  # behind its cache, a model may take one token at a time only
        self.by_token = by_token
        self.policy, self.model = policy, passes.causal_lm(policy.model)
        self.cache_name = passes.cache_name(self.model)
        self.caches: list[Any] = [None] * rows

    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        logits: list[Tensor | None] = []
        for row, count in enumerate(count_B.tolist()):
            width = 1 if self.by_token and self.caches[row] is not None else max(1, count)
            fed = [self._feed(row, ids_1L) for ids_1L in ids_BL[row : row + 1, :count].split(width, 1)] if count else []
            logits.append(fed[-1] if fed else None)
        some = next(x for x in logits if x is not None)
        return torch.cat([torch.zeros_like(some) if x is None else x for x in logits])

    def _feed(self, row: int, ids_1L: Tensor) -> Tensor:
        """Logits (1, V) after a row's new tokens."""
        name = self.cache_name
        cache = {} if name is None or self.caches[row] is None else {name: self.caches[row]}
        last = torch.tensor([ids_1L.shape[1] - 1], device=ids_1L.device)
        _, logits_1V, output = passes.logits_at(self.model, last, input_ids=ids_1L, use_cache=True, **cache)
        self.caches[row] = getattr(output, name or "", None)
        return self.policy.known(logits_1V).float()

    def rewind(self, row: int, length: int) -> None:
        assert length == 0, "a state cannot be taken back"
        super().rewind(row, length)
        self.caches[row] = None

    def grow(self) -> None:
        """Caches grow by themselves."""

    def keep(self, rows: Tensor) -> None:
        taken: set[int] = set()
        caches = []
        for row in rows.tolist():  # a row that is wanted twice goes on as two
            caches.append(copy.deepcopy(self.caches[row]) if row in taken else self.caches[row])
            taken.add(row)
        self.caches = caches
