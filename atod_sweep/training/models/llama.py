"""Compact models of Llama's kind, rearranged so that a pass costs a fraction of the module calls and memory traffic.

That is Llama itself, Mistral, Qwen2 (whose queries, keys and values have biases) and Qwen3 (whose queries and keys are
normed), with as many keys and values as queries or fewer, which groups of queries share.

What changes and why the function stays the same:
- the query, key and value projections read one input, so they are one product; so are the gate and up projections;
- the rows of the query and key projections are permuted alike, which leaves their dot products unchanged, so that the
  pairs that the rotary embedding rotates are adjacent: rotating them is one complex product;
- before the first block's attention nothing depends on more than the word: of few words, each is projected once;
- after the last block's attention nothing looks at other positions any more: only the wanted ones go on.

`llama_inference` folds more into the weights, for passes without gradients; `llama_learning` is the student's update.
Tests compare both with `transformers`.

Shapes: _B rows, _T or _L tokens per row, _M = B * T positions, _N wanted positions, _C model width, _H heads of
queries, _G heads of keys and of values, _D head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

COMPACT_PARAMETERS = 30_000_000  # above this, a second copy of the weights costs more than the calls it saves
TABLE_UP_TO = 1024  # words
KIND = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)


def is_compact(model: Any) -> bool:
    """Whether `model` is compact and of Llama's kind: others take the general path, through `transformers`."""
    if type(model) not in KIND or sum(p.numel() for p in model.parameters()) > COMPACT_PARAMETERS:
        return False
    config, biased = model.config, ("q_proj", "k_proj", "v_proj")
    projections = [(name.rpartition(".")[2], m) for name, m in model.named_modules() if name.endswith("_proj")]
    return (
        (config.rope_parameters or {}).get("rope_type", "default") == "default"
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and (type(model) is not MistralForCausalLM or config.sliding_window is None)
        and config.hidden_act == "silu"
        # Adapters and quantised weights come as other kinds of layers.
        and all(type(m) is torch.nn.Linear for _, m in projections)
        and len({m.bias is None for name, m in projections if name in biased}) == 1
        and all(m.bias is None for name, m in projections if name not in biased)
    )


def can_fold(model: Any) -> bool:
    """Whether `model` is compact, in float32 or, on a CPU, in bfloat16 (a GPU's kernels for that are good)."""
    return is_compact(model) and (
        model.dtype == torch.float32 or (model.dtype == torch.bfloat16 and model.device.type == "cpu")
    )


@dataclass(frozen=True)
class Heads:
    """How many there are of queries, and of keys and of values each; how wide each is."""

    queries: int
    shared: int
    dim: int

    @staticmethod
    def of(config: Any) -> Heads:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return Heads(config.num_attention_heads, config.num_key_value_heads, width)

    @property
    def inner(self) -> int:
        """Width of all queries of a position, side by side."""
        return self.queries * self.dim

    @property
    def grouped(self) -> bool:
        """Whether several queries share a key."""
        return self.shared < self.queries


@dataclass(frozen=True)
class Merged:
    """Weights of a layer: (H + 2 G) D x C of query, key and value, rotary pairs adjacent, and 2 I x C of gate and up.

    `bias` is that of query, key and value; `scale` (H + G) x D that of the norms of query and key. None: there is none.
    """

    qkv: Tensor
    gate_up: Tensor
    bias: Tensor | None
    scale: Tensor | None

    @staticmethod
    def of(layer: Any, heads: Heads) -> Merged:

        def paired(rows: Tensor) -> Tensor:
            by_half = rows.view(-1, 2, heads.dim // 2, *rows.shape[1:])
            return by_half.transpose(1, 2).reshape(rows.shape)

        own, mlp = layer.self_attn, layer.mlp
        q, k, v = own.q_proj, own.k_proj, own.v_proj
        bias, scale = None, None
        if q.bias is not None:
            bias = torch.cat([paired(q.bias), paired(k.bias), v.bias])
        if hasattr(own, "q_norm"):
            each = ((own.q_norm, heads.queries), (own.k_norm, heads.shared))
            scale = torch.cat([paired(norm.weight).expand(count, -1) for norm, count in each])
        qkv = torch.cat([paired(q.weight), paired(k.weight), v.weight])
        return Merged(qkv, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]), bias, scale)


