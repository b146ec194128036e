"""What an environment is here: a `gymnasium.Env[str, str]` and, beside it, a few optional methods.

`reset(seed=..., options={"split": "train" | "eval"})` starts one task; the same seed and split give the same task in
every process. `step(text)` never raises on bad text: the environment answers it in words. It ends an episode within
`horizon` turns if its constructor takes that argument. `info` of a step may hold `"is_admissible"` (also read as
`"is_action_valid"`): whether the state admitted the action. When an episode ends, `info` holds `"success"` (0.0 to 1.0;
also read as `"is_success"`, `"won"` or `"is_correct"`) and, if there are any, `"metrics"` (name -> float) and
`"violations"`: how often rules were broken that the reward knows nothing of (a number, or rule -> number), from which
the metrics `violations` and `restraint` come. `checked` holds every environment to this.

An environment whose steps take milliseconds has the attribute `slow = True` (of the class or of the instance) and is
stepped in worker processes.

The optional methods below are looked up on `env.unwrapped`. An environment without a demonstrator can still be trained
by reward, or with a teacher from a directory.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

Split = Literal["train", "eval"]

# Task seeds of the two splits never meet.
TRAIN_SEEDS = range(0, 2**30)
EVAL_SEEDS = range(2**30, 2**31)


def split_of_seed(seed: int) -> Split:
    """The split that a task seed belongs to."""
    return "eval" if seed >= EVAL_SEEDS.start else "train"


@runtime_checkable
class HasDemonstrator(Protocol):
    """Teachers are trained on it."""

    def demonstrator_action(self) -> str:
        """What the demonstrator does in the current state, also after somebody else's mistakes."""


@runtime_checkable
class HasActions(Protocol):
    """Demonstrations are perturbed with these."""

    def actions(self) -> list[str]:
        """Action texts that are legal in the current state."""


@runtime_checkable
class HasVocabulary(Protocol):
    """Compact models get a word-level tokenizer made of these."""

    def vocabulary(self) -> list[str]:
        """Every word that observations and actions can hold, at any horizon; words are split at white space."""


@runtime_checkable
class HasMetricNames(Protocol):
    """For metrics that some episodes report and others do not: otherwise the first episodes show which there are."""

    metric_names: tuple[str, ...]
    """The names that `info["metrics"]` can hold."""


@runtime_checkable
class HasRemarks(Protocol):
    """Told at the start of a run."""

    def remarks(self) -> list[str]:
        """Sentences that a user should know, such as what was left out of a data file."""


@runtime_checkable
class HasCard(Protocol):
    """Printed by `atod-sweep envs NAME`."""

    def card(self) -> str:
        """Markdown: the rules, the demonstrator's flaw, the limits."""
