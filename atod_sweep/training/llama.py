"""Compact Llamas, rearranged so that a pass costs a fraction of the usual module calls and memory traffic.

What changes and why the function stays the same:
- the query, key and value projections read one input, so they are one product; so are the gate and up projections;
- the rows of the query and key projections are permuted alike, which leaves their dot products unchanged, so that the
  pairs that the rotary embedding rotates are adjacent: rotating them is one complex product;
- after the last block's attention nothing looks at other positions any more: only the wanted ones go on.

`llama_inference` folds more into the weights, for passes without gradients; `llama_learning` is the student's update.
Tests compare both with `transformers`.

Shapes: _B rows, _T or _L tokens per row, _M = B * T positions, _N wanted positions, _C model width, _H heads, _D head
width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

COMPACT_PARAMETERS = 30_000_000  # above this, a second copy of the weights costs more than the calls it saves


def is_compact(model: Any) -> bool:
    """Whether `model` is a plain, compact Llama: other models take the general path, through `transformers`."""
    if type(model) is not LlamaForCausalLM or sum(p.numel() for p in model.parameters()) > COMPACT_PARAMETERS:
        return False
    config = model.config
    return (
        (config.rope_parameters or {}).get("rope_type", "default") == "default"
        and not (config.attention_bias or config.mlp_bias)
        and config.hidden_act == "silu"
        and config.num_key_value_heads == config.num_attention_heads
        # Adapters and quantised weights come as other kinds of layers.
        and all(type(m) is torch.nn.Linear for name, m in model.named_modules() if name.endswith("_proj"))
    )


def can_fold(model: Any) -> bool:
    """Whether `model` is a compact Llama, in float32 or, on a CPU, in bfloat16 (a GPU's kernels for that are good)."""
    return is_compact(model) and (
        model.dtype == torch.float32 or (model.dtype == torch.bfloat16 and model.device.type == "cpu")
    )


def head_width(config: Any) -> int:
    """D of a Llama's config."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def merged(layer: Any, dim: int) -> tuple[Tensor, Tensor]:
    """Weights (3 H D x C) of query, key and value, rotary pairs adjacent, and (2 I x C) of gate and up."""

    def paired(weight: Tensor) -> Tensor:
        return weight.view(-1, 2, dim // 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

    attention, mlp = layer.self_attn, layer.mlp
    qkv = torch.cat([paired(attention.q_proj.weight), paired(attention.k_proj.weight), attention.v_proj.weight])
    return qkv, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])


def rotary(model: Any, length: int) -> Tensor:
    """exp(i angle), the factors of the rotary embedding, length x D / 2."""
    frequency = model.model.rotary_emb.inv_freq.float()
    angle = torch.arange(length, device=frequency.device)[:, None] * frequency
    return torch.polar(torch.ones_like(angle), angle)


def pairs(x: Tensor) -> Tensor:
    """Adjacent pairs of the last dimension as complex numbers; a view."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def inverse_rms(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean of squares + eps) over the last dimension, which is kept."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()
