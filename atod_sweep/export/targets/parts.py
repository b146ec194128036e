"""The parts that a schedule can need of another trainer, and how a target serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from atod_sweep.config.objective import Interpolated, SampledReverseKL
from atod_sweep.config.schedules import Adaptive, Constant, OfProgress, Schedule
from atod_sweep.export.schedule.schedule_file import ScheduleFile

PARTS = {
    "teacher": "teacher's weight by step",
    "turns": "teacher's weight by turn",
    "mix": "reward and teacher on one token, each with its weight",
    "t_dur": "turn weights from log-probs (T-DUR)",
    "t_dur_full": "T-DUR beside a full-distribution signal",
    "gap": "teacher's weight that follows the measured gap",
    "sampled": "sampled reverse KL",
    "forward_kl": "forward KL over the vocabulary",
    "reverse_kl": "reverse KL over the vocabulary",
    "jsd": "Jensen-Shannon divergence over the vocabulary",
    "top_k": "teacher's top-k tokens plus tail mass",
    "group_relative": "group-relative advantage",
    "gae_turn": "GAE over turns",
    "gae_token": "GAE over tokens",
    "k1": "KL penalty k1 in the reward, by step",
    "k2": "KL penalty k2 in the loss, by step",
    "k3": "KL penalty k3 in the loss, by step",
    "full": "KL penalty over the vocabulary, by step",
    "target_kl": "KL coefficient that follows the measured KL",
    "entropy": "entropy bonus",
    "temperature": "sampling temperature by step",
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
OPEN_LOOP = Carried("table", "replayed open loop")


@dataclass(frozen=True)
class Target:
    """Another trainer. `files` gives name -> text, from the schedule and the record of where it comes from.

    `package`: the pip requirement that the files were written for; `counter`: which of its counters is the step.
    """

    name: str
    title: str
    package: str
    counter: str
    launch: str
    carries: Mapping[str, Carried]
    remarks: tuple[str, ...]
    files: Callable[[ScheduleFile, dict[str, Any]], dict[str, str]]


def needed(schedule: ScheduleFile) -> list[str]:
    """Keys of PARTS that the schedule makes use of, in their order."""
    objective = schedule.objective
    taught = not _is_always(0.0, objective.distill_weight)
    rewarded = not (
        _is_always(1.0, objective.distill_weight) and objective.turns.is_one()
        if isinstance(objective, Interpolated)
        else _is_always(0.0, objective.reward_weight)
    )
    signal = objective.distill if isinstance(objective, Interpolated) else SampledReverseKL()
    advantage = objective.advantage if isinstance(objective, Interpolated) else None
    penalty = objective.kl_penalty
    wants = {
        "teacher": taught,
        "turns": taught and objective.turns.kind in ("thresholds", "product"),
        "mix": taught and rewarded,
        "t_dur": taught and "turns" in schedule.measured and signal.kind == "sampled_reverse_kl",
        "t_dur_full": taught and "turns" in schedule.measured and signal.kind != "sampled_reverse_kl",
        "gap": isinstance(objective.distill_weight, Adaptive),
        "sampled": taught and signal.kind == "sampled_reverse_kl",
        "forward_kl": taught and signal.kind == "forward_kl",
        "reverse_kl": taught and signal.kind == "reverse_kl",
        "jsd": taught and signal.kind == "jsd",
        "top_k": taught and getattr(signal, "top_k", None) is not None,
        "group_relative": rewarded and (advantage is None or advantage.kind == "group_relative"),
        "gae_turn": rewarded and advantage is not None and getattr(advantage, "level", "") == "turn",
        "gae_token": rewarded and advantage is not None and getattr(advantage, "level", "") == "token",
        **{kind: penalty.kind == kind for kind in ("k1", "k2", "k3", "full")},
        "target_kl": "beta_kl" in schedule.measured,
        "entropy": objective.entropy_coef > 0,
        "temperature": not isinstance(schedule.temperature, Constant),
    }
    return [part for part in PARTS if wants[part]]


def _is_always(value: float, config: Schedule) -> bool:
    return isinstance(config, OfProgress) and config.extremes() == (value, value)
