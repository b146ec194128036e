"""A compact model for passes without gradients: a snapshot with everything constant folded into the weights.

Norm scales and the attention scale are part of the projections behind them (the latter of the norms of queries, where
there are any). Fold again after an update.

A bfloat16 model multiplies matrices in bfloat16, which is where the time goes; residual stream, norms, rotations and
the head stay in float32, which costs next to nothing and keeps log-probabilities nearer to those of float32.

Shapes: see `llama`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from atod_sweep.training.models import llama
from atod_sweep.training.models.llama import Heads, Merged, Wanted, are_few, has_few_words, inverse_rms, pairs, rotary

# (layer, queries B x L x H x D, keys and values 2 x B x L x G x D) -> attended values, M x (H D).
# Where few positions go on, the last layer's queries and attended values are theirs alone: N x H x D, N x (H D).
Attend = Callable[[int, Tensor, Tensor], Tensor]


PRODUCTS_UP_TO = 512  # tokens per row; measured: 0.6 times the fused kernel's cost at 96 and at 250
CAUSAL_PARTS = 3  # of a row's queries, each multiplied with no later part's keys; measured: the best of 1 to 4


LEAST = 4  # rows of a product; measured: from there on, each row's bits are its own


class _Layer(NamedTuple):
    qkv: Tensor
    bias: Tensor | None
    scale: Tensor | None
    out: Tensor
    gate_up: Tensor
    down: Tensor


class FoldedLlama:
    """An inference-only snapshot of a compact model, with logits of the first `words` ids; None: of all."""

    @torch.no_grad()
    def __init__(self, model: Any, words: int | None = None) -> None:
        config, body = model.config, model.model
        self.heads = heads = Heads.of(config)
        self.model, self.dtype = model, model.dtype
        self.embedding = body.embed_tokens.weight
        self.eps = torch.tensor(config.rms_norm_eps, device=self.embedding.device)
        self._rotary = rotary(model, 64)
        self.layers = []
        for layer in body.layers:
            found = Merged.of(layer, heads)
            qkv, gate_up = found.qkv.float(), found.gate_up.float()
            bias, scale = (None if x is None else x.float() for x in (found.bias, found.scale))
            if scale is not None:  # which leaves nothing of what came before
                scale[: heads.queries] *= heads.dim**-0.5
            else:
                qkv[: heads.inner] *= heads.dim**-0.5
            if scale is None and bias is not None:
                bias[: heads.inner] *= heads.dim**-0.5
            qkv *= layer.input_layernorm.weight
            gate_up *= layer.post_attention_layernorm.weight
            weights = (qkv, layer.self_attn.o_proj.weight, gate_up, layer.mlp.down_proj.weight)
            qkv, out, gate_up, down = (weight.to(self.dtype) for weight in weights)
            self.layers.append(_Layer(qkv, None if bias is None else bias.to(self.dtype), scale, out, gate_up, down))
        # What every word gives the first block's attention, V x ((H + 2 G) D).
        self.first = None
        if has_few_words(model):
            self.first = times(self._normed(self.embedding.float()), self.layers[0].qkv, self.layers[0].bias)
        head, bias = model.lm_head.weight[:words], model.lm_head.bias  # of the ids that the tokenizer has
        self.head, self.head_bias = head.float() * body.norm.weight, None if bias is None else bias[:words]

    def hidden(self, ids_BT: Tensor, index_N: Tensor) -> Tensor:
        """What the head reads (N, C) at flat positions of right-padded rows."""
        length = ids_BT.shape[1]
        in_products = self.dtype == torch.bfloat16 and length <= PRODUCTS_UP_TO
        attention = _attention_in_products if in_products else _attention

        def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
            k, v = kv.transpose(2, 3)
            if q.dim() == 3:
                wanted = Wanted.of(index_N, *ids_BT.shape)
                return wanted.attended(attention(wanted.queries(q), k, v, wanted.visible_BQT))
            return attention(q.transpose(1, 2), k, v, None).transpose(1, 2).flatten(2).flatten(0, 1)

        few = are_few(index_N, ids_BT)
        return self.run(ids_BT, self.rotary(length)[:length, None], attend, index_N, few)

    @torch.no_grad()
    def say(self, hidden_NC: Tensor) -> Tensor:
        """Logits (N, V)."""
        logits_NV = times(hidden_NC, self.head)
        return logits_NV if self.head_bias is None else logits_NV + self.head_bias

    @torch.no_grad()
    def run(self, ids_BL: Tensor, rotary: Tensor, attend: Attend, index_N: Tensor | None, few: bool) -> Tensor:
        """What the head reads at flat positions; None: at all of them. `rotary` broadcasts to (B, L, H, D / 2).

        `few`: in the last layer, only these positions have queries.
        """
        rows, length = ids_BL.shape
        own = self.heads
        inner, turned = own.inner, own.queries + own.shared

        def keys_and_values(heads: Tensor) -> Tensor:
            return heads.unflatten(2, (2, own.shared)).permute(2, 0, 1, 3, 4)

        ids_M = ids_BL.flatten()
        x_MC = F.embedding(ids_M, self.embedding).float()
        for i, (qkv, bias, scale, out, gate_up, down) in enumerate(self.layers):
            going_on = index_N if i == len(self.layers) - 1 else None
            if going_on is not None and few:
                n_MC = self._normed(x_MC)
                kv = times(n_MC, qkv[inner:], None if bias is None else bias[inner:]).view(rows, length, -1, own.dim)
                self._turn(kv[:, :, : own.shared], rotary, None if scale is None else scale[own.queries :])
                x_MC = x_MC.index_select(0, going_on)
                q = times(n_MC.index_select(0, going_on), qkv[:inner], None if bias is None else bias[:inner])
                q_NHD = q.view(-1, own.queries, own.dim)
                there = rotary.expand(rows, length, 1, -1)[going_on // length, going_on % length]
                self._turn(q_NHD, there, None if scale is None else scale[: own.queries])
                a_MC = attend(i, q_NHD, keys_and_values(kv))
            else:
                first = self.first if i == 0 else None
                side_by_side = times(self._normed(x_MC), qkv, bias) if first is None else F.embedding(ids_M, first)
                heads = side_by_side.view(rows, length, -1, own.dim)
                self._turn(heads[:, :, :turned], rotary, scale)
                a_MC = attend(i, heads[:, :, : own.queries], keys_and_values(heads[:, :, own.queries :]))
                if going_on is not None:
                    x_MC, a_MC = x_MC.index_select(0, going_on), a_MC.index_select(0, going_on)
            x_MC = self._plus(x_MC, a_MC, out)
            gate, up = self._gate_and_up(self._normed(x_MC), gate_up)
            x_MC = self._plus(x_MC, F.silu(gate).mul_(up), down)
        return x_MC * inverse_rms(x_MC, self.eps)

    def _normed(self, x: Tensor) -> Tensor:
        r = inverse_rms(x, self.eps)
        return x * r if self.dtype == x.dtype else torch.mul(x, r, out=x.new_empty(x.shape, dtype=self.dtype))

    def _turn(self, x: Tensor, rotary: Tensor, scale: Tensor | None) -> None:
        """Norm queries and keys, if they are to be, and rotate them: in place, in float32."""
        turned = x.float()
        if scale is not None:
            turned.mul_(inverse_rms(turned, self.eps)).mul_(scale)
        pairs(turned).mul_(rotary)
        if turned is not x:
            x.copy_(turned)

    def _gate_and_up(self, n: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self.dtype == torch.float32:
            gate, up = times(n, weight).chunk(2, 1)
            return gate, up
        gate, up = weight.chunk(2)  # in bfloat16, passes over strided halves cost more than a second product
        return times(n, gate), times(n, up)

    def _plus(self, x: Tensor, a: Tensor, weight: Tensor) -> Tensor:
        if self.dtype != torch.float32:
            return x.add_(times(a, weight))
        if len(x) >= LEAST:
            return x.addmm(a, weight.T)
        return enough(x).addmm(enough(a), weight.T)[: len(x)]

    def rotary(self, length: int) -> Tensor:
        """`llama.rotary` for at least `length` positions."""
        if len(self._rotary) < length:
            self._rotary = rotary(self.model, 2 * length)
        return self._rotary


def times(x_MC: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x_MC @ weight.T + bias`, whose rows do not depend on each other: of few, a CPU's kernels round otherwise."""
    rows = enough(x_MC)
    return (rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T))[: len(x_MC)]


