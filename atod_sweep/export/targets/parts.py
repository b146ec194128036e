"""The parts that a schedule can need of another trainer, and how a target serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from atod_sweep.config.kinds import one_each
from atod_sweep.config.objective import Advantage
from atod_sweep.config.penalties import KLPenalty, WithReference
from atod_sweep.config.schedules import Constant
from atod_sweep.config.signals import Distill, OverVocabulary
from atod_sweep.export.schedule.schedule_file import ScheduleFile

# One part for every kind of signal and of KL penalty, under the name of the kind.
_SIGNALS = one_each(
    Distill,
    {
        "sampled_reverse_kl": "sampled reverse KL",
        "forward_kl": "forward KL over the vocabulary",
        "reverse_kl": "reverse KL over the vocabulary",
        "jsd": "Jensen-Shannon divergence over the vocabulary",
        "custom": "a signal of your own",
        "relabel": "imitation of the teacher's action in the student's state",
    },
)
_PENALTIES = one_each(
    KLPenalty,
    {
        "none": None,
        "k1": "KL penalty k1 in the reward, by step",
        "k2": "KL penalty k2 in the loss, by step",
        "k3": "KL penalty k3 in the loss, by step",
        "full": "KL penalty over the vocabulary, by step",
    },
)
_ADVANTAGES: dict[str, Callable[[Any], str]] = one_each(
    Advantage, {"group_relative": lambda _: "group_relative", "gae": lambda config: f"gae_{config.level}"}
)

PARTS = {
    "teacher": "teacher's weight by step",
    "turns": "teacher's weight by turn",
    "mix": "reward and teacher on one token, each with its weight",
    "t_dur": "turn weights from log-probs (T-DUR)",
    "t_dur_full": "T-DUR beside a full-distribution signal",
    "gap": "teacher's weight that follows the measured gap",
    **_SIGNALS,
    "stand_in": "a null control in the teacher's place",
    "top_k": "teacher's top-k tokens plus tail mass",
    "group_relative": "group-relative advantage",
    "gae_turn": "GAE over turns",
    "gae_token": "GAE over tokens",
    **{kind: words for kind, words in _PENALTIES.items() if words is not None},
    "target_kl": "KL coefficient that follows the measured KL",
    "entropy": "entropy bonus",
    "temperature": "sampling temperature by step",
    "takeover": "turns that the teacher plays, by step and turn",
    "depth": "depth of rollouts by step",
}


@dataclass(frozen=True)
class Carried:
    """How a target serves a part: as it is, replayed from the recorded table, or not (`note`: what happens instead)."""

    how: Literal["yes", "table", "no"]
    note: str = ""

    @property
    def words(self) -> str:
        """For a cell of a table."""
        return f"{self.how}: {self.note}" if self.note else self.how


YES = Carried("yes")
UNKNOWN = Carried("no", "this target does not know it")
OPEN_LOOP = Carried("table", "replayed open loop")
# Of targets whose rollouts are their own: schedule.yaml says what they leave out.
STUDENT_ALONE = {
    "takeover": Carried("no", "the student plays every turn"),
    "depth": Carried("no", "episodes go to their end"),
}


@dataclass(frozen=True)
class Target:
    """Another trainer. `files` gives name -> text, from the schedule and the record of where it comes from.

    `carries` lists the parts that it has an answer for: what is not listed, it does not carry. `package`: the pip
    requirement that the files were written for; `counter`: which of its counters is the step.
    """

    name: str
    title: str
    package: str
    counter: str
    launch: str
    carries: Mapping[str, Carried]
    remarks: tuple[str, ...]
    files: Callable[[ScheduleFile, dict[str, Any]], dict[str, str]]

    def serves(self, part: str) -> Carried:
        return self.carries.get(part, UNKNOWN)


def needed(schedule: ScheduleFile) -> list[str]:
    """Keys of PARTS that the schedule makes use of, in their order."""
    objective = schedule.objective
    taught, rewarded, signal = objective.taught, objective.rewarded, objective.distill
    over_vocabulary = isinstance(signal, OverVocabulary)
    wants = {
        "teacher": taught,
        "turns": taught and objective.turns.by_turn,
        "mix": taught and rewarded,
        "t_dur": taught and objective.turns.measured and not over_vocabulary,
        "t_dur_full": taught and objective.turns.measured and over_vocabulary,
        "gap": "distill" in schedule.measured,
        signal.kind: taught,
        "stand_in": taught and objective.stand_in is not None,
        "top_k": taught and isinstance(signal, OverVocabulary) and signal.top_k is not None,
        _ADVANTAGES[objective.advantage.kind](objective.advantage): rewarded,
        objective.kl_penalty.kind: isinstance(objective.kl_penalty, WithReference),
        "target_kl": "beta_kl" in schedule.measured,
        "entropy": objective.entropy_coef > 0,
        "temperature": not isinstance(schedule.temperature, Constant),
        "takeover": schedule.takeover is not None,
        "depth": schedule.depth is not None,
    }
    if unknown := [part for part, wanted in wants.items() if wanted and part not in PARTS]:
        raise TypeError(f"the schedule needs {unknown[0]!r}, which PARTS does not hold")
    return [part for part in PARTS if wants.get(part, False)]
