"""Cached decoding of any architecture through `transformers`, all rows in one batch, each at its own length.

The key-value cache has no holes: row b's tokens occupy slots 0 .. length_B[b] - 1, so a slot is a position, and a mask
that a model makes for its layers (causal, sliding, in chunks) is right once its queries are at the slots of their row.
Models ask `transformers` for their masks; while a chunk passes, they get them from here.

Shapes: _B rows, _L new tokens per row, _S cache slots, _H heads, _D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Cache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from atod_sweep.training.models import passes
from atod_sweep.training.models.llama_inference import enough
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.decoder import QUERIES, Decoder


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
            self.values.append(value_BHLD.new_zeros((rows, self.slots, value_BHLD.shape[1], value_BHLD.shape[-1])))
        self.keys[layer_idx][self.where] = key_BHLD.transpose(1, 2)
        self.values[layer_idx][self.where] = value_BHLD.transpose(1, 2)
        n = self.visible
        return self.keys[layer_idx][:, :n].transpose(1, 2), self.values[layer_idx][:, :n].transpose(1, 2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots in use by the longest row (positions are always passed explicitly, so no model relies on it)."""
        return self.visible

    def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[int, int]:
        return self.visible, 0


class GeneralDecoder(Decoder):
    """For every causal LM whose layers remember keys and values alone."""

    def __init__(self, policy: Policy, rows: int, slots: int) -> None:
        super().__init__(rows, slots, policy.device)
        self.policy, self.model = policy, passes.causal_lm(policy.model)
        self.cache = RaggedCache(self.slots)
        self.cache_name = passes.cache_name(self.model) or "past_key_values"
        self.takes_positions = passes.takes(self.model, "position_ids")

    def advance(self, ids_BL: Tensor, count_B: Tensor) -> Tensor:
        real, length_B = len(ids_BL), self.length_B
        if ids_BL.shape[1] > 1:
            ids_BL = F.pad(ids_BL, (0, -ids_BL.shape[1] % QUERIES))
        if ids_BL.device.type == "cpu":
            ids_BL, count_B, length_B = enough(ids_BL), enough(count_B), enough(length_B)
        device, (rows, width) = ids_BL.device, ids_BL.shape
        row_B = torch.arange(rows, device=device)
        slot_BL = length_B[:, None] + torch.arange(width, device=device)
        self.cache.where, self.cache.visible = (row_B[:, None], slot_BL), self.visible
        last_B = (count_B - 1).clamp(min=0)
        inputs: dict[str, Any] = {
            "input_ids": ids_BL,
            "attention_mask": torch.ones((rows, self.visible), dtype=torch.long, device=device),
            self.cache_name: self.cache,
            "use_cache": True,
        }
        if self.takes_positions:  # padding stays where the row's last token is: a table of positions ends somewhere
            inputs["position_ids"] = slot_BL.minimum((length_B + last_B)[:, None])
        with masks_at(self.model, slot_BL):
            _, logits_BV, _ = passes.logits_at(self.model, row_B * width + last_B, **inputs)
        return self.policy.known(logits_BV[:real]).float()

    def grow(self) -> None:
        self.cache.slots = self.slots
        for buffers in (self.cache.keys, self.cache.values):
            for i, old in enumerate(buffers):
                buffers[i] = F.pad(old, (0, 0, 0, 0, 0, self.slots - old.shape[1]))

    def keep(self, rows: Tensor) -> None:
        rows = enough(rows) if rows.device.type == "cpu" else rows
        for buffers in (self.cache.keys, self.cache.values):
            for i, old in enumerate(buffers):  # one after the other: no two caches are there at a time
                buffers[i] = old.index_select(0, rows)


@contextmanager
def masks_at(model: Any, slot_BL: Tensor) -> Iterator[None]:
    """Inside, masks that the model asks for are those of queries at these slots, over keys in slot order."""
    config, ours = model.config, {"sdpa": _boolean(slot_BL), "eager": _added(slot_BL)}
    own = config._attn_implementation
    if own not in ours:  # fused kernels take no mask per row
        config._attn_implementation = "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"
    for name, mask in ours.items():
        ALL_MASK_ATTENTION_FUNCTIONS[name] = mask
    try:
        yield
    finally:
        for name in ours:
            del ALL_MASK_ATTENTION_FUNCTIONS[name]
        if own not in ours:
            config._attn_implementation = own


def _boolean(slot_BL: Tensor) -> Callable[..., Tensor]:
    """True where a query may look, B x 1 x L x S."""

    def mask(batch_size: int, kv_length: int, mask_function: Callable[..., Tensor], **_: Any) -> Tensor:
        device = slot_BL.device
        row = torch.arange(batch_size, device=device)[:, None, None, None]
        head = torch.zeros((1, 1, 1, 1), dtype=torch.long, device=device)
        key = torch.arange(kv_length, device=device)[None, None, None]
        seen: Tensor = mask_function(row, head, slot_BL[:, None, :, None], key)
        return seen.expand(batch_size, 1, slot_BL.shape[1], kv_length)

    return mask


def _added(slot_BL: Tensor) -> Callable[..., Tensor]:
    """What to add to scores, B x 1 x L x S: 0 where a query may look, else the lowest number."""
    boolean = _boolean(slot_BL)

    def mask(dtype: torch.dtype = torch.float32, **sizes: Any) -> Tensor:
        seen = boolean(**sizes)
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)

    return mask
