"""The student's update on a compact model: `transformers`' function and gradient, in a few autograd steps per block.

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
    Heads,
    Merged,
    Wanted,
    are_few,
    attention,
    has_few_words,
    inverse_rms,
    pairs,
    rotary,
)


def hidden_at(model: Any, ids_BT: Tensor, index_N: Tensor) -> Tensor:
    """Last hidden states (N, C), after the final norm, at flat positions of right-padded rows."""
    config, body = model.config, model.model
    embed, heads = body.embed_tokens, Heads.of(config)
    all_heads, keys_and_values = (heads.queries, heads.shared, heads.shared), (heads.shared, heads.shared)
    eps = torch.full((), config.rms_norm_eps, device=ids_BT.device)
    rotary_TD = rotary(model, ids_BT.shape[1])
    ids_M = ids_BT.flatten()
    x_MC = F.embedding(ids_M, embed.weight, embed.padding_idx)
    for layer in body.layers:
        weights = Merged.of(layer, heads)
        qkv_weight, bias, scale = weights.qkv, weights.bias, weights.scale
        scale_C = layer.input_layernorm.weight
        is_last = layer is body.layers[-1]
        if is_last and are_few(index_N, ids_BT):
            wanted = Wanted.of(index_N, *ids_BT.shape)
            q_part, kv_part = slice(heads.inner), slice(heads.inner, None)
            kv = _Project.apply(x_MC, scale_C, qkv_weight[kv_part], None if bias is None else bias[kv_part], eps)
            k_scale = None if scale is None else scale[heads.queries :]
            k, v = _Rotate.apply(kv, rotary_TD, keys_and_values, heads.shared, k_scale, eps)
            x_MC = x_MC.index_select(0, index_N)
            q = _Project.apply(x_MC, scale_C, qkv_weight[q_part], None if bias is None else bias[q_part], eps)
            q_scale = None if scale is None else scale[: heads.queries]
            there = rotary_TD[wanted.column_N]
            (q_1HND,) = _Rotate.apply(q, there, (heads.queries,), heads.queries, q_scale, eps)
            q = wanted.queries(q_1HND.transpose(1, 2).flatten(0, 1))
            a_MC = wanted.attended(attention(q, k, v, wanted.visible_BQT[:, None]))
        else:
            if layer is body.layers[0] and has_few_words(model) and 2 * len(embed.weight) <= len(ids_M):
                words_V = torch.arange(len(embed.weight), device=ids_M.device)
                word_VC = F.embedding(words_V, embed.weight, embed.padding_idx)
                qkv = F.embedding(ids_M, _Project.apply(word_VC, scale_C, qkv_weight, bias, eps))
            else:
                qkv = _Project.apply(x_MC, scale_C, qkv_weight, bias, eps)
            q, k, v = _Rotate.apply(qkv, rotary_TD, all_heads, heads.queries + heads.shared, scale, eps)
            a_MC = attention(q, k, v, None).transpose(1, 2).flatten(2).flatten(0, 1)
            if is_last:
                x_MC, a_MC = x_MC.index_select(0, index_N), a_MC.index_select(0, index_N)
        x_MC = _Leave.apply(
            x_MC,
            a_MC,
            layer.self_attn.o_proj.weight,
            layer.post_attention_layernorm.weight,
            weights.gate_up,
            layer.mlp.down_proj.weight,
            eps,
        )
    return _Norm.apply(x_MC, body.norm.weight, eps)


class _Project(torch.autograd.Function):
    """From the residual stream to queries, keys and values side by side: norm and projection."""

    @staticmethod
    def forward(ctx: Any, x_MC: Tensor, scale_C: Tensor, weight: Tensor, bias: Tensor | None, eps: Tensor) -> Tensor:
        r_M1 = inverse_rms(x_MC, eps)
        n_MC = x_MC * r_M1
        folded = weight * scale_C
        ctx.save_for_backward(n_MC, r_M1, scale_C, weight, folded)
        return n_MC @ folded.T if bias is None else torch.addmm(bias, n_MC, folded.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dqkv: Tensor) -> tuple[Tensor | None, ...]:
        n_MC, r_M1, scale_C, weight, folded = ctx.saved_tensors
        dfolded = dqkv.T @ n_MC
        dx_MC = _through_norm(dqkv @ folded, n_MC, r_M1)
        dbias = dqkv.sum(0) if ctx.needs_input_grad[3] else None
        return dx_MC, (dfolded * weight).sum(0), dfolded * scale_C, dbias, None


class _Rotate(torch.autograd.Function):
    """From so many `heads` of some kinds (queries, keys, values), side by side, to each kind, B x H x T x D.

    The first `turned` heads are normed, if there is a `scale` (turned x D), and rotated: in place, so give it what
    nobody else needs.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, rotary_TD: Tensor, heads: tuple[int, ...], turned: int, scale: Tensor | None, eps: Tensor
    ) -> tuple[Tensor, ...]:
        by_head = _by_head(qkv, rotary_TD, sum(heads))
        x = by_head[:, :turned]
        if scale is None:
            ctx.save_for_backward(rotary_TD)
        else:
            r = inverse_rms(x, eps)
            n = x * r
            torch.mul(n, scale[:, None], out=x)
            ctx.save_for_backward(rotary_TD, n, r, scale)
        pairs(x).mul_(rotary_TD)
        ctx.heads, ctx.turned, ctx.shape = heads, turned, qkv.shape
        return by_head.split(heads, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rotary_TD, *normed = ctx.saved_tensors
        dqkv = gradients[0].new_empty(ctx.shape)
        by_head = _by_head(dqkv, rotary_TD, sum(ctx.heads))
        for kind, gradient in zip(by_head.split(ctx.heads, 1), gradients, strict=True):
            kind.copy_(gradient)
        dx, dscale = by_head[:, : ctx.turned], None
        pairs(dx).mul_(rotary_TD.conj_physical())  # a rotation's transpose is its inverse
        if normed:
            n, r, scale = normed
            dscale = (dx * n).sum((0, 2))
            dx.copy_(_through_norm(dx * scale[:, None], n, r))
        return dqkv, None, None, None, dscale, None


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
        return (dx_MC, dx_MC @ out, dx_MC.T @ a_MC, (dfolded * weight).sum(0), dfolded * scale_C, dy_MC.T @ m_MI, None)


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


def _through_norm(dn: Tensor, n: Tensor, r: Tensor) -> Tensor:
    """Gradient by x of n = x r(x): r (dn - n mean(dn n)), over the last dimension."""
    mean = torch.linalg.vecdot(dn, n).mul_(1 / n.shape[-1])[..., None]
    return torch.addcmul(dn, n, mean, value=-1).mul_(r)


def _by_head(qkv: Tensor, rotary_TD: Tensor, heads: int) -> Tensor:
    """M x (heads D) seen as B x heads x T x D."""
    length, half = rotary_TD.shape
    return qkv.view(len(qkv) // max(1, length), length, heads, 2 * half).transpose(1, 2)
