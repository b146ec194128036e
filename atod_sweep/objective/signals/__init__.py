"""Distillation signals: what pulls the student towards the teacher, one file each, and the table of them.

A signal compares either whole next-token distributions (`Divergence`: a loss per token, which is differentiated) or the
log-probs of the sampled tokens (`Push`: an advantage per token, for a clipped policy gradient), or it imitates what the
teacher would have said instead (`Imitation`: a loss per token of that). To add one: its record
in `config/signals.py`, a file here, and a line in `SIGNALS`. A record that is `OverVocabulary` gets the distributions
scored; its own numbers arrive by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from atod_sweep.config.kinds import one_each
from atod_sweep.config.signals import Distill, OverVocabulary
from atod_sweep.objective.signals.custom import custom_signal
from atod_sweep.objective.signals.forward_kl import forward_kl
from atod_sweep.objective.signals.jsd import jsd
from atod_sweep.objective.signals.relabel import relabel
from atod_sweep.objective.signals.reverse_kl import reverse_kl
from atod_sweep.objective.signals.sampled_reverse_kl import sampled_reverse_kl


@dataclass(frozen=True)
class Divergence:
    """`loss(student_logp_NV, teacher_logp_NV, numbers by name)` gives loss_N, with a gradient by the student's."""

    loss: Callable[..., Tensor]


@dataclass(frozen=True)
class Push:
    """`advantage(student_logp_N, teacher_logp_N, numbers by name)` of the sampled tokens, without a gradient."""

    advantage: Callable[..., Tensor]


@dataclass(frozen=True)
class Imitation:
    """`loss(student_logp_N)` of the tokens of actions that the teacher took in the student's place, with a gradient."""

    loss: Callable[[Tensor], Tensor]


SIGNALS: dict[str, Divergence | Push | Imitation] = one_each(
    Distill,
    {
        "sampled_reverse_kl": Push(sampled_reverse_kl),
        "forward_kl": Divergence(forward_kl),
        "reverse_kl": Divergence(reverse_kl),
        "jsd": Divergence(jsd),
        "custom": Divergence(custom_signal),
        "relabel": Imitation(relabel),
    },
)

_OTHERWISE = {"kind", *OverVocabulary.model_fields}


def numbers(config: Distill) -> dict[str, Any]:
    """The numbers of a signal of its own, by name.

    >>> from atod_sweep.config.signals import JSD
    >>> numbers(JSD(beta=0.3, top_k=20))
    {'beta': 0.3}
    """
    return config.model_dump(mode="json", exclude=_OTHERWISE)
