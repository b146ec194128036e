"""The reverse KL from sampled tokens alone, as a policy gradient: what needs no distribution of the teacher's."""

from __future__ import annotations

from torch import Tensor


def sampled_reverse_kl(student_logp_N: Tensor, teacher_logp_N: Tensor) -> Tensor:
    """log p_T - log p_S of tokens that the student sampled, in nats: their advantage (arXiv 2606.27814).

    Its mean over samples is -KL(student || teacher), and the policy gradient on it is that of the KL.

    >>> import torch
    >>> student, teacher = torch.tensor([0.5, 0.25]).log(), torch.tensor([0.25, 0.5]).log()
    >>> [round(x, 6) for x in sampled_reverse_kl(student, teacher).tolist()]
    [-0.693147, 0.693147]
    """
    return teacher_logp_N - student_logp_N
