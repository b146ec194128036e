"""tinker-cookbook: chz arguments and a patch of its distillation loop."""

from __future__ import annotations

from typing import Any

from atod_sweep.export.schedule.generate import PORTABLE, SHIMS, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets.numbers import first
from atod_sweep.export.targets.parts import OPEN_LOOP, STUDENT_ALONE, YES, Carried, Target

_SAMPLED = Carried("no", "the sampled reverse KL takes its place")
_ONLY_GROUPS = Carried("no", "the group-relative advantage takes its place")
_LEFT_OUT = Carried("no", "left out")


def arguments(schedule: ScheduleFile) -> dict[str, Any]:
    """chz arguments of the method; model, data sets, teacher and learning rate are yours."""
    clip = schedule.objective.clip_ratio
    return {
        "max_steps": schedule.steps,
        "temperature": first(schedule.temperature),
        "kl_penalty_coef": 1.0,
        "kl_discount_factor": 0.0,
        "num_substeps": 1,
        "loss_fn": "ppo",
        "loss_fn_config": {"clip_low_threshold": 1.0 - clip, "clip_high_threshold": 1.0 + clip},
    }


def files(schedule: ScheduleFile, _record: dict[str, Any]) -> dict[str, str]:
    """The arguments as a mapping, the patch, and the weights of its tokens."""
    return {
        "tinker_arguments.py": f"ARGUMENTS = {arguments(schedule)!r}\n",
        "scheduled_tinker.py": source(SHIMS, "scheduled_tinker.py"),
        "token_weights.py": source(PORTABLE, "token_weights.py"),
    }


TARGET = Target(
    name="tinker-cookbook",
    title="tinker-cookbook",
    package="tinker-cookbook==0.6.1",
    counter="the loop's `i_batch`, from 0; a resumed run restores it",
    launch="""```python
# train.py, in this folder
import asyncio

import scheduled_tinker  # patches the loop
from tinker_arguments import ARGUMENTS
from tinker_cookbook.distillation import train_on_policy

config = train_on_policy.Config(
    model_name="STUDENT", recipe_name="scheduled", dataset_configs=[DATASET_WITH_REWARDS_AND_TEACHER],
    learning_rate=LR, max_tokens=MAX, log_path="out", **ARGUMENTS,
)
asyncio.run(train_on_policy.main(config))
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(
            ("teacher", "turns", "mix", "t_dur", "t_dur_full", "sampled_reverse_kl", "group_relative"), YES
        ),
        "gap": OPEN_LOOP,
        **dict.fromkeys(("forward_kl", "reverse_kl", "jsd", "top_k"), _SAMPLED),
        **dict.fromkeys(("gae_turn", "gae_token"), _ONLY_GROUPS),
        **dict.fromkeys(("k1", "k2", "k3", "full", "target_kl", "entropy"), _LEFT_OUT),
        "temperature": Carried("no", "its first value throughout"),
    },
    remarks=(
        "`kl_penalty_coef` of 0 would skip the teacher's term and with it the reward's weight, so it stays 1; the "
        "patch does not call the teacher on steps where its weight is 0.",
        "tinker-cookbook centres rewards only; the patch divides by the spread of the group as well.",
        "Its prompt-only data sets give no reward: use environments that do.",
        "Turns are runs of 1 in a datum's mask; an episode that was split into several data starts again at turn 0.",
    ),
    files=files,
)