def rotary(model: Any, length: int) -> Tensor:
    """exp(i angle), the factors of the rotary embedding, length x D / 2."""
    frequency = model.model.rotary_emb.inv_freq.float()
    angle = torch.arange(length, device=frequency.device)[:, None] * frequency
    return torch.polar(torch.ones_like(angle), angle)


def are_few(index_N: Tensor, ids_BT: Tensor) -> bool:
    """Whether so few positions are wanted that the last block's attention pays for putting them together."""
    return 2 * len(index_N) < ids_BT.numel()


def has_few_words(model: Any) -> bool:
    """Whether the first block's projections, which depend on the word alone, are worth a row per word."""
    return bool(model.config.vocab_size <= TABLE_UP_TO)


def pairs(x: Tensor) -> Tensor:
    """Adjacent pairs of the last dimension as complex numbers; a view."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def inverse_rms(x: Tensor, eps: Tensor) -> Tensor:
    """1 / sqrt(mean of squares + eps) over the last dimension, which is kept; `eps` is a scalar tensor."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(eps, norm, norm, value=1 / x.shape[-1]).rsqrt_()


def attention(
    q_BHQD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask: Tensor | None, scale: float | None = None
) -> Tensor:
    """Attended values, B x H x Q x D; without a mask, each query sees the keys up to its own place.

    Only a CPU's kernel lets queries share keys in float32.
    """
    heads, shared = q_BHQD.shape[1], k_BGTD.shape[1]
    if shared < heads and q_BHQD.device.type != "cpu":
        k_BGTD, v_BGTD = (x.repeat_interleave(heads // shared, 1) for x in (k_BGTD, v_BGTD))
    how: dict[str, Any] = {"attn_mask": mask, "is_causal": mask is None, "scale": scale}
    return F.scaled_dot_product_attention(q_BHQD, k_BGTD, v_BGTD, enable_gqa=k_BGTD.shape[1] < heads, **how)


@dataclass(frozen=True)
class Wanted:
    """Wanted positions of B x T, put side by side row by row: the only queries of the last block's attention.

    _Q is the largest number of wanted positions in a row.
    """

    column_N: Tensor
    place_N: Tensor  # where each stands in B x Q, flattened
    visible_BQT: Tensor  # the keys that each may see; those that fill up short rows see the first one

    @staticmethod
    def of(index_N: Tensor, rows: int, length: int) -> Wanted:
        """From flat positions in B x T, in any order."""
        device = index_N.device
        row_N, column_N = index_N.div(length, rounding_mode="floor"), index_N % length
        count_B = row_N.bincount(minlength=rows)
        width = max(1, int(count_B.max()))
        skipped_B = torch.arange(rows, device=device) * width - (count_B.cumsum(0) - count_B)
        place_N = torch.empty_like(index_N)
        place_N[row_N.argsort(stable=True)] = torch.arange(len(index_N), device=device) + skipped_B.repeat_interleave(
            count_B
        )
        column_BQ = index_N.new_zeros(rows * width).index_copy_(0, place_N, column_N).view(rows, width)
        return Wanted(column_N, place_N, torch.arange(length, device=device) <= column_BQ[..., None])

    def queries(self, q_NHD: Tensor) -> Tensor:
        """Queries of the wanted positions as B x H x Q x D; zeros fill up short rows."""
        rows, width, _ = self.visible_BQT.shape
        q_PHD = q_NHD.new_zeros(rows * width, *q_NHD.shape[1:]).index_copy(0, self.place_N, q_NHD)
        return q_PHD.view(rows, width, *q_NHD.shape[1:]).transpose(1, 2)

    def attended(self, a_BHQD: Tensor) -> Tensor:
        """Values attended by these queries, N x (H D)."""
        return a_BHQD.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, self.place_N)
