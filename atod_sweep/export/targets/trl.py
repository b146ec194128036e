"""TRL: GRPOTrainer with a teacher term."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.base import dump_yaml
from atod_sweep.export.schedule.generate import PORTABLE, SHIMS, fill, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets.numbers import first, largest
from atod_sweep.export.targets.parts import OPEN_LOOP, STUDENT_ALONE, YES, Carried, Target


def config(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, Any]:
    """Arguments of GRPOConfig that belong to the method; model, data, batch per device and learning rate are yours."""
    objective = schedule.objective
    return {
        "max_steps": schedule.steps,
        "num_generations": record["rollout"]["group_size"],
        "num_iterations": 1,
        "temperature": first(schedule.temperature),
        "beta": largest(schedule.beta_kl, schedule.steps),
        "epsilon": objective.clip_ratio,
        "epsilon_high": objective.clip_ratio,
        "loss_type": "dapo",
        "scale_rewards": "group",
        "importance_sampling_level": "token",
        "entropy_coef": objective.entropy_coef,
        "mask_truncated_completions": False,
        "top_entropy_quantile": 1.0,
    }


def signal(schedule: ScheduleFile) -> dict[str, Any]:
    """The distillation term's kind and numbers."""
    return schedule.objective.distill.model_dump()


def files(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, str]:
    """GRPOConfig as YAML, the trainer subclass, and the weights of its tokens."""
    return {
        "trl_config.yaml": dump_yaml(config(schedule, record)),
        "scheduled_trl.py": fill(SHIMS, "scheduled_trl.py", "SIGNAL: dict[str, Any] = ", signal(schedule)),
        "token_weights.py": source(PORTABLE, "token_weights.py"),
    }


TARGET = Target(
    name="trl",
    title="TRL",
    package="trl==1.16.0",
    counter="`trainer.state.global_step`, from 0; a resumed run restores it",
    launch="""```python
# train.py, in this folder; run it with: accelerate launch train.py --config trl_config.yaml --output_dir out
from scheduled_trl import ScheduledGRPOTrainer
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, TrlParser

(args,) = TrlParser((GRPOConfig,)).parse_args_and_config()
teacher = AutoModelForCausalLM.from_pretrained("TEACHER")
trainer = ScheduledGRPOTrainer(
    teacher=teacher, model="STUDENT", args=args, reward_funcs=[REWARD], train_dataset=DATASET
)
trainer.train()
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(("teacher", "turns", "mix", "t_dur", "t_dur_full", "sampled_reverse_kl"), YES),
        **dict.fromkeys(("group_relative", "k3", "entropy"), YES),
        **dict.fromkeys(("gap", "target_kl"), OPEN_LOOP),
        **dict.fromkeys(("forward_kl", "reverse_kl", "jsd"), Carried("yes", "one more forward pass of the student")),
        "top_k": Carried("no", "the whole vocabulary takes its place"),
        **dict.fromkeys(("gae_turn", "gae_token"), Carried("no", "the group-relative advantage takes its place")),
        **dict.fromkeys(("k1", "k2", "full"), Carried("no", "its own k3 in the loss takes its place")),
        "temperature": Carried("no", "its first value throughout"),
    },
    remarks=(
        "Turns are read from `tool_mask`: use tools, an environment factory or a rollout function that returns "
        "`env_mask`; without one a completion is one turn.",
        "`beta: 0.0` builds no reference model, so a KL coefficient that is 0 only at times is held at 1e-8 there.",
        "At a teacher's weight of exactly 0 the teacher is not called.",
        "Reward and teacher go into one clipped surrogate: the sum of two surrogates (interpolated form) is the same "
        "on the first update of a batch of rollouts only, hence `num_iterations: 1`.",
        "For a schedule without a reward there is also `trl-distillation`.",
    ),
    files=files,
)
