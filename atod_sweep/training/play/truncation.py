"""Sampling among the likelier tokens only, as `transformers` does: of evaluations and of what is watched.

Rollouts sample from the whole distribution, or the log-probs that they are learned by would be another policy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atod_sweep.config.train import Evaluation


@dataclass(frozen=True)
class Truncation:
    """`top_k` likeliest tokens; then as few as hold `top_p` of the probability; then those of at least `min_p` times
    the likeliest one's. None: no such limit."""

    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    @staticmethod
    def of(config: Evaluation) -> Truncation | None:
        """That of an evaluation; None if it samples from all tokens."""
        found = Truncation(config.top_k, config.top_p, config.min_p)
        return None if found == Truncation() else found

    def cut(self, logits_BV: Tensor, temperature: float) -> Tensor:
        """The logits, -inf for tokens that are not to be sampled at `temperature`."""
        if temperature == 0:
            return logits_BV
        scaled_BV = logits_BV / temperature
        if self.top_k is not None:
            least_B1 = scaled_BV.topk(min(self.top_k, scaled_BV.shape[1])).values[:, -1:]
            scaled_BV = scaled_BV.masked_fill(scaled_BV < least_B1, -torch.inf)
        if self.top_p is not None and self.top_p < 1:
            p_BV, order_BV = scaled_BV.softmax(-1).sort(descending=True, stable=True)
            beyond_BV = p_BV.cumsum(-1) - p_BV >= self.top_p
            beyond_BV[:, 0] = False
            scaled_BV = scaled_BV.masked_fill(beyond_BV.scatter(1, order_BV, beyond_BV), -torch.inf)
        if self.min_p is not None:
            p_BV = scaled_BV.softmax(-1)
            scaled_BV = scaled_BV.masked_fill(p_BV < self.min_p * p_BV.amax(-1, keepdim=True), -torch.inf)
        return logits_BV.masked_fill(scaled_BV == -torch.inf, -torch.inf)
