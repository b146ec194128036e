"""AReaL: teacher and reward in one advantage, weighted by schedule.py at every step.

    with PPOTrainer(config, ...) as trainer:
        schedule_advantages(trainer.actor)
        trainer.train(workflow=...)

AReaL's own joint loss adds log p_student - log p_teacher as it is: its gradient does not depend on the teacher. So the
teacher enters the advantages here, and the joint loss is left out. The step is the actor's weight version, which counts
updates from 0 and is restored on recovery.
"""

from __future__ import annotations

from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]
from token_weights import token_weights  # type: ignore[import-not-found,unused-ignore]

STEPS, HORIZON = schedule.SPEC["steps"], schedule.SPEC["horizon"]


def schedule_advantages(actor: Any) -> None:
    """Make `actor.compute_advantages` return reward * A + distill * (log p_teacher - log p_student)."""
    theirs = actor.compute_advantages

    def scheduled(batch: list[dict[str, Any]], *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = theirs(batch, *args, **kwargs)
        for episodes in found:
            fold(episodes, int(actor.get_version()))
        return found

    actor.compute_advantages = scheduled


def fold(episodes: dict[str, Any], step: int) -> None:
    """Weigh one padded batch of episodes in place; its teacher's log-probs are used up."""
    mask = episodes["loss_mask"].float()
    student, teacher = episodes["logprobs"], episodes.pop("teacher_logp", None)
    distill, reward = token_weights(step, mask, STEPS, HORIZON, student, teacher)
    episodes["advantages"] = reward * episodes["advantages"]
    if teacher is not None:
        episodes["advantages"] = episodes["advantages"] + distill * (teacher - student)
    for key in ("rl_loss_weight", "distill_loss_weight"):
        episodes.pop(key, None)
