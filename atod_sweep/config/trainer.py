"""What trains a trial: the trainer of this package, or TRL's, with everything else of the config the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from atod_sweep.config.base import Record
from atod_sweep.config.models import Pretrained
from atod_sweep.config.objective import Mixture
from atod_sweep.config.settings import Settings
from atod_sweep.config.teachers import Served

if TYPE_CHECKING:
    from atod_sweep.config.train import Train

_METHOD = "the objective and its numbers are `objective`"
_ROLLOUTS = "rollouts draw from all tokens, at `rollout.temperature`"
_RECORD = "what is recorded and shown is the run's business"
_BATCH = "`rollout.tasks` times `rollout.group_size` episodes; `per_device_train_batch_size` says how many at a time"
# Arguments of GRPOConfig that the rest of a config decides, and by which key.
OWNED = {
    **dict.fromkeys(("max_steps", "num_train_epochs"), "`steps`"),
    **dict.fromkeys(("seed", "data_seed", "full_determinism", "shuffle_dataset"), "`seed`"),
    "learning_rate": "`optimiser.lr`",
    **dict.fromkeys(("warmup_steps", "warmup_ratio"), "`optimiser.warmup_steps`"),
    **dict.fromkeys(("lr_scheduler_type", "lr_scheduler_kwargs"), "`optimiser.decay`"),
    "weight_decay": "`optimiser.weight_decay`",
    **dict.fromkeys(("adam_beta1", "adam_beta2"), "`optimiser.betas`"),
    "max_grad_norm": "`optimiser.max_grad_norm`",
    "num_generations": "`rollout.group_size`",
    **dict.fromkeys(("gradient_accumulation_steps", "generation_batch_size", "steps_per_generation"), _BATCH),
    **dict.fromkeys(("max_completion_length", "generation_kwargs"), "`rollout.max_action_tokens`"),
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty"), _ROLLOUTS),
    **dict.fromkeys(("chat_template_kwargs", "trust_remote_code", "model_init_kwargs"), "`student`"),
    "beta": "`objective.kl_penalty`",
    **dict.fromkeys(("epsilon", "epsilon_high", "delta"), "`objective.clip_ratio`"),
    **dict.fromkeys(("entropy_coef", "use_adaptive_entropy"), "`objective.entropy_coef`"),
    **dict.fromkeys(("loss_type", "scale_rewards", "importance_sampling_level", "num_iterations"), _METHOD),
    **dict.fromkeys(("multi_objective_aggregation", "off_policy_mask_threshold", "top_entropy_quantile"), _METHOD),
    **dict.fromkeys(("mask_truncated_completions", "use_bias_correction_kl", "sync_ref_model"), _METHOD),
    **dict.fromkeys(("reward_weights", "neftune_noise_alpha", "label_smoothing_factor", "disable_dropout"), _METHOD),
    "max_tool_calling_iterations": "`env.horizon`",
    **dict.fromkeys(("bf16", "fp16"), "`runtime.precision`"),
    "gradient_checkpointing": "`runtime.gradient_checkpointing`",
    **dict.fromkeys(("use_cpu", "no_cuda"), "`runtime.device`"),
    **dict.fromkeys(("save_strategy", "save_steps", "save_total_limit", "save_only_model"), "`checkpoint_every`"),
    **dict.fromkeys(("resume_from_checkpoint", "ignore_data_skip", "load_best_model_at_end"), "`--resume`"),
    **dict.fromkeys(("eval_strategy", "eval_steps", "do_eval", "num_generations_eval"), "`evaluation`"),
    **dict.fromkeys(("output_dir", "logging_steps", "logging_strategy", "logging_dir", "report_to"), _RECORD),
    **dict.fromkeys(("run_name", "push_to_hub", "hub_model_id", "log_completions", "disable_tqdm"), _RECORD),
}


class Atod(Record):
    """The trainer of this package."""

    kind: Literal["atod"] = "atod"

    def check(self, train: Train) -> None:
        """It runs under any config."""


class Trl(Record):
    """TRL's GRPO trainer under the exported schedule (needs the `trl` extra)."""

    kind: Literal["trl"] = "trl"
    args: Settings = Field(
        default_factory=dict,
        description="Further arguments of GRPOConfig, such as use_vllm, deepspeed or per_device_train_batch_size.",
    )

    @field_validator("args")
    @classmethod
    def _ours(cls, value: Settings) -> Settings:
        for name in value:
            if name in OWNED:
                raise ValueError(f"{name} is set elsewhere: {OWNED[name]}; drop it here")
        return value

    def check(self, train: Train) -> None:
        """ValueError for what TRL's trainer has no counterpart of. What it carries of an objective, exports know."""
        update, student = train.update, train.student
        wanted: dict[str, tuple[Any, bool, str]] = {
            "objective.kind": (train.objective.kind, isinstance(train.objective, Mixture), "interpolated or hybrid"),
            "update.epochs": (update.epochs, update.epochs == 1, "1"),
            "update.minibatches": (update.minibatches, update.minibatches == 1, "1"),
            "update.target_kl": (update.target_kl, update.target_kl is None, "null"),
            "update.micro_batch_tokens": (
                update.micro_batch_tokens,
                update.micro_batch_tokens is None,
                "null, and trainer.args.per_device_train_batch_size to the episodes of one pass",
            ),
            "teacher.kind": (train.teacher.kind, not isinstance(train.teacher, Served), "pretrained"),
        }
        if isinstance(student, Pretrained):
            wanted["student.thoughts"] = (student.thoughts, student.thoughts is None, "null")
        for key, (value, fits, remedy) in wanted.items():
            if not fits:
                raise ValueError(f"trainer.kind: 'trl' does not run {key} {value!r}; set it to {remedy}")


Trainer = Annotated[Atod | Trl, Field(discriminator="kind")]
