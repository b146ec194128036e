"""Cached decoding for many conversations at once, each at its own length.

The key-value cache is kept across turns and has no holes: row b's tokens occupy slots 0 .. length_B[b] - 1, and a chunk
of new tokens is written right behind them. Padding of a ragged chunk is written too, beyond the row's new length, where
the mask hides it and the next chunk overwrites it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from atod_sweep.training import llama
from atod_sweep.training.policy import Policy


class RaggedCache(Cache):
    """Per-layer key and value buffers (B, slots, heads, dim) with a write position per row."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.slots = 0
        self.visible = 0
        self.write_BL: tuple[Tensor, Tensor] | None = None

    def plan(self, row_B1: Tensor, slot_BL: Tensor, visible: int) -> None:
        """Set where the next chunk goes, and how many slots attention looks at."""
        self.write_BL, self.visible = (row_B1, slot_BL), visible

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write a chunk (B, heads, L, dim); return the visible keys and values in the same layout."""
        return self.write(key_states.transpose(1, 2), value_states.transpose(1, 2), layer_idx)

    def write(self, key_BLHD: Tensor, value_BLHD: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """As `update`, for chunks laid out (B, L, heads, dim); returns views laid out (B, heads, slots, dim)."""
        assert self.write_BL is not None
        if layer == len(self.keys):
            shape = (key_BLHD.shape[0], self.slots, *key_BLHD.shape[2:])
            self.keys.append(key_BLHD.new_zeros(shape))
            self.values.append(value_BLHD.new_zeros(shape))
        self.keys[layer][self.write_BL] = key_BLHD
        self.values[layer][self.write_BL] = value_BLHD
        n = self.visible
        return self.keys[layer][:, :n].transpose(1, 2), self.values[layer][:, :n].transpose(1, 2)

    def reserve(self, slots: int) -> None:
        """Make room for `slots` tokens per row."""
        if slots > self.slots:
            slots = max(slots, 2 * self.slots)
            for buffers in (self.keys, self.values):
                for i, old in enumerate(buffers):
                    buffers[i] = old.new_zeros((old.shape[0], slots, *old.shape[2:]))
                    buffers[i][:, : self.slots] = old
            self.slots = slots

    def select(self, rows: Tensor) -> None:
        """Keep these rows only, in this order."""
        self.keys = [k.index_select(0, rows) for k in self.keys]
        self.values = [v.index_select(0, rows) for v in self.values]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots in use by the longest row (positions are always passed explicitly, so no model relies on it)."""
        return self.visible


class Decoder:
    """Next-token logits for B conversations that grow chunk by chunk. Use under `torch.inference_mode()`."""

    def __init__(self, policy: Policy, rows: int, slots: int) -> None:
        self.policy = policy
        self.cache = RaggedCache()
        self.cache.reserve(slots)
        self.length_B = torch.zeros(rows, dtype=torch.long, device=policy.device)
        self.longest = 0
        self.fast = llama.of(policy.model)

    def feed(self, ids_BL: Tensor, count_B: Tensor, longest_chunk: int) -> Tensor:
        """Append the first `count_B[b]` ids of each row (0: none); return logits after each row's last new id, B x V.

        A row with count 0 gets meaningless logits. `longest_chunk` is `count_B.max()`, known on the host.
        """
        device = self.length_B.device
        width = ids_BL.shape[1]
        self.longest += longest_chunk  # an upper bound on the longest row; shrunk by `select`
        self.cache.reserve(self.longest + width)
        row_B1 = torch.arange(len(ids_BL), device=device)[:, None]
        slot_BL = self.length_B[:, None] + torch.arange(width, device=device)
        self.cache.plan(row_B1, slot_BL, self.longest)
        visible_BLS = torch.arange(self.longest, device=device) <= slot_BL[:, :, None]
        hidden_BLH = self._hidden(ids_BL, slot_BL, visible_BLS[:, None])
        self.length_B = self.length_B + count_B
        last_BH = hidden_BLH[row_B1[:, 0], (count_B - 1).clamp(min=0)] if width > 1 else hidden_BLH[:, 0]
        return self.policy.head(last_BH).float()

    def _hidden(self, ids_BL: Tensor, slot_BL: Tensor, mask_B1LS: Tensor) -> Tensor:
        if self.fast is not None:
            return self.fast.decode(ids_BL, slot_BL, mask_B1LS, self.cache)
        return self.policy.backbone(
            input_ids=ids_BL,
            position_ids=slot_BL,
            attention_mask=mask_B1LS,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state

    def select(self, rows: Tensor, longest: int) -> None:
        """Keep these rows only; `longest` is their longest length, known on the host."""
        self.cache.select(rows)
        self.length_B = self.length_B.index_select(0, rows)
        self.longest = longest
