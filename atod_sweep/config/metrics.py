"""Names of the numbers in a trainer's rows, so that a misspelt one is found before anything has run."""

from __future__ import annotations

import difflib

OPEN = ("eval/", "cost/", "rollout/")  # what stands behind these depends on the environment; evaluations tell
TERMS = ("distill", "reward", "policy", "kl", "value", "entropy", "sft", "preference")
TRAINING = (
    *("loss", "grad_norm", "epochs", "lr", "temperature", "pairs"),
    *(f"loss/{term}" for term in TERMS),
    *(f"grad_norm/{term}" for term in TERMS),
    *(f"kl/{other}" for other in ("teacher", "reference", "update")),
    *(f"weight/{what}" for what in ("distill", "reward", "kl", "applied_teacher")),
    *(f"preference/{what}" for what in ("loss", "margin")),
    *(f"seconds/{part}" for part in ("rollout", "score", "update", "eval")),
)


def check_name(name: str) -> str:
    """The name. ValueError if no trainer reports a number under it."""
    if name.startswith(OPEN) or name in TRAINING:
        return name
    near = difflib.get_close_matches(name, [*TRAINING, "eval/success", "eval/turns", "cost/env_steps"], n=1, cutoff=0.5)
    known = ", ".join([*(f"{start}..." for start in OPEN), *TRAINING])
    hint = f"did you mean {near[0]!r}?" if near else f"known: {known}"
    raise ValueError(f"no trial reports {name!r}; {hint}")
