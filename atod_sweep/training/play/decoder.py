"""Cached decoding for many conversations at once, each at its own length: what a decoder is, and the one of compact
models. `decoders` chooses.

The key-value cache is kept across turns and has no holes: row b's tokens occupy slots 0 .. length_B[b] - 1, and a chunk
of new tokens is written right behind them. Padding of a ragged chunk is written too, beyond the row's new length, where
the mask hides it and the next chunk overwrites it.

Shapes: _B rows, _L new tokens per row, _S cache slots, _H heads of queries, _G of keys, _D head width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atod_sweep.training.models import llama
from atod_sweep.training.models.llama_inference import FoldedLlama

# A row's numbers must not depend on which rows are with it, to the last bit. A CPU's kernels round otherwise where a
# product has fewer than four rows, where the attention has more than a block of queries, and with the number of keys;
# found by trying all sizes with MKL and AVX-512. So chunks are fed in pieces, queries come in fours, slots in steps.
PIECE = 32  # tokens of a row per pass
QUERIES = 4
FEWEST_SLOTS, STEP = 32, 16
KEYS = 512  # at a time, in the attention of several queries, whose products halve them between these numbers
HALVED = (192, 384)
PASS = 2**14  # tokens per pass on a GPU, whose kernels follow the number of rows in any case


def in_steps(slots: int, several: bool = False) -> int:
    """As many slots or a few more; `several`: for more than one query at a time."""
    slots = max(FEWEST_SLOTS, -(-slots // STEP) * STEP)
    last = slots % KEYS
    return slots - last + HALVED[1] if several and HALVED[0] < last < HALVED[1] else slots


def in_fours(queries: int) -> int:
    """As many queries or up to three more."""
    return -(-queries // QUERIES) * QUERIES


def roomier(slots: int) -> int:
    """Slots to make when so many are needed: a quarter more, so that turns to come do not copy the cache each."""
    return in_steps(slots + max(64, slots // 4))


class Decoder(ABC):
    """Next-token logits for B conversations that grow chunk by chunk. Use under `torch.inference_mode()`."""

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        self.length_B = torch.zeros(rows, dtype=torch.long, device=device)
        self.slots = in_steps(slots)
        self.piece = PIECE if device.type == "cpu" else max(PIECE, PASS // rows)
        self.longest = 0  # an upper bound on length_B, known on the host
        self.before = 0  # the same without the chunk that is being fed
        self.visible = FEWEST_SLOTS  # slots that are looked at
        self.aligned = True  # all rows have the same length
        self.grouped = False  # several queries share a key, so that those of one token are multiplied with it at once

    def feed(self, ids_BL: Tensor, count_B: Tensor, counts: tuple[int, int]) -> Tensor:
        """Append the first `count_B[b]` ids of each row (0: none); return logits after each row's last new id, B x V.

        `counts` is (least, most) of `count_B`, known on the host. A row with count 0 gets meaningless logits.
        """
        if counts[1] <= self.piece:
            return self.append(ids_BL, count_B, counts)
        logits_BV: Tensor | None = None
        for start in range(0, counts[1], self.piece):
            n_B = (count_B - start).clamp(0, self.piece)
            least, most = (min(max(count - start, 0), self.piece) for count in counts)
            piece_BL = F.pad(ids_BL[:, start : start + self.piece], (0, 1 if most == 1 else 0))  # it is no step
            new_BV = self.append(piece_BL, n_B, (least, most))
            logits_BV = new_BV if logits_BV is None else torch.where(n_B[:, None] > 0, new_BV, logits_BV)
        assert logits_BV is not None
        return logits_BV

    def append(self, ids_BL: Tensor, count_B: Tensor, counts: tuple[int, int]) -> Tensor:
        """`feed`, of one piece."""
        self.before, self.longest = self.longest, self.longest + counts[1]
        width = ids_BL.shape[1]
        self.visible = in_steps(self.longest, several=width > 1 or self.grouped)
        if (needed := max(self.visible, self.before + width + QUERIES)) > self.slots:
            self.slots = roomier(needed)
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


# ---- compact models ------------------------------------------------------------------------------------------------


class FoldedDecoder(Decoder):
    """On folded weights, with a cache laid out (B, G, S, D), and one mask while all rows have the same length.

    In the last block of a chunk, only each row's last new token goes on behind keys and values: nobody asks the others.
    """

    def __init__(self, model: FoldedLlama, rows: int, slots: int) -> None:
        super().__init__(rows, slots, model.embedding.device)
        self.model, self.grouped = model, model.heads.grouped
        self.cache = [
            torch.zeros(2, rows, model.heads.shared, self.slots, model.heads.dim, device=self.length_B.device)
            for _ in model.layers
        ]
        self.step = self._step()

    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        (rows, width), device = ids_BL.shape, ids_BL.device
        row_B = torch.arange(rows, device=device)
        last_B = (count_B - 1).clamp(min=0) if width > 1 else None
        ahead_Q = torch.arange(width if width == 1 else in_fours(width), device=device)
        write: tuple[Any, ...]
        if self.aligned:
            start, stop = self.before, self.before + width
            write = (slice(None), slice(start, stop))
            rotary = self.model.rotary(stop)[start:stop, None]
            mask = self._mask(start + ahead_Q)
            last_mask = mask if last_B is None else self._mask(ahead_Q[:1] + self.longest - 1)
        else:
            slot_BQ = self.length_B[:, None] + ahead_Q
            write = (row_B[:, None], slot_BQ[:, :width])
            rotary = self.model.rotary(self.before + width)[slot_BQ[:, :width]][:, :, None]
            mask = self._mask(slot_BQ)[:, None]
            last_mask = mask if last_B is None else mask[row_B, :, last_B][:, :, None]

        def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
            cache = self.cache[layer]
            cache.permute(1, 3, 0, 2, 4)[write] = kv.permute(1, 2, 0, 3, 4)
            seen = cache[:, :, :, : self.visible]
            return _attention(q, seen, mask) if q.dim() == 4 else _attention(q[:, None], seen, last_mask)

        index_B = None if last_B is None else row_B * width + last_B
        return self.model.say(self.model.run(ids_BL, rotary, attend, index_B, few=index_B is not None))

    def _step(self) -> Tensor:
        """As many zeros as there are slots, and behind them as many -inf: every mask is a window on it."""
        return torch.tensor([0.0, -math.inf], device=self.length_B.device).repeat_interleave(self.slots)

    def _mask(self, slot: Tensor) -> Tensor:
        """What to add to scores of the visible slots: 0 up to the query's own one, -inf behind it (a new last dim)."""
        return self.step.unfold(0, self.visible, 1)[self.slots - 1 - slot]

    def grow(self) -> None:
        for i, layer in enumerate(self.cache):  # one after the other: no two caches are there at a time
            self.cache[i] = F.pad(layer, (0, 0, 0, self.slots - layer.shape[3]))
        self.step = self._step()

    def keep(self, rows: Tensor) -> None:
        for i, layer in enumerate(self.cache):
            self.cache[i] = layer.index_select(1, rows)


def _attention(q_BLHD: Tensor, cache: Tensor, mask: Tensor) -> Tensor:
    """Attended values, (B * L) x (H * D). Queries carry their scale already; `mask` is added to their scores.

    It may have rows for more queries than there are.
    """
    (rows, length, heads, dim), shared = q_BLHD.shape, cache.shape[2]
    if length > 1 or q_BLHD.device.type != "cpu":
        q_BHQD = F.pad(q_BLHD.transpose(1, 2), (0, 0, 0, mask.shape[-2] - length))
        a_BHQD = llama.attention(q_BHQD, cache[0], cache[1], mask, scale=1.0)
        return a_BHQD[:, :, :length].transpose(1, 2).reshape(rows * length, heads * dim)
    # On a CPU, two small products beat the fused kernel for single queries; those that share a key are one product.
    k, v = cache.flatten(1, 2)
    scores = torch.bmm(q_BLHD.reshape(rows * shared, heads // shared, dim), k.transpose(1, 2))
    scores.view(rows, shared, heads // shared, -1).add_(mask)
    return torch.bmm(scores.softmax(-1), v).view(rows, heads * dim)
