"""KL penalties against the frozen initial student, and the table of them.

Estimators of KL(p || p_ref) take the log-probs of tokens sampled from p; the full one takes distributions. Shapes: _N
generated tokens, _V vocabulary. To add one: its record in `config/objective.py`, a function, a line in `PENALTIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from atod_sweep.config.kinds import one_each
from atod_sweep.config.penalties import KLPenalty
from atod_sweep.objective.distributions import FLOOR
from atod_sweep.objective.signals.reverse_kl import reverse_kl


def k1(logp_N: Tensor, ref_logp_N: Tensor) -> Tensor:
    """log p - log p_ref: unbiased, of either sign.

    >>> [round(x, 6) for x in k1(*_TWICE_AND_HALF).tolist()]
    [0.693147, -0.693147]
    """
    return logp_N - ref_logp_N.detach().clamp_min(FLOOR)


def k2(logp_N: Tensor, ref_logp_N: Tensor) -> Tensor:
    """(log p - log p_ref)^2 / 2: biased, but its gradient is that of the KL in expectation.

    >>> [round(x, 6) for x in k2(*_TWICE_AND_HALF).tolist()]
    [0.240227, 0.240227]
    """
    return k1(logp_N, ref_logp_N).square() / 2.0


def k3(logp_N: Tensor, ref_logp_N: Tensor) -> Tensor:
    """exp(d) - 1 - d with d = log p_ref - log p: unbiased and never negative.

    >>> [round(x, 6) for x in k3(*_TWICE_AND_HALF).tolist()]
    [0.193147, 0.306853]
    """
    d_N = -k1(logp_N, ref_logp_N)
    return torch.expm1(d_N) - d_N


_TWICE_AND_HALF = torch.tensor([0.5, 0.25]).log(), torch.tensor([0.25, 0.5]).log()  # p = 2 p_ref, p = p_ref / 2


@dataclass(frozen=True)
class Penalty:
    """`term(logp, ref_logp)` per token: of the sampled tokens, or, with `over_vocabulary`, of whole distributions."""

    term: Callable[[Tensor, Tensor], Tensor]
    over_vocabulary: bool


PENALTIES: dict[str, Penalty | None] = one_each(
    KLPenalty,
    {
        "none": None,
        "k1": Penalty(k1, over_vocabulary=False),
        "k2": Penalty(k2, over_vocabulary=False),
        "k3": Penalty(k3, over_vocabulary=False),
        "full": Penalty(reverse_kl, over_vocabulary=True),
    },
)
