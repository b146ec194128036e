"""What a causal LM makes of its last hidden states, apart from the rest: its logits can then be made in portions.

Some families scale or cap what their head's product gives. Their own forward does that, which nobody can call without
the whole model, so it is found out once, on a few tokens, and believed only if it gives the model's own logits.

Shapes: _N positions, _C width of the head's input, _V ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atod_sweep.training.models import passes

Finish = Callable[[Tensor], Tensor]


def elements_at_once(device: torch.device) -> int:
    """Size of an [N, V] tensor in float32, of which losses hold about eight at a time."""
    return 2**24 if device.type == "cpu" else 2**26


def unchanged(logits: Tensor) -> Tensor:
    """What most models do behind their head's product."""
    return logits


@torch.no_grad()
def finish(model: Any) -> Finish | None:
    """What `model` does with its head's product until it is its logits; None: neither nothing nor a scale nor a cap."""
    text = model.config.get_text_config()
    device = model.get_output_embeddings().weight.device
    ids = torch.arange(min(8, text.vocab_size), device=device)[None]
    index_N = torch.arange(ids.shape[1], device=device)
    hidden_NC, logits_NV, _ = passes.logits_at(model, index_N, input_ids=ids, use_cache=False)
    raw_NV = model.get_output_embeddings()(hidden_NC)
    scale = float((raw_NV.double() * logits_NV.double()).sum() / raw_NV.double().square().sum())
    ways = [unchanged, lambda x: x * scale]
    if cap := getattr(text, "final_logit_softcapping", None):
        ways.append(lambda x: cap * torch.tanh(x / cap))
    room = 8 * torch.finfo(logits_NV.dtype).eps
    return next((way for way in ways if torch.allclose(way(raw_NV), logits_NV, rtol=room, atol=room)), None)
