"""Ways in which a trial can end badly. Each has a status under which the ledger files it.

Those of the environment are `envs.failures`.
"""


class TrialError(RuntimeError):
    """A trial could not go on; `status` names the reason in one word."""

    status = "failed"


class Diverged(TrialError):
    """A loss, gradient or reward became NaN or infinite."""

    status = "diverged"


class TeacherFailed(TrialError):
    """The teacher gave no usable probability for a token that the student sampled."""

    status = "teacher_failed"


class BadCheckpoint(TrialError):
    """No usable checkpoint: torn, or written by another config."""

    status = "bad_checkpoint"
