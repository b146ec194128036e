"""Cached decoding for many conversations at once, each at its own length.

The key-value cache is kept across turns and has no holes: row b's tokens occupy slots 0 .. length_B[b] - 1, and a chunk
of new tokens is written right behind them. Padding of a ragged chunk is written too, beyond the row's new length, where
the mask hides it and the next chunk overwrites it.

Shapes: _B rows, _L new tokens per row, _S cache slots, _H heads, _D head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Cache

from atod_sweep.training import llama
from atod_sweep.training.policy import Policy


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
            self.slots = 2 * (self.longest + width)
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

    def restart(self, row: int) -> None:
        """Forget a row's prefix."""
        self.length_B[row] = 0
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


def decoder_for(policy: Policy, rows: int, slots: int = 128) -> Decoder:
    """The decoder for a policy's architecture, `slots` tokens per row to begin with."""
    if llama.can_fold(policy.model):
        return FoldedDecoder(llama.FoldedLlama(policy.model), rows, slots)
    return GeneralDecoder(policy, rows, slots)


# ---- any architecture ----------------------------------------------------------------------------------------------


class RaggedCache(Cache):
    """Per-layer key and value buffers (B, S, H, D), written at a position per row."""

    def __init__(self, slots: int) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.where: tuple[Tensor, Tensor] | None = None  # rows and slots of the chunk to come
        self.visible = 0

    def update(self, key_BHLD: Tensor, value_BHLD: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write a chunk; return the visible keys and values in the same layout."""
        assert self.where is not None
        if layer_idx == len(self.keys):
            rows, heads, _length, dim = key_BHLD.shape
            self.keys.append(key_BHLD.new_zeros((rows, self.slots, heads, dim)))
            self.values.append(value_BHLD.new_zeros((rows, self.slots, heads, value_BHLD.shape[-1])))
        self.keys[layer_idx][self.where] = key_BHLD.transpose(1, 2)
        self.values[layer_idx][self.where] = value_BHLD.transpose(1, 2)
        n = self.visible
        return self.keys[layer_idx][:, :n].transpose(1, 2), self.values[layer_idx][:, :n].transpose(1, 2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots in use by the longest row (positions are always passed explicitly, so no model relies on it)."""
        return self.visible


class GeneralDecoder(Decoder):
    """Through `transformers`, for every causal LM that takes a 4D mask and explicit positions."""

    def __init__(self, policy: Policy, rows: int, slots: int) -> None:
        super().__init__(rows, slots, policy.device)
        self.policy = policy
        self.cache = RaggedCache(slots)

    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        device, width = ids_BL.device, ids_BL.shape[1]
        row_B = torch.arange(len(ids_BL), device=device)
        slot_BL = self.length_B[:, None] + torch.arange(width, device=device)
        self.cache.where, self.cache.visible = (row_B[:, None], slot_BL), self.longest
        mask_B1LS = torch.arange(self.longest, device=device) <= slot_BL[:, None, :, None]
        hidden_BLC = self.policy.backbone(
            input_ids=ids_BL,
            position_ids=slot_BL,
            attention_mask=mask_B1LS,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        return self.policy.head(hidden_BLC[row_B, (count_B - 1).clamp(min=0)]).float()

    def grow(self) -> None:
        self.cache.slots = self.slots
        for buffers in (self.cache.keys, self.cache.values):
            for i, old in enumerate(buffers):
                buffers[i] = F.pad(old, (0, 0, 0, 0, 0, self.slots - old.shape[1]))

    def keep(self, rows: Tensor) -> None:
        self.cache.keys = [k.index_select(0, rows) for k in self.cache.keys]
        self.cache.values = [v.index_select(0, rows) for v in self.cache.values]


# ---- compact Llamas ------------------------------------------------------------------------------------------------


class FoldedDecoder(Decoder):
    """On folded weights, with a cache laid out (B, H, S, D), and no mask while all rows have the same length."""

    def __init__(self, model: llama.FoldedLlama, rows: int, slots: int) -> None:
        super().__init__(rows, slots, model.embedding.device)
        self.model = model
        self.cache = [
            torch.zeros(2, rows, model.heads, slots, model.dim, device=self.length_B.device) for _ in model.layers
        ]

    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        rows, width = ids_BL.shape
        if self.aligned:
            start = self.longest - width
            turn = self.model.turns(self.longest)[start : self.longest, None]
            causal = torch.ones(width, self.longest, dtype=torch.bool, device=ids_BL.device).tril(start)
            x_MC = self.model.run(ids_BL, turn, lambda *qkv: self._aligned(start, None if width == 1 else causal, *qkv))
            return self.model.read(x_MC.view(rows, width, -1)[:, -1])
        slot_BL = self.length_B[:, None] + torch.arange(width, device=ids_BL.device)
        turn = self.model.turns(self.longest + width)[slot_BL][:, :, None]
        visible_B1LS = torch.arange(self.longest, device=ids_BL.device) <= slot_BL[:, None, :, None]
        x_MC = self.model.run(ids_BL, turn, lambda *qkv: self._ragged(slot_BL, visible_B1LS, *qkv))
        row_B = torch.arange(rows, device=ids_BL.device)
        return self.model.read(x_MC.view(rows, width, -1)[row_B, (count_B - 1).clamp(min=0)])

    def _aligned(self, start: int, mask_LS: Tensor | None, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache = self.cache[layer]
        cache[0, :, :, start : start + k.shape[1]] = k.transpose(1, 2)
        cache[1, :, :, start : start + k.shape[1]] = v.transpose(1, 2)
        return _attention(q, cache[:, :, :, : self.longest], mask_LS)

    def _ragged(self, slot_BL: Tensor, visible_B1LS: Tensor, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache = self.cache[layer]
        row_B1 = torch.arange(len(q), device=q.device)[:, None]
        cache[0].transpose(1, 2)[row_B1, slot_BL] = k
        cache[1].transpose(1, 2)[row_B1, slot_BL] = v
        return _attention(q, cache[:, :, :, : self.longest], visible_B1LS)

    def grow(self) -> None:
        self.cache = [F.pad(c, (0, 0, 0, self.slots - c.shape[3])) for c in self.cache]

    def keep(self, rows: Tensor) -> None:
        self.cache = [c.index_select(1, rows) for c in self.cache]


def _attention(q_BLHD: Tensor, cache: Tensor, mask: Tensor | None) -> Tensor:
    """Attended values, B x L x (H * D); queries carry their scale already. `mask` is True where a slot is visible."""
    q, k, v = q_BLHD.transpose(1, 2), cache[0], cache[1]
    if q.shape[2] > 1 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0).transpose(1, 2).flatten(2)
    scores = q @ k.transpose(2, 3)  # on a CPU, two small products beat the fused kernel for single queries
    if mask is not None:
        scores.masked_fill_(~mask, float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
