"""verl: Hydra overrides and a module that its processes load."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.objective import GAE
from atod_sweep.config.penalties import WithReference
from atod_sweep.export.schedule.generate import PORTABLE, SHIMS, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets.numbers import first, largest
from atod_sweep.export.targets.parts import OPEN_LOOP, STUDENT_ALONE, YES, Carried, Target

_TOP_TOKENS = 128


def overrides(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, Any]:
    """Hydra keys of the method; models, data, batch and hardware are yours. None stands for null."""
    objective = schedule.objective
    signal = objective.distill
    gae = objective.advantage if isinstance(objective.advantage, GAE) else None
    top_k = signal.kind == "forward_kl"
    penalty = objective.kl_penalty
    estimator = {"none": "low_var_kl", "k1": "low_var_kl", "k2": "k2", "k3": "low_var_kl", "full": "low_var_kl"}
    clip = objective.clip_ratio
    actor, loss = "actor_rollout_ref.actor", "distillation.distillation_loss"
    return {
        "trainer.total_training_steps": schedule.steps,
        "actor_rollout_ref.rollout.n": record["rollout"]["group_size"],
        "actor_rollout_ref.rollout.temperature": first(schedule.temperature),
        "algorithm.adv_estimator": "gae" if gae else "grpo",
        "algorithm.norm_adv_by_std_in_grpo": True,
        "algorithm.gamma": gae.gamma if gae else 1.0,
        "algorithm.lam": gae.lam if gae else 1.0,
        "algorithm.use_kl_in_reward": False,
        f"{actor}.loss_agg_mode": "token-mean",
        f"{actor}.ppo_epochs": 1,
        f"{actor}.clip_ratio": clip,
        f"{actor}.clip_ratio_low": clip,
        f"{actor}.clip_ratio_high": clip,
        f"{actor}.clip_ratio_c": 1e6,
        f"{actor}.entropy_coeff": objective.entropy_coef,
        f"{actor}.use_kl_loss": isinstance(penalty, WithReference) and not penalty.in_reward,
        f"{actor}.kl_loss_type": estimator[penalty.kind],
        f"{actor}.kl_loss_coef": largest(schedule.beta_kl, schedule.steps),
        "distillation.enabled": True,
        f"{loss}.loss_mode": "scheduled_forward_kl_topk" if top_k else "scheduled_k1",
        f"{loss}.topk": getattr(signal, "top_k", None) or _TOP_TOKENS,
        f"{loss}.use_task_rewards": True,
        f"{loss}.distillation_loss_coef": 1.0,
        f"{loss}.use_policy_gradient": not top_k,
        f"{loss}.policy_loss_mode": "vanilla",
        f"{loss}.loss_max_clamp": None,
        f"{loss}.log_prob_min_clamp": None,
        f"{loss}.clip_ratio": clip,
        f"{loss}.clip_ratio_low": clip,
        f"{loss}.clip_ratio_high": clip,
    }


def files(schedule: ScheduleFile, record: dict[str, Any]) -> dict[str, str]:
    """One override a line, the module, and the weights of its tokens."""
    lines = [f"{key}={_hydra(value)}" for key, value in overrides(schedule, record).items()]
    return {
        "verl_overrides.txt": "\n".join(lines) + "\n",
        "scheduled_verl.py": source(SHIMS, "scheduled_verl.py"),
        "token_weights.py": source(PORTABLE, "token_weights.py"),
    }


def _hydra(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_ENVIRONMENT = "+ray_kwargs.ray_init.runtime_env.env_vars"

TARGET = Target(
    name="verl",
    title="verl",
    package="verl==0.9.1",
    counter="the trainer's `global_steps` minus 1 (verl counts from 1); a resumed run restores it",
    launch=f"""```bash
# in this folder
export VERL_USE_EXTERNAL_MODULES=scheduled_verl PYTHONPATH="$PWD:$PYTHONPATH"
python -m verl.trainer.main_ppo $(cat verl_overrides.txt) \\
  {_ENVIRONMENT}.VERL_USE_EXTERNAL_MODULES=scheduled_verl \\
  {_ENVIRONMENT}.PYTHONPATH="$PWD" \\
  actor_rollout_ref.model.path=STUDENT \\
  distillation.teacher_models.teacher_model.model_path=TEACHER \\
  distillation.nnodes=1 distillation.n_gpus_per_node=2 \\
  data.train_files=TRAIN data.val_files=VALIDATION
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(
            ("teacher", "turns", "mix", "t_dur", "sampled_reverse_kl", "group_relative", "k2", "k3", "entropy"), YES
        ),
        "t_dur_full": Carried("table", "replayed open loop beside forward KL"),
        **dict.fromkeys(("gap", "target_kl"), OPEN_LOOP),
        "forward_kl": Carried("no", f"the teacher's {_TOP_TOKENS} likeliest tokens, without the tail, take its place"),
        **dict.fromkeys(("reverse_kl", "jsd"), Carried("no", "the sampled reverse KL takes its place")),
        "top_k": Carried("no", "the top-k tokens without the tail mass"),
        "gae_turn": Carried("no", "GAE over tokens takes its place"),
        "gae_token": YES,
        "k1": Carried("no", "left out: its coefficient in the reward is fixed"),
        "full": Carried("no", "its k3 in the loss takes its place"),
        "temperature": Carried("no", "its first value throughout"),
    },
    remarks=(
        "For `main_ppo` with its default trainer (`trainer.use_v1: true`); the older one does not send the step.",
        "`use_task_rewards` stays true and `distillation_loss_coef` 1 throughout, because false takes another code "
        "path; weights of exactly 0 or 1 act token by token. The teacher is called at weight 0 too.",
        "Turns are runs of 1 in `response_mask`.",
        "Reward and teacher each have their own clipped surrogate: the hybrid form's single one is the same on the "
        "first update of a batch of rollouts only, hence `ppo_epochs=1`. Set `ppo_mini_batch_size` to the train batch.",
        "The spread of a group is offset by 1e-6 in verl and by 1e-4 here.",
        "The KL coefficient is set even where it is 0; the reference model is loaded if it is above 0 at any step.",
    ),
    files=files,
)
