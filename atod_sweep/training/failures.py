"""Ways in which a trial can end badly. Each has the status under which the ledger files it."""

from atod_sweep.records.status import Status


class TrialError(RuntimeError):
    """A trial could not go on, for the reason that `status` of each kind names."""

    status: Status


class Diverged(TrialError):
    """A loss, gradient, reward or the student's own probability became NaN or infinite."""

    status = Status.DIVERGED


class TeacherFailed(TrialError):
    """The teacher gave no usable probability for a token that the student sampled."""

    status = Status.TEACHER_FAILED


class ReferenceFailed(TrialError):
    """The frozen initial student gave no usable probability for a token that the student sampled."""

    status = Status.REFERENCE_FAILED


class EnvironmentFailed(TrialError):
    """An environment raised, or returned something that is not a number where a reward belongs."""

    status = Status.ENVIRONMENT_FAILED


class EnvironmentTimeout(TrialError):
    """An environment step took longer than `rollout.step_timeout`."""

    status = Status.ENVIRONMENT_TIMEOUT


class BadCheckpoint(TrialError):
    """No usable checkpoint: torn, or written by another config."""

    status = Status.BAD_CHECKPOINT