def enough(x: Tensor) -> Tensor:
    """Rows of zeros behind very few."""
    return x if len(x) >= LEAST else F.pad(x, (0, 0) * (x.dim() - 1) + (0, LEAST - len(x)))


def _attention(q_BHQD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, visible_BQT: Tensor | None) -> Tensor:
    """Causal attention, unless it is said which keys each query sees."""
    mask = None if visible_BQT is None else visible_BQT[:, None]
    return llama.attention(q_BHQD, k_BGTD, v_BGTD, mask, scale=1.0)


def _attention_in_products(q_BHQD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, visible_BQT: Tensor | None) -> Tensor:
    """The same in plain products: a CPU's fused kernel is slow in bfloat16."""
    heads, length = q_BHQD.shape[1], k_BGTD.shape[2]
    if k_BGTD.shape[1] < heads:
        k_BGTD, v_BGTD = (x.repeat_interleave(heads // x.shape[1], 1) for x in (k_BGTD, v_BGTD))
    q, k, v = (x.flatten(0, 1) for x in (q_BHQD, k_BGTD, v_BGTD))
    if visible_BQT is not None:
        mask = q.new_zeros(visible_BQT.shape).masked_fill_(~visible_BQT, float("-inf"))
        return _attend_all(q, k, v, mask.repeat_interleave(heads, 0)).view(q_BHQD.shape)
    mask_TT = q.new_full((length, length), float("-inf")).triu_(1)
    step = -(-length // CAUSAL_PARTS)
    spans = [slice(start, start + step) for start in range(0, length, step)]
    parts = [_attend_all(q[:, s], k[:, : s.stop], v[:, : s.stop], mask_TT[s, : s.stop]) for s in spans]
    return torch.cat(parts, 1).view(q_BHQD.shape)


def _attend_all(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return torch.bmm(torch.baddbmm(mask, q, k.transpose(1, 2)).softmax(-1), v)
