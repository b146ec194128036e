"""slime, prime-rl and NeMo-RL: where a schedule's parts would go. Read in their source, run by nobody here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mapping:
    """A trainer whose keys are known but for which no shim is shipped. `rows`: part, its place, what is missing."""

    name: str
    revision: str
    sources: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    remark: str


DOCUMENTED = (
    Mapping(
        name="slime",
        revision="THUDM/slime@624b824a8 (0.3.1 and 38 commits)",
        sources=(
            "slime/utils/arguments.py",
            "slime/backends/megatron_utils/loss.py",
            "docs/en/advanced/on-policy-distillation.md",
        ),
        rows=(
            ("teacher's weight", "`--use-opd --opd-kl-coef`", "constant; no schedule"),
            ("teacher", "`--opd-type sglang|megatron`, `--opd-teacher-load`, `--rm-url`", ""),
            ("weight by step or turn", "`--custom-advantage-function-path pkg.fn`", "gets no step: keep a counter"),
            ("reward's weight", "in the same function: it replaces the advantage estimator", ""),
            ("KL penalty", "`--use-kl-loss --kl-loss-coef --kl-loss-type`, `--kl-coef`", "constant; no schedule"),
            ("temperature", "`--rollout-temperature`", "constant; no schedule"),
        ),
        remark="Its advantage is A - opd_kl_coef (log p_student - log p_teacher): as in the hybrid form.",
    ),
    Mapping(
        name="prime-rl",
        revision="PrimeIntellect-ai/prime-rl@559b44772 (0.8.1.dev67)",
        sources=(
            "packages/prime-rl-configs/src/prime_rl/configs/algorithm.py",
            "src/prime_rl/trainer/rl/loss.py",
            "src/prime_rl/orchestrator/algo/routing.py",
        ),
        rows=(
            ("teacher", '`[orchestrator.algo] type = "opd"`, `[orchestrator.algo.teacher] name, base_url`', ""),
            ("teacher's weight", "per-token stream `ref_kl_weights`", "always 1.0: needs an Algorithm subclass"),
            ("reward's weight", "per-token stream `rl_weights`", "opd ships no reward advantage: the same subclass"),
            ("weight by turn", "the same streams, token by token", ""),
            ("weight by step", "", "no key: the subclass keeps the step"),
            ("KL penalty", "`[trainer.loss] kl_tau`", "drift to the rollout policy, not to the initial student"),
        ),
        remark="Keys by version: `trainer.loss.teacher_tau` up to 0.5, `training_mode` in 0.6, `algo` from 0.7.",
    ),
    Mapping(
        name="nemo-rl",
        revision="NVIDIA-NeMo/RL@7ea279abf",
        sources=(
            "examples/configs/distillation_math.yaml",
            "nemo_rl/algorithms/distillation.py",
            "nemo_rl/algorithms/advantage_estimator.py",
        ),
        rows=(
            ("signal", "`loss_fn.kl_type` forward, reverse or mixed; `distillation.topk_logits_k`", "no reward term"),
            ("teacher", "`teacher.model_name`", ""),
            ("teacher's weight", "", "no coefficient"),
            (
                "reward beside the teacher",
                "`grpo.adv_estimator.name = opd` ignores rewards",
                "needs a new estimator class",
            ),
            ("weight by step or turn", "", "no key"),
            ("KL penalty", "`loss_fn.reference_policy_kl_penalty`, `reference_policy_kl_type`", "constant; GRPO only"),
            ("temperature", "`policy.generation.temperature`", "constant; no schedule"),
        ),
        remark="A schedule has no place in its configs; the table would have to be read by a new advantage estimator.",
    ),
)


def markdown(mapping: Mapping) -> str:
    """The mapping as a section of a README."""
    rows = "\n".join(f"| {part} | {place or 'none'} | {missing} |" for part, place, missing in mapping.rows)
    sources = ", ".join(f"`{path}`" for path in mapping.sources)
    return (
        f"### {mapping.name}\n\nRead at {mapping.revision}, in {sources}. Not supported: nobody ran it.\n\n"
        f"| part | its place | what cannot be carried |\n|---|---|---|\n{rows}\n\n{mapping.remark}\n"
    )
