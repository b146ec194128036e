"""Compact Llamas in inference, at a fraction of the usual cost per call.

A compact model spends most of a decoding step in module calls and memory traffic, not in arithmetic. `FoldedLlama` is
the function of a `LlamaForCausalLM` on weights rearranged once: norm scales and the attention scale folded into the
projections behind them, projections of one input merged, rotary pairs made adjacent (which leaves scores unchanged,
as queries and keys are permuted alike). Tests compare it with `transformers`. Fold again after an update.

Shapes: _B rows, _L new tokens per row, _S cache slots, _M = B * L, _H heads, _D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM

FOLDED_PARAMETERS = 30_000_000  # above this, a second copy of the weights costs more than the calls it saves

# (layer, query_BLHD, key_BLHD, value_BLHD) -> attended values, M x (H * D)
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def can_fold(model: Any) -> bool:
    """Whether `model` is a plain, compact Llama: other models take the general path."""
    if type(model) is not LlamaForCausalLM or sum(p.numel() for p in model.parameters()) > FOLDED_PARAMETERS:
        return False
    config = model.config
    return (
        # In bf16 the rearranged operations have no fast CPU kernels: transformers' own pass is faster (measured).
        model.dtype == torch.float32
        and (config.rope_parameters or {}).get("rope_type", "default") == "default"
        and not (config.attention_bias or config.mlp_bias)
        and config.hidden_act == "silu"
        and config.num_key_value_heads == config.num_attention_heads
        # Adapters and quantised weights come as other kinds of layers.
        and all(type(m) is torch.nn.Linear for name, m in model.named_modules() if name.endswith("_proj"))
    )


class FoldedLlama:
    """An inference-only snapshot of a compact float32 Llama."""

    @torch.no_grad()
    def __init__(self, model: Any) -> None:
        config, body = model.config, model.model
        self.heads = config.num_attention_heads
        self.width = config.hidden_size
        self.dim = getattr(config, "head_dim", None) or self.width // self.heads
        self.eps = config.rms_norm_eps
        self.embedding = body.embed_tokens.weight
        self.inverse_frequency = body.rotary_emb.inv_freq.float()
        self._turns = self._turned(64)
        adjacent = torch.arange(self.dim, device=self.embedding.device).view(2, -1).T.flatten()

        def paired(weight: Tensor) -> Tensor:
            return weight.view(self.heads, self.dim, -1)[:, adjacent].reshape(weight.shape)

        self.layers = []
        for layer in body.layers:
            attention, mlp = layer.self_attn, layer.mlp
            query, key = paired(attention.q_proj.weight) * self.dim**-0.5, paired(attention.k_proj.weight)
            qkv = torch.cat([query, key, attention.v_proj.weight]) * layer.input_layernorm.weight
            gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight
            self.layers.append((qkv.T, attention.o_proj.weight.T, gate_up.T, mlp.down_proj.weight.T))
        self.head, self.head_bias = (model.lm_head.weight * body.norm.weight).T, model.lm_head.bias

    def logits(self, ids_BT: Tensor, index_N: Tensor) -> Tensor:
        """Logits (N, V) at flat positions of right-padded rows."""
        length = ids_BT.shape[1]

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0).transpose(1, 2).flatten(2)

        x_MC = self.run(ids_BT, self.turns(length)[:length, None], attend)
        return self.read(x_MC.index_select(0, index_N))

    def run(self, ids_BL: Tensor, turn: Tensor, attend: Attend) -> Tensor:
        """The residual stream after the last block, M x width. `turn` broadcasts to (B, L, H, D / 2)."""
        rows, length = ids_BL.shape
        x_MC = F.embedding(ids_BL, self.embedding).view(rows * length, -1)
        for i, (qkv, out, gate_up, down) in enumerate(self.layers):
            heads = (self._normed(x_MC) @ qkv).view(rows, length, 3 * self.heads, self.dim)
            turned = _rotated(heads[:, :, : 2 * self.heads], turn)
            query, key = turned[:, :, : self.heads], turned[:, :, self.heads :]
            attended = attend(i, query, key, heads[:, :, 2 * self.heads :])
            x_MC = x_MC.addmm(attended.reshape(rows * length, -1), out)
            gate, up = (self._normed(x_MC) @ gate_up).chunk(2, 1)
            x_MC = x_MC.addmm(F.silu(gate).mul_(up), down)
        return x_MC

    def read(self, x_NC: Tensor) -> Tensor:
        """Logits of residual states."""
        logits_NV = self._normed(x_NC) @ self.head
        return logits_NV if self.head_bias is None else logits_NV + self.head_bias

    def _normed(self, x: Tensor) -> Tensor:
        # F.rms_norm without a weight: the scale is folded into what follows.
        return F.rms_norm(x, (self.width,), None, self.eps)

    def turns(self, length: int) -> Tensor:
        """exp(i angle) of the rotary embedding, at least `length` x D / 2."""
        if len(self._turns) < length:
            self._turns = self._turned(2 * length)
        return self._turns

    def _turned(self, length: int) -> Tensor:
        angle = torch.arange(length, device=self.inverse_frequency.device)[:, None] * self.inverse_frequency
        return torch.polar(torch.ones_like(angle), angle)


def _rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate adjacent pairs of the last dimension, as complex numbers."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2)
