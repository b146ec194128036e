"""Cached decoding for many conversations at once, each at its own length: what a decoder is, and the one of compact
Llamas. `decoders` chooses.

The key-value cache is kept across turns and has no holes: row b's tokens occupy slots 0 .. length_B[b] - 1, and a chunk
of new tokens is written right behind them. Padding of a ragged chunk is written too, beyond the row's new length, where
the mask hides it and the next chunk overwrites it.

Shapes: _B rows, _L new tokens per row, _S cache slots, _H heads, _D head width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atod_sweep.training.models.llama_inference import FoldedLlama


def roomier(slots: int) -> int:
    """Slots to make when so many are needed: a quarter more, so that turns to come do not copy the cache each."""
    return slots + max(64, slots // 4)


class Decoder(ABC):
    """Next-token logits for B conversations that grow chunk by chunk. Use under `torch.inference_mode()`."""

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        self.length_B = torch.zeros(rows, dtype=torch.long, device=device)
        self.slots = slots
        self.longest = 0  # an upper bound on length_B, known on the host
        self.aligned = True  # all rows have the same length

    def feed(self, ids_BL: Tensor, count_B: Tensor, counts: tuple[int, int]) -> Tensor:
        """Append the first `count_B[b]` ids of each row (0: none); return logits after each row's last new id, B x V.

        `counts` is (least, most) of `count_B`, known on the host. A row with count 0 gets meaningless logits.
        """
        width = ids_BL.shape[1]
        self.longest += counts[1]
        if self.longest + width > self.slots:
            self.slots = roomier(self.longest + width)
            self.grow()
        self.aligned = self.aligned and counts[0] == counts[1]
        logits_BV = self.advance(ids_BL, count_B)
        self.length_B = self.length_B + count_B
        return logits_BV

    def select(self, rows: Tensor, longest: int) -> None:
        """Keep these rows only, in this order; `longest` is their longest length."""
        self.length_B = self.length_B.index_select(0, rows)
        self.longest = longest
        self.keep(rows)

    def rewind(self, row: int, length: int) -> None:
        """Forget what a row was fed after its first `length` ids (0, where it is more than keys and values)."""
        self.length_B[row] = length
        self.aligned = False

    @abstractmethod
    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        """Write a chunk behind `length_B` and return the logits after each row's last new id."""

    @abstractmethod
    def grow(self) -> None:
        """Make room for `slots` tokens per row."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Keep these rows of the cache."""


# ---- compact Llamas ------------------------------------------------------------------------------------------------


class FoldedDecoder(Decoder):
    """On folded weights, with a cache laid out (B, H, S, D), and no mask while all rows have the same length.

    In the last block of a chunk, only each row's last new token goes on behind keys and values: nobody asks the others.
    """

    def __init__(self, model: FoldedLlama, rows: int, slots: int) -> None:
        super().__init__(rows, slots, model.embedding.device)
        self.model = model
        self.cache = [
            torch.zeros(2, rows, model.heads, slots, model.dim, device=self.length_B.device) for _ in model.layers
        ]
        self.step = self._step()

    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        (rows, width), visible, device = ids_BL.shape, self.longest, ids_BL.device
        row_B = torch.arange(rows, device=device)
        last_B = (count_B - 1).clamp(min=0) if width > 1 else None
        mask: Tensor | None
        last_mask: Tensor | None = None
        write: tuple[Any, ...]
        if self.aligned:
            start = visible - width
            write = (slice(None), slice(start, visible))
            rotary = self.model.rotary(visible)[start:visible, None]
            mask = self._mask(torch.arange(start, visible, device=device)) if width > 1 else None
        else:
            slot_BL = self.length_B[:, None] + torch.arange(width, device=device)
            write = (row_B[:, None], slot_BL)
            rotary = self.model.rotary(visible + width)[slot_BL][:, :, None]
            mask = self._mask(slot_BL)[:, None]
            if last_B is not None:
                last_mask = mask[row_B, :, last_B][:, :, None]

        def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
            cache = self.cache[layer]
            cache.permute(1, 3, 0, 2, 4)[write] = kv.permute(1, 2, 0, 3, 4)
            seen = cache[:, :, :, :visible]
            return _attention(q, seen, mask) if q.dim() == 4 else _attention(q[:, None], seen, last_mask)

        index_B = None if last_B is None else row_B * width + last_B
        return self.model.say(self.model.run(ids_BL, rotary, attend, index_B))

    def _step(self) -> Tensor:
        """As many zeros as there are slots, and behind them as many -inf: every mask is a window on it."""
        return torch.tensor([0.0, -math.inf], device=self.length_B.device).repeat_interleave(self.slots)

    def _mask(self, slot: Tensor) -> Tensor:
        """What to add to scores of the visible slots: 0 up to the query's own one, -inf behind it (a new last dim)."""
        return self.step.unfold(0, self.longest, 1)[self.slots - 1 - slot]

    def grow(self) -> None:
        for i, layer in enumerate(self.cache):  # one after the other: no two caches are there at a time
            self.cache[i] = F.pad(layer, (0, 0, 0, self.slots - layer.shape[3]))
        self.step = self._step()

    def keep(self, rows: Tensor) -> None:
        for i, layer in enumerate(self.cache):
            self.cache[i] = layer.index_select(1, rows)


def _attention(q_BLHD: Tensor, cache: Tensor, mask: Tensor | None) -> Tensor:
    """Attended values, (B * L) x (H * D). Queries carry their scale already; `mask` is added to their scores."""
    rows, length, heads, dim = q_BLHD.shape
    if length > 1 or q_BLHD.device.type != "cpu":
        q_BHLD = q_BLHD.transpose(1, 2)
        a_BHLD = F.scaled_dot_product_attention(q_BHLD, cache[0], cache[1], attn_mask=mask, scale=1.0)
        return a_BHLD.transpose(1, 2).reshape(rows * length, heads * dim)
    # On a CPU, two small products beat the fused kernel for single queries.
    k, v = cache.flatten(1, 2)
    scores = torch.bmm(q_BLHD.reshape(rows * heads, 1, dim), k.transpose(1, 2))
    if mask is not None:
        scores.view(rows, heads, 1, -1).add_(mask)
    return torch.bmm(scores.softmax(-1), v).view(rows, heads * dim)
