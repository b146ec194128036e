"""Logits of a batch, [tokens, vocabulary], are made portion by portion where they would be large.

Where they are not, a batch is its only portion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy

# Sums over the tokens of a batch, by name, of what the policy says there.
Sums = Callable[[Output, TokenBatch], dict[str, Tensor]]


def portions(policy: Policy, batch: TokenBatch) -> Iterator[tuple[Output, TokenBatch]]:
    """What the policy says of a batch, and the tokens that it says it of. For passes without gradients."""
    if batch.tokens <= policy.at_once:
        yield policy(batch.ids_ST, batch.index_N), batch
        return
    silent = policy(batch.ids_ST, batch.index_N, silent=True)
    for rows in _slices(batch.tokens, policy.at_once):
        yield silent.said(policy, rows), batch.tokens_at(rows)


def summed(sums: Sums, policy: Policy, wrapped: Any, batch: TokenBatch) -> dict[str, Tensor]:
    """`sums` of a batch, with gradients; `wrapped` is the policy as the optimiser's library wants it called.

    Logits of a portion are made again when its gradient is, so that those of no two portions are there at a time.
    """
    if batch.tokens <= policy.at_once:
        return sums(wrapped(batch.ids_ST, batch.index_N), batch)
    silent = wrapped(batch.ids_ST, batch.index_N, silent=True)

    def of(rows: slice, hidden_NC: Tensor) -> dict[str, Tensor]:
        return sums(Output(policy.logits(hidden_NC[rows]), silent.value_at(rows), None), batch.tokens_at(rows))

    total: dict[str, Tensor] = {}
    for rows in _slices(batch.tokens, policy.at_once):
        found = checkpoint(of, rows, silent.hidden_NC, use_reentrant=False, preserve_rng_state=False)
        total = {name: total[name] + value if total else value for name, value in found.items()}
    return total


def _slices(tokens: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, tokens, size))
