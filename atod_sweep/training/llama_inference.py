"""A compact Llama for passes without gradients: a snapshot with everything constant folded into the weights.

Norm scales and the attention scale are part of the projections behind them. Fold again after an update.

A bfloat16 model multiplies matrices in bfloat16, which is where the time goes; residual stream, norms, rotations and
the head stay in float32, which costs next to nothing and keeps log-probabilities nearer to those of float32.

Shapes: see `llama`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atod_sweep.training.llama import head_width, inverse_rms, merged, pairs, rotary

# (layer, query_BLHD, key_BLHD, value_BLHD) -> attended values, M x (H * D); of the last layer, those that go on: N rows
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


HALVES_UP_TO = 512  # tokens per row; measured: 0.6 times the fused kernel's cost at 96, no gain at 2,048


class FoldedLlama:
    """An inference-only snapshot of a compact Llama."""

    @torch.no_grad()
    def __init__(self, model: Any) -> None:
        config, body = model.config, model.model
        self.heads, self.dim = config.num_attention_heads, head_width(config)
        self.eps = config.rms_norm_eps
        self.model, self.dtype = model, model.dtype
        self.embedding = body.embed_tokens.weight
        self._rotary = rotary(model, 64)
        self.layers = []
        for layer in body.layers:
            qkv, gate_up = (weight.float() for weight in merged(layer, self.dim))
            qkv[: self.heads * self.dim] *= self.dim**-0.5
            qkv *= layer.input_layernorm.weight
            gate_up *= layer.post_attention_layernorm.weight
            weights = (qkv, layer.self_attn.o_proj.weight, gate_up, layer.mlp.down_proj.weight)
            self.layers.append(tuple(weight.to(self.dtype).T for weight in weights))
        self.head, self.head_bias = (model.lm_head.weight.float() * body.norm.weight).T, model.lm_head.bias

    def logits(self, ids_BT: Tensor, index_N: Tensor) -> Tensor:
        """Logits (N, V) at flat positions of right-padded rows."""
        length = ids_BT.shape[1]
        attention = _attention_in_halves if self.dtype == torch.bfloat16 and length <= HALVES_UP_TO else _attention

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            a_BHTD = attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
            a_MC = a_BHTD.transpose(1, 2).flatten(2).flatten(0, 1)
            return a_MC.index_select(0, index_N) if layer == len(self.layers) - 1 else a_MC

        return self.run(ids_BT, self.rotary(length)[:length, None], attend, index_N)

    @torch.no_grad()
    def run(self, ids_BL: Tensor, rotary: Tensor, attend: Attend, index_N: Tensor | None) -> Tensor:
        """Logits (N, V) at flat positions; None: at all of them. `rotary` broadcasts to (B, L, H, D / 2)."""
        rows, length = ids_BL.shape
        x_MC = F.embedding(ids_BL.flatten(), self.embedding).float()
        for i, (qkv, out, gate_up, down) in enumerate(self.layers):
            heads = (self._normed(x_MC) @ qkv).view(rows, length, 3 * self.heads, self.dim)
            qk = torch.view_as_real(pairs(heads[:, :, : 2 * self.heads].float()) * rotary).flatten(-2).to(self.dtype)
            a_MC = attend(i, qk[:, :, : self.heads], qk[:, :, self.heads :], heads[:, :, 2 * self.heads :])
            if index_N is not None and i == len(self.layers) - 1:
                x_MC = x_MC.index_select(0, index_N)
            x_MC = self._plus(x_MC, a_MC, out)
            gate, up = (self._normed(x_MC) @ gate_up).chunk(2, 1)
            x_MC = self._plus(x_MC, F.silu(gate).mul_(up), down)
        logits_NV = (x_MC * inverse_rms(x_MC, self.eps)) @ self.head
        return logits_NV if self.head_bias is None else logits_NV + self.head_bias

    def _normed(self, x: Tensor) -> Tensor:
        return torch.mul(x, inverse_rms(x, self.eps), out=x.new_empty(x.shape, dtype=self.dtype))

    def _plus(self, x: Tensor, a: Tensor, weight: Tensor) -> Tensor:
        return x.addmm(a, weight) if self.dtype == torch.float32 else x + a @ weight

    def rotary(self, length: int) -> Tensor:
        """`llama.rotary` for at least `length` positions."""
        if len(self._rotary) < length:
            self._rotary = rotary(self.model, 2 * length)
        return self._rotary


def _attention(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True, scale=1.0)


def _attention_in_halves(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
    """Causal attention in two products: a CPU's fused kernel is slow in bfloat16."""
    length = q_BHTD.shape[2]
    mask_TT = q_BHTD.new_full((length, length), float("-inf")).triu_(1)
    q, k, v = (x.flatten(0, 1) for x in (q_BHTD, k_BHTD, v_BHTD))
    scores = torch.baddbmm(mask_TT, q, k.transpose(1, 2))
    return torch.bmm(scores.softmax(-1), v).view(q_BHTD.shape)
