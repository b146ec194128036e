"""TRL: DistillationTrainer, for schedules without a reward."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.base import dump_yaml
from atod_sweep.export.schedule.generate import PORTABLE, SHIMS, fill, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets import trl
from atod_sweep.export.targets.numbers import first
from atod_sweep.export.targets.parts import OPEN_LOOP, STUDENT_ALONE, YES, Carried, Target

_NO_REWARD = Carried("no", "left out: there is no reward")
_NO_REFERENCE = Carried("no", "left out: there is no reference model")
_DIVERGENCE = {"forward_kl": 0.0, "reverse_kl": 1.0, "sampled_reverse_kl": 1.0}  # what TRL's `beta` means


def config(schedule: ScheduleFile, _record: dict[str, Any]) -> dict[str, Any]:
    """Arguments of DistillationConfig that belong to the method; models, data, batch and learning rate are yours."""
    signal = trl.signal(schedule)
    return {
        "max_steps": schedule.steps,
        "temperature": first(schedule.temperature),
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "beta": signal["beta"] if signal["kind"] == "jsd" else _DIVERGENCE[signal["kind"]],
    }


def files(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, str]:
    """DistillationConfig as YAML, the trainer subclass, and the turns of its tokens."""
    return {
        "trl_distillation_config.yaml": dump_yaml(config(schedule, record)),
        "scheduled_trl_distillation.py": fill(
            SHIMS, "scheduled_trl_distillation.py", "SIGNAL: dict[str, Any] = ", trl.signal(schedule)
        ),
        "token_weights.py": source(PORTABLE, "token_weights.py"),
    }


TARGET = Target(
    name="trl-distillation",
    title="TRL (DistillationTrainer)",
    package=trl.TARGET.package,
    counter=trl.TARGET.counter,
    launch="""```python
# train.py, in this folder
# run it with: accelerate launch train.py --config trl_distillation_config.yaml --output_dir out
from scheduled_trl_distillation import ScheduledDistillationTrainer
from trl import DistillationConfig, TrlParser

(args,) = TrlParser((DistillationConfig,)).parse_args_and_config()
trainer = ScheduledDistillationTrainer(model="STUDENT", teacher_model="TEACHER", args=args, train_dataset=DATASET)
trainer.train()
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(("teacher", "turns", "forward_kl", "reverse_kl", "jsd", "temperature"), YES),
        **dict.fromkeys(("t_dur", "t_dur_full", "gap"), OPEN_LOOP),
        "sampled_reverse_kl": Carried("yes", "as its expectation, the reverse KL over the vocabulary"),
        "top_k": Carried("no", "the whole vocabulary takes its place"),
        **dict.fromkeys(("mix", "group_relative", "gae_turn", "gae_token"), _NO_REWARD),
        **dict.fromkeys(("k1", "k2", "k3", "full", "target_kl"), _NO_REFERENCE),
        "entropy": Carried("no", "left out"),
    },
    remarks=(
        "Every prompt is sampled once: where a step had G rollouts of one task, put that prompt into it G times.",
        "Turns are read from `tool_mask`: give the trainer `tools`; without them a completion is one turn.",
        "At a teacher's weight of exactly 0 TRL would still call the teacher; here it is not called, and the gradient "
        "is exactly 0 (an optimiser with momentum still moves the student). At 1 on every turn the loss is TRL's own.",
        "Turns of different weights go through the output layer one weight after the other: on a GPU that is the same "
        "number of tokens, elsewhere TRL projects the whole batch for each.",
        "TRL has one `temperature` for sampling and divergence; here sampling follows the schedule and the divergence "
        "keeps its own.",
        "Evaluation reports the divergence without the schedule's weights.",
    ),
    files=files,
)
