"""OpenRLHF: the KL coefficient only, because it has no teacher."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.objective import GAE
from atod_sweep.config.penalties import WithReference
from atod_sweep.export.schedule.generate import SHIMS, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets.numbers import first, largest
from atod_sweep.export.targets.parts import OPEN_LOOP, STUDENT_ALONE, YES, Carried, Target

_NO_TEACHER = Carried("no", "left out: there is no teacher")


def flags(schedule: ScheduleFile, record: dict[str, Any]) -> list[str]:
    """Command-line flags of the method; models, data and hardware are yours."""
    objective = schedule.objective
    gae = objective.advantage if isinstance(objective.advantage, GAE) else None
    penalty = objective.kl_penalty
    in_loss = isinstance(penalty, WithReference) and not penalty.in_reward
    estimator = {"none": "k1", "k1": "k1", "k2": "k2", "k3": "k3", "full": "k3"}[penalty.kind]
    values = {
        "--rollout.n_samples_per_prompt": record["rollout"]["group_size"],
        "--rollout.temperature": first(schedule.temperature),
        "--algo.advantage.estimator": "gae" if gae else "group_norm",
        "--algo.advantage.gamma": gae.gamma if gae else 1.0,
        "--algo.advantage.lambd": gae.lam if gae else 1.0,
        "--algo.kl.init_coef": largest(schedule.beta_kl, schedule.steps),
        "--algo.kl.estimator": estimator,
        "--actor.eps_clip": objective.clip_ratio,
        "--actor.entropy_coef": objective.entropy_coef,
    }
    return [f"{key} {value}" for key, value in values.items()] + (["--algo.kl.use_loss"] if in_loss else [])


def files(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, str]:
    """One flag a line, and the entry point that schedules the coefficient."""
    return {
        "openrlhf_flags.txt": "\n".join(flags(schedule, record)) + "\n",
        "scheduled_openrlhf.py": source(SHIMS, "scheduled_openrlhf.py"),
    }


TARGET = Target(
    name="openrlhf",
    title="OpenRLHF (KL only)",
    package="openrlhf==0.11.2",
    counter="the trainer's `global_step`, from 0; checkpoints restore it",
    launch="""```bash
# in this folder
export PYTHONPATH="$PWD:$PYTHONPATH"
python scheduled_openrlhf.py $(cat openrlhf_flags.txt) \\
  --actor.model_name_or_path STUDENT --reward.remote_url REWARD --data.prompt_dataset DATASET
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(("teacher", "turns", "mix", "t_dur", "t_dur_full", "gap"), _NO_TEACHER),
        **dict.fromkeys(("sampled_reverse_kl", "forward_kl", "reverse_kl", "jsd", "top_k"), _NO_TEACHER),
        "group_relative": YES,
        "gae_turn": Carried("no", "GAE over tokens takes its place"),
        **dict.fromkeys(("gae_token", "k1", "k2", "k3", "entropy"), YES),
        "full": Carried("no", "its k3 in the loss takes its place"),
        "target_kl": OPEN_LOOP,
        "temperature": Carried("no", "its first value throughout"),
    },
    remarks=(
        "`--algo.kl.init_coef 0` builds no reference model; here it is the largest coefficient of the schedule, so "
        "the reference exists whenever some step needs it, and a coefficient of 0 acts as 0.",
        "The reference is always the student that training starts from: a teacher cannot be put in its place.",
        "For the synchronous trainer; `--train.async_enable` uses another class.",
        "The spread of a group is offset by 1e-9 in OpenRLHF and by 1e-4 here.",
    ),
    files=files,
)
