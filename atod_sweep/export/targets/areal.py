"""AReaL: YAML for its dataclasses, and the teacher folded into the advantages."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.base import dump_yaml
from atod_sweep.export.schedule.generate import PORTABLE, SHIMS, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets.numbers import first
from atod_sweep.export.targets.parts import OPEN_LOOP, STUDENT_ALONE, YES, Carried, Target

_SAMPLED = Carried("no", "the sampled reverse KL takes its place")
_ONLY_GROUPS = Carried("no", "the group-relative advantage takes its place")
_NO_KL = Carried("no", "left out: `actor.kl_ctl` is fixed and in the reward")


def config(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, Any]:
    """Keys of the method in AReaL's GRPO config; the rest of it is yours (`defaults` of your own file)."""
    group = record["rollout"]["group_size"]
    return {
        "total_train_steps": schedule.steps,
        "gconfig": {"n_samples": group, "temperature": first(schedule.temperature)},
        "actor": {
            "eps_clip": schedule.objective.clip_ratio,
            "kl_ctl": 0.0,
            "discount": 1.0,
            "gae_lambda": 1.0,
            "ppo_n_minibatches": 1,
            "reward_bias": 0.0,
            "reward_scaling": 1.0,
            "reward_norm": {"mean_level": "group", "std_level": "group", "group_size": group},
            "adv_norm": None,
            "recompute_logprob": True,
            "use_decoupled_loss": False,
        },
        "teacher": {
            "engine_type": "rollout",
            "rollout": {"backend": "sglang:d1"},
            "path": "TEACHER",
            "rl_loss_weight": 1.0,
            "distill_loss_weight": 1.0,
        },
    }


def files(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, str]:
    """The YAML, the wrapper of the actor, and the weights of its tokens."""
    return {
        "areal.yaml": dump_yaml(config(schedule, record)),
        "scheduled_areal.py": source(SHIMS, "scheduled_areal.py"),
        "token_weights.py": source(PORTABLE, "token_weights.py"),
    }


TARGET = Target(
    name="areal",
    title="AReaL",
    package="areal==1.0.4",
    counter="the actor's weight version, from 0; recovery restores it",
    launch="""```python
# train.py, in this folder; merge areal.yaml into your config, then: torchrun ... train.py --config my_areal.yaml
from scheduled_areal import schedule_advantages

with PPOTrainer(config, train_dataset=DATASET) as trainer:
    schedule_advantages(trainer.actor)
    trainer.train(workflow=WORKFLOW)
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(("teacher", "turns", "mix", "t_dur", "sampled_reverse_kl", "group_relative"), YES),
        "t_dur_full": YES,
        "gap": OPEN_LOOP,
        **dict.fromkeys(("forward_kl", "reverse_kl", "jsd", "top_k"), _SAMPLED),
        **dict.fromkeys(("gae_turn", "gae_token"), _ONLY_GROUPS),
        **dict.fromkeys(("k1", "k2", "k3", "full", "target_kl"), _NO_KL),
        "entropy": Carried("no", "left out"),
        "temperature": Carried("no", "its first value throughout"),
    },
    remarks=(
        "For training processes that hold the actor themselves (torchrun). In single-controller mode its batches are "
        "handles to remote tensors, which the wrapper does not open.",
        "`teacher.rl_loss_weight` and `teacher.distill_loss_weight` are written out but used up before the loss: at "
        "`rl_loss_weight` 0 AReaL takes another estimator, above it one without the teacher's gradient.",
        "Turns are runs of 1 in `loss_mask`.",
    ),
    files=files,
)
