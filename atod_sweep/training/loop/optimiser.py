"""AdamW, at a rate that follows the config, on weights precise enough to move.

A weight in bfloat16 has 8 bits: an update below half of its last one rounds away, and at usual rates most are. So such
weights have a master in float32 each: gradients are added up and applied there, and the weight is its rounded copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, assert_never

import torch
from torch import Tensor

from atod_sweep.config.train import Optimiser


class MasterAdamW(torch.optim.AdamW):
    """AdamW on float32 masters of those `parameters` that have less, and on the others themselves."""

    def __init__(self, parameters: Iterable[Tensor], **settings: Any) -> None:
        trained = list(parameters)
        self.rounded = [p for p in trained if p.dtype.itemsize < 4]
        masters = {id(p): torch.nn.Parameter(p.detach().float()) for p in self.rounded}
        self.masters = list(masters.values())
        super().__init__([masters.get(id(p), p) for p in trained], **settings)

    @torch.no_grad()
    def collect(self) -> None:
        """Move the gradients of rounded weights to their masters, added to what is there."""
        for weight, master in zip(self.rounded, self.masters, strict=True):
            if weight.grad is not None:
                more = weight.grad.float()
                master.grad = more if master.grad is None else master.grad.add_(more)
                weight.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for weight, master in zip(self.rounded, self.masters, strict=True):
            weight.copy_(master)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for weight in self.rounded:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """AdamW's, and the masters."""
        kept = {"masters": [master.detach() for master in self.masters]} if self.masters else {}
        return super().state_dict() | kept

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse. Of a checkpoint without masters, the weights as they are now become them."""
        super().load_state_dict(state_dict)
        for master, saved in zip(self.masters, state_dict.get("masters", self.rounded), strict=True):
            master.copy_(saved)


def adamw(config: Optimiser, parameters: Iterable[Tensor]) -> MasterAdamW:
    return MasterAdamW(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def rate(config: Optimiser, step: int, steps: int) -> float:
    """Learning rate of optimiser step `step` of `steps`: a linear warm-up, then the decay, which would reach 0 at the
    step behind the last."""
    warmup = config.warmup_steps
    warm = config.lr * min(1.0, (step + 1) / warmup if warmup else 1.0)
    done = min(1.0, max(0.0, (step - warmup) / max(1, steps - warmup)))
    match config.decay:
        case "constant":
            return warm
        case "linear":
            return warm * (1.0 - done)
        case "cosine":
            return warm * (1.0 + math.cos(math.pi * done)) / 2.0
        case _:
            assert_never(config.decay)
