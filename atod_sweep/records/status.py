"""Why an attempt at a trial ended badly: every word there is for it, what it means, and whether to try again."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """A word, its meaning, and whether another attempt may survive what it names."""

    def __new__(cls, word: str, meaning: str, retried: bool = False) -> Status:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning, member.retried = meaning, retried
        return member

    meaning: str
    retried: bool

    # What the trainer finds. It would only repeat itself.
    DIVERGED = "diverged", "a loss, a gradient, a reward or the student's own probability became NaN or infinite"
    TEACHER_FAILED = "teacher_failed", "the teacher gave no usable probability for a sampled token, or no usable answer"
    REFERENCE_FAILED = "reference_failed", "the frozen initial student gave no usable probability for a sampled token"
    BAD_CHECKPOINT = "bad_checkpoint", "no usable checkpoint: torn, or written by another config"
    # What surrounds the trainer. It may pass.
    TEACHER_UNREACHABLE = (
        "teacher_unreachable",
        "a teacher behind an API, or one that trials share, was away for too long",
        True,
    )
    ENVIRONMENT_FAILED = "environment_failed", "an environment raised, or broke its contract", True
    ENVIRONMENT_TIMEOUT = "environment_timeout", "an environment step took longer than rollout.step_timeout", True
    REWARD_FAILED = (
        "reward_failed",
        "a reward function or model is missing, raised, hung, or gave no finite number",
        True,
    )
    WORKER_DIED = "worker_died", "the process of the attempt is gone", True
    TIMEOUT = "timeout", "the attempt took longer than resources.seconds", True
    OUT_OF_MEMORY = "out_of_memory", "memory ran out, or the process held more than resources.memory_gb", True
    # What the sweep finds.
    MISSING_METRIC = "missing_metric", "evaluations report no number under a name that the study asks for"
    NAN_METRIC = "nan_metric", "the trial ended with a result that is no finite number"
    NO_SHARED_FOLDER = "no_shared_folder", "a worker sees neither the run's folder nor a storage"
    EXCEPTION = "exception", "the code of the trial raised"
    # Somebody stopped the run; resuming it is another attempt.
    INTERRUPTED = "interrupted", "stopped from outside"
