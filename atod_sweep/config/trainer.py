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

# Arguments of GRPOConfig that the rest of a config decides, by what does.
_OWNERS = {
    "`steps`": "max_steps num_train_epochs",
    "`seed`": "seed data_seed full_determinism shuffle_dataset",
    "`optimiser.lr`": "learning_rate",
    "`optimiser.warmup_steps`": "warmup_steps warmup_ratio",
    "`optimiser.decay`": "lr_scheduler_type lr_scheduler_kwargs",
    "`optimiser.weight_decay`": "weight_decay",
    "`optimiser.betas`": "adam_beta1 adam_beta2",
    "`optimiser.max_grad_norm`": "max_grad_norm",
    "`rollout.group_size`": "num_generations",
    "`rollout.tasks` times `rollout.group_size` episodes; `per_device_train_batch_size` says how many at a time": """
        gradient_accumulation_steps generation_batch_size steps_per_generation""",
    "`rollout.max_action_tokens`": "max_completion_length generation_kwargs",
    "rollouts draw from all tokens, at `rollout.temperature`": "temperature top_p top_k min_p repetition_penalty",
    "`student`": "chat_template_kwargs trust_remote_code model_init_kwargs",
    "`objective.kl_penalty`": "beta",
    "`objective.clip_ratio`": "epsilon epsilon_high delta",
    "`objective.entropy_coef`": "entropy_coef use_adaptive_entropy",
    "the objective and its numbers are `objective`": """
        loss_type scale_rewards importance_sampling_level num_iterations multi_objective_aggregation
        off_policy_mask_threshold top_entropy_quantile mask_truncated_completions use_bias_correction_kl
        sync_ref_model reward_weights neftune_noise_alpha label_smoothing_factor disable_dropout""",
    "`env.horizon`": "max_tool_calling_iterations",
    "`runtime.precision`": "bf16 fp16",
    "`runtime.gradient_checkpointing`": "gradient_checkpointing",
    "`runtime.device`": "use_cpu no_cuda",
    "`checkpoint_every`": "save_strategy save_steps save_total_limit save_only_model",
    "`--resume`": "resume_from_checkpoint ignore_data_skip load_best_model_at_end",
    "`evaluation`": "eval_strategy eval_steps do_eval num_generations_eval",
    "what is recorded and shown is the run's business": """
        output_dir logging_steps logging_strategy logging_dir report_to run_name push_to_hub hub_model_id
        log_completions disable_tqdm""",
}
OWNED = {name: owner for owner, names in _OWNERS.items() for name in names.split()}


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
