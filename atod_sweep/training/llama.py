"""The Llama forward pass with a fraction of the per-call overhead, on the weights of a `LlamaForCausalLM`.

Compact students spend much of a CPU step in module calls and memory traffic, not in arithmetic. This is the same
function as that of `transformers` (tests compare them), with merged projections, fused rotary and SwiGLU autograd
functions that save only what their backward needs, and no mask where the layout makes one unnecessary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM

if TYPE_CHECKING:
    from atod_sweep.training.decoder import RaggedCache


def of(model: Any) -> FastLlama | None:
    """The fast path for `model`, or None if its architecture is not exactly plain Llama."""
    if type(model) is not LlamaForCausalLM or model.is_gradient_checkpointing:
        return None
    config = model.config
    plain = (
        (config.rope_parameters or {}).get("rope_type", "default") == "default"
        and not config.attention_bias
        and not config.mlp_bias
        and config.hidden_act == "silu"
        and not config.attention_dropout
    )
    return FastLlama(model) if plain else None


class FastLlama:
    """Functional forward passes that share the parameters of the wrapped model."""

    def __init__(self, model: Any) -> None:
        self.model = model.model
        config = model.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self.merged: list[tuple[Tensor, Tensor]] | None = None
        self.cos_sin: tuple[Tensor, Tensor] | None = None

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Last hidden states (B, T, hidden) of right-padded rows without gaps; differentiable."""
        cos, sin = (t[: ids_BT.shape[1]] for t in self._rotation(ids_BT.shape[1]))

        def attend(q: Tensor, k: Tensor, v: Tensor, _: int) -> Tensor:
            return _attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None)

        return self._run(ids_BT, cos[:, None], sin[:, None], attend, self._merge())

    def decode(self, ids_BL: Tensor, slot_BL: Tensor, mask_B1LS: Tensor, cache: RaggedCache) -> Tensor:
        """Last hidden states of a chunk behind the cached prefix; the weights must not change while a cache lives."""
        if self.merged is None:
            self.merged = self._merge()
        cos, sin = self._rotation(cache.slots)

        def attend(q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
            keys, values = cache.write(k, v, layer)
            return _attention(q.transpose(1, 2), keys, values, mask_B1LS)

        return self._run(ids_BL, cos[slot_BL][:, :, None], sin[slot_BL][:, :, None], attend, self.merged)

    def _run(self, ids: Tensor, cos: Tensor, sin: Tensor, attend: Any, merged: list[tuple[Tensor, Tensor]]) -> Tensor:
        table = self.model.embed_tokens
        x = F.embedding(ids, table.weight, table.padding_idx)
        rotated = self.heads + self.kv_heads
        for i, layer in enumerate(self.model.layers):
            qkv_weight, gate_up_weight = merged[i]
            h = F.rms_norm(x, x.shape[-1:], layer.input_layernorm.weight, self.eps)
            qkv = F.linear(h, qkv_weight).unflatten(-1, (-1, self.dim))
            qk = _Rotate.apply(qkv[..., :rotated, :], cos, sin)
            q, k = qk[..., : self.heads, :], qk[..., self.heads :, :]
            h = attend(q, k, qkv[..., rotated:, :], i).transpose(1, 2).flatten(-2)
            x = x + F.linear(h, layer.self_attn.o_proj.weight)
            h = F.rms_norm(x, x.shape[-1:], layer.post_attention_layernorm.weight, self.eps)
            x = x + F.linear(_SwiGLU.apply(F.linear(h, gate_up_weight)), layer.mlp.down_proj.weight)
        return F.rms_norm(x, x.shape[-1:], self.model.norm.weight, self.eps)

    def _merge(self) -> list[tuple[Tensor, Tensor]]:
        return [
            (
                torch.cat(
                    [layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight]
                ),
                torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]),
            )
            for layer in self.model.layers
        ]

    def _rotation(self, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin of the rotary angles, each (length, dim / 2)."""
        if self.cos_sin is None or len(self.cos_sin[0]) < length:
            inverse = self.model.rotary_emb.inv_freq.float()
            angle = torch.arange(length, device=inverse.device).float()[:, None] * inverse
            dtype = self.model.norm.weight.dtype
            self.cos_sin = (angle.cos().to(dtype), angle.sin().to(dtype))
        return self.cos_sin


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1]
    )


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    (a, b), (a_out, b_out) = x.chunk(2, -1), out.chunk(2, -1)
    torch.mul(a, cos, out=a_out).addcmul_(b, sin, value=-sign)
    torch.mul(b, cos, out=b_out).addcmul_(a, sin, value=sign)
    return out


class _Rotate(torch.autograd.Function):
    """Rotary embedding; its backward is the rotation by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(grad, cos, sin, -1.0), None, None


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up on a merged (gate | up) projection."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        out = torch.empty_like(gate_up)
        gate_out, up_out = out.chunk(2, -1)
        sigmoid = gate.sigmoid()
        silu = gate * sigmoid
        torch.mul(grad, silu, out=up_out)
        # d silu / d gate = sigmoid (1 + gate (1 - sigmoid)) = sigmoid + silu - silu sigmoid
        torch.addcmul(sigmoid + silu, silu, sigmoid, value=-1, out=gate_out).mul_(grad).mul_(up)
        return out
