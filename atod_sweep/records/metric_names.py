"""Names of the numbers in a trainer's rows, so that a misspelt one is found before anything has run.

What stands behind `eval/` and `rollout/` depends on the environment: those names are found out by the first evaluation.
"""

from __future__ import annotations

import difflib

OPEN = ("eval/", "rollout/")
COSTS = tuple(
    f"cost/{what}"
    for what in (
        *("env_steps", "tokens", "generated_tokens", "episodes", "updates", "dropped_turns", "teacher_tokens"),
        "seconds",
    )
)
TERMS = ("distill", "reward", "policy", "kl", "value", "entropy", "sft", "preference")
TRAINING = (
    *("loss", "grad_norm", "epochs", "lr", "temperature", "pairs"),
    *(f"loss/{term}" for term in TERMS),
    *(f"grad_norm/{term}" for term in TERMS if term != "policy"),  # shown as its parts, distill and reward
    *(f"kl/{other}" for other in ("teacher", "reference", "update")),
    *(f"weight/{what}" for what in ("distill", "reward", "kl", "applied_teacher")),
    *(f"preference/{what}" for what in ("loss", "margin")),
    *(f"seconds/{part}" for part in ("rollout", "score", "update", "eval")),
)


def check_name(name: str) -> str:
    """The name. ValueError if no trainer reports a number under it."""
    if name.startswith(OPEN) or name in COSTS + TRAINING:
        return name
    near = difflib.get_close_matches(name, [*COSTS, *TRAINING, "eval/success", "eval/turns"], n=1, cutoff=0.5)
    known = ", ".join([*(f"{start}..." for start in OPEN), *COSTS, *TRAINING])
    hint = f"did you mean {near[0]!r}?" if near else f"known: {known}"
    raise ValueError(f"no trial reports {name!r}; {hint}")
