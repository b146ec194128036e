"""Ways in which a trial can end badly. Each has the status under which the ledger files it.

Those of the environment are `envs.failures`.
"""

from atod_sweep.records.status import Status


class TrialError(RuntimeError):
    """A trial could not go on, for the reason that `status` of each kind names."""

    status: Status


class Diverged(TrialError):
    """A loss, gradient, reward or the student's own probability became NaN or infinite."""

    status = Status.DIVERGED


class TeacherFailed(TrialError):
    """The teacher gave no usable probability for a token that the student sampled, or no usable answer."""

    status = Status.TEACHER_FAILED


class TeacherUnreachable(TrialError):
    """A teacher behind an API was away for longer than the config has patience; one that trials share is gone."""

    status = Status.TEACHER_UNREACHABLE


class ReferenceFailed(TrialError):
    """The frozen initial student gave no usable probability for a token that the student sampled."""

    status = Status.REFERENCE_FAILED


class RewardFailed(TrialError):
    """A reward function or model is missing, raised, took too long, or gave no finite number."""

    status = Status.REWARD_FAILED


class BadCheckpoint(TrialError):
    """No usable checkpoint: torn, or written by another config."""

    status = Status.BAD_CHECKPOINT
