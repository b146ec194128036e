"""The student's update on a compact Llama: `transformers`' function and gradient, in a few autograd steps per block.

Written out by hand because autograd keeps and sweeps many more activations than the gradient needs: norm scales are
folded into the projections behind them (the gradients of both follow from that of their product), residuals are added
by the products that feed them, and each elementwise pass over a gradient is made once. Incoming gradients are not
written to: several losses may be differentiated on one graph.

Shapes: see `llama`; _I is the width of the MLP.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from atod_sweep.training.models.llama import (
    Wanted,
    are_few,
    has_few_words,
    head_width,
    inverse_rms,
    merged,
    pairs,
    rotary,
)


def hidden_at(model: Any, ids_BT: Tensor, index_N: Tensor) -> Tensor:
    """Last hidden states (N, C), after the final norm, at flat positions of right-padded rows."""
    config, body = model.config, model.model
    embed, dim = body.embed_tokens, head_width(config)
    eps = torch.full((), config.rms_norm_eps, device=ids_BT.device)
    rotary_TD = rotary(model, ids_BT.shape[1])
    ids_M = ids_BT.flatten()
    x_MC = F.embedding(ids_M, embed.weight, embed.padding_idx)
    for layer in body.layers:
        qkv_weight, gate_up_weight = merged(layer, dim)
        scale_C = layer.input_layernorm.weight
        is_last = layer is body.layers[-1]
        if is_last and are_few(index_N, ids_BT):
            wanted = Wanted.of(index_N, *ids_BT.shape)
            inner = len(qkv_weight) // 3
            kv = _Project.apply(x_MC, scale_C, qkv_weight[inner:], eps)
            k, v = _Rotate.apply(kv, rotary_TD, "kv")
            x_MC = x_MC.index_select(0, index_N)
            q = _Project.apply(x_MC, scale_C, qkv_weight[:inner], eps)
            (q_1HND,) = _Rotate.apply(q, rotary_TD[wanted.column_N], "q")
            q = wanted.queries(q_1HND.transpose(1, 2).flatten(0, 1))
            mask = wanted.visible_BQT[:, None]
            a_MC = wanted.attended(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        else:
            if layer is body.layers[0] and has_few_words(model) and 2 * len(embed.weight) <= len(ids_M):
                words_V = torch.arange(len(embed.weight), device=ids_M.device)
                word_VC = F.embedding(words_V, embed.weight, embed.padding_idx)
                qkv = F.embedding(ids_M, _Project.apply(word_VC, scale_C, qkv_weight, eps))
            else:
                qkv = _Project.apply(x_MC, scale_C, qkv_weight, eps)
            q, k, v = _Rotate.apply(qkv, rotary_TD, "qkv")
            a_MC = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2).flatten(0, 1)
            if is_last:
                x_MC, a_MC = x_MC.index_select(0, index_N), a_MC.index_select(0, index_N)
        x_MC = _Leave.apply(
            x_MC,
            a_MC,
            layer.self_attn.o_proj.weight,
            layer.post_attention_layernorm.weight,
            gate_up_weight,
            layer.mlp.down_proj.weight,
            eps,
        )
    return _Norm.apply(x_MC, body.norm.weight, eps)


class _Project(torch.autograd.Function):
    """From the residual stream to queries, keys and values side by side: norm and projection."""

    @staticmethod
    def forward(ctx: Any, x_MC: Tensor, scale_C: Tensor, weight: Tensor, eps: Tensor) -> Tensor:
        r_M1 = inverse_rms(x_MC, eps)
        n_MC = x_MC * r_M1
        folded = weight * scale_C
        ctx.save_for_backward(n_MC, r_M1, scale_C, weight, folded)
        return n_MC @ folded.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dqkv: Tensor) -> tuple[Tensor | None, ...]:
        n_MC, r_M1, scale_C, weight, folded = ctx.saved_tensors
        dfolded = dqkv.T @ n_MC
        dx_MC = _through_norm(dqkv @ folded, n_MC, r_M1)
        return dx_MC, (dfolded * weight).sum(0), dfolded * scale_C, None


class _Rotate(torch.autograd.Function):
    """From some `kinds` of queries, keys and values side by side to each of them, B x H x T x D.

    Rotates what it is given in place, so give it what nobody else needs.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, rotary_TD: Tensor, kinds: str) -> tuple[Tensor, ...]:
        by_kind = _by_kind(qkv, rotary_TD, kinds)
        pairs(_rotated(by_kind, kinds)).mul_(rotary_TD)
        ctx.save_for_backward(rotary_TD)
        ctx.kinds, ctx.shape = kinds, qkv.shape
        return by_kind.unbind(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (rotary_TD,) = ctx.saved_tensors
        dqkv = gradients[0].new_empty(ctx.shape)
        by_kind = _by_kind(dqkv, rotary_TD, ctx.kinds)
        for kind, gradient in zip(by_kind, gradients, strict=True):
            kind.copy_(gradient)
        pairs(_rotated(by_kind, ctx.kinds)).mul_(rotary_TD.conj_physical())  # a rotation's transpose is its inverse
        return dqkv, None, None


class _Leave(torch.autograd.Function):
    """From the residual stream and the attended values to the residual stream after the MLP."""

    @staticmethod
    def forward(
        ctx: Any, x_MC: Tensor, a_MC: Tensor, out: Tensor, scale_C: Tensor, weight: Tensor, down: Tensor, eps: Tensor
    ) -> Tensor:
        x_MC = torch.addmm(x_MC, a_MC, out.T)
        r_M1 = inverse_rms(x_MC, eps)
        n_MC = x_MC * r_M1
        folded = weight * scale_C
        gate_up = n_MC @ folded.T
        gate_MI, up_MI = gate_up.chunk(2, 1)
        s_MI = F.silu(gate_MI)
        m_MI = s_MI * up_MI
        ctx.save_for_backward(a_MC, out, n_MC, r_M1, scale_C, weight, folded, gate_up, s_MI, m_MI, down)
        return torch.addmm(x_MC, m_MI, down.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_MC: Tensor) -> tuple[Tensor | None, ...]:
        a_MC, out, n_MC, r_M1, scale_C, weight, folded, gate_up, s_MI, m_MI, down = ctx.saved_tensors
        gate_MI, up_MI = gate_up.chunk(2, 1)
        dm_MI = dy_MC @ down
        dgate_up = torch.empty_like(gate_up)
        dgate_MI, dup_MI = dgate_up.chunk(2, 1)
        torch.mul(dm_MI, s_MI, out=dup_MI)
        torch.ops.aten.silu_backward.grad_input(dm_MI.mul_(up_MI), gate_MI, grad_input=dgate_MI)
        dfolded = dgate_up.T @ n_MC
        dx_MC = _through_norm(dgate_up @ folded, n_MC, r_M1).add_(dy_MC)
        return (
            dx_MC,
            dx_MC @ out,
            dx_MC.T @ a_MC,
            (dfolded * weight).sum(0),
            dfolded * scale_C,
            dy_MC.T @ m_MI,
            None,
        )


class _Norm(torch.autograd.Function):
    """The final norm, its scale included."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, scale_C: Tensor, eps: Tensor) -> Tensor:
        r_N1 = inverse_rms(x_NC, eps)
        n_NC = x_NC * r_N1
        ctx.save_for_backward(n_NC, r_N1, scale_C)
        return n_NC * scale_C

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_NC: Tensor) -> tuple[Tensor | None, ...]:
        n_NC, r_N1, scale_C = ctx.saved_tensors
        return _through_norm(dy_NC * scale_C, n_NC, r_N1), (dy_NC * n_NC).sum(0), None


def _through_norm(dn_MC: Tensor, n_MC: Tensor, r_M1: Tensor) -> Tensor:
    """Gradient by x of n = x r(x): r (dn - n mean(dn n))."""
    mean_M1 = torch.linalg.vecdot(dn_MC, n_MC).mul_(1 / n_MC.shape[1])[:, None]
    return torch.addcmul(dn_MC, n_MC, mean_M1, value=-1).mul_(r_M1)


def _by_kind(qkv: Tensor, rotary_TD: Tensor, kinds: str) -> Tensor:
    """M x (kinds H D) seen as kinds x B x H x T x D."""
    length, half = rotary_TD.shape
    rows, heads = len(qkv) // max(1, length), qkv.shape[1] // (len(kinds) * 2 * half)
    return qkv.view(rows, length, len(kinds), heads, 2 * half).permute(2, 0, 3, 1, 4)


def _rotated(by_kind: Tensor, kinds: str) -> Tensor:
    """Queries and keys; values are not rotated."""
    return by_kind[: len(kinds) - kinds.count("v")]
