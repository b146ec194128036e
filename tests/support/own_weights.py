"""Weights of tokens that a user might write, for tests of `kind: custom` turn profiles and signals."""

import torch


def turn_mean(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT):
    """Every turn counts the same, however long it is; the mean over the tokens of an episode is 1."""
    mask_BT = mask_BT.bool()
    turn_BT = turn_BT.long().masked_fill(~mask_BT, 0)
    count_BK = torch.zeros(len(mask_BT), int(turn_BT.max()) + 1).scatter_add_(1, turn_BT, mask_BT.float())
    share_B1 = mask_BT.sum(1, keepdim=True) / (count_BK > 0).sum(1, keepdim=True).clamp(min=1)
    return (share_B1 / count_BK.gather(1, turn_BT).clamp(min=1)).masked_fill(~mask_BT, 0.0)


def one_number(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT):
    return 1.0


def negative(student_logp_BT, teacher_logp_BT, turn_BT, mask_BT):
    return student_logp_BT


def total_variation(student_logp_NV, teacher_logp_NV):
    """Half the sum of absolute differences of the probabilities."""
    return (student_logp_NV.exp() - teacher_logp_NV.exp()).abs().sum(-1) / 2


def without_gradient(student_logp_NV, teacher_logp_NV):
    return -teacher_logp_NV.mean(-1)


def one_loss(student_logp_NV, teacher_logp_NV):
    return (student_logp_NV - teacher_logp_NV).square().mean()


def not_finite(student_logp_NV, teacher_logp_NV):
    return (student_logp_NV.exp() - student_logp_NV.exp()).sqrt().sum(-1)


def infinite(student_logp_NV, teacher_logp_NV):
    return 1.0 / (student_logp_NV.detach() - student_logp_NV).sum(-1)
