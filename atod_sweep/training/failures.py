"""Ways in which a trial can end badly. Each has a status under which the ledger files it."""


class TrialError(RuntimeError):
    """A trial could not go on; `status` names the reason in one word."""

    status = "failed"


class Diverged(TrialError):
    """A loss, gradient or reward became NaN or infinite."""

    status = "diverged"


class TeacherFailed(TrialError):
    """The teacher gave no usable probability for a token that the student sampled."""

    status = "teacher_failed"


class EnvironmentFailed(TrialError):
    """An environment raised, or returned something that is not a number where a reward belongs."""

    status = "environment_failed"


class EnvironmentTimeout(TrialError):
    """An environment step took longer than `rollout.step_timeout`."""

    status = "environment_timeout"


class BadCheckpoint(TrialError):
    """No usable checkpoint: torn, or written by another config."""

    status = "bad_checkpoint"
