"""Which decoder serves a policy."""

from __future__ import annotations

from typing import assert_never

import torch

from atod_sweep.training.models import llama
from atod_sweep.training.models.llama_inference import FoldedLlama
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.decoder import Decoder, FoldedDecoder
from atod_sweep.training.play.ragged import GeneralDecoder
from atod_sweep.training.play.rowwise import RowDecoder


def decoder_for(policy: Policy, rows: int, slots: int = 128) -> Decoder:
    """The decoder for a policy's architecture, `slots` tokens per row to begin with."""
    if policy.compact and llama.can_fold(policy.model) and policy.model.dtype == torch.float32:
        return FoldedDecoder(policy.folded or FoldedLlama(policy.model, policy.words), rows, slots)
    match policy.decoding:
        case "batch":
            return GeneralDecoder(policy, rows, slots)
        case "rows" | "tokens":
            return RowDecoder(policy, rows, slots, by_token=policy.decoding == "tokens")
        case _:
            assert_never(policy.decoding)
