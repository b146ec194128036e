"""Names of the numbers in a trainer's rows: which there are, in which unit, and whether large or small ones are good.

So a misspelt name is found before anything has run, and no reader has to guess. What stands behind `eval/`,
`final/` and `rollout/` depends on the environment: those names are found out by the first evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from atod_sweep.errors import meant

Direction = Literal["max", "min"]

OPEN = ("eval/", "final/", "rollout/", "retention/")
# What evaluations report, step by step.
EVALUATED = ("eval/", "retention/")
# What a trial amounts to at its end; any other number, such as a loss, is in its training rows alone.
TOTALS = (*EVALUATED, "final/", "cost/")
COSTS = {
    "cost/env_steps": "environment steps",
    "cost/tokens": "tokens",
    "cost/generated_tokens": "tokens",
    "cost/episodes": "episodes",
    "cost/updates": "optimiser steps",
    "cost/dropped_turns": "turns",
    "cost/teacher_tokens": "tokens",
    "cost/teacher_requests": "requests",
    "cost/teacher_hits": "answers",
    "cost/teacher_read": "tokens",
    "cost/teacher_written": "tokens",
    "cost/teacher_money": "money",
    "cost/teacher_generated_tokens": "tokens",
    "cost/seconds": "s",
}
TERMS = ("distill", "reward", "policy", "kl", "value", "entropy", "sft", "preference", "imitation")
_DIAGNOSTICS: dict[str, tuple[str, Direction | None]] = {
    "loss": ("nats", "min"),
    "grad_norm": ("", None),
    "epochs": ("passes", None),
    "lr": ("", None),
    "temperature": ("", None),
    "pairs": ("pairs", None),
    "turns_alone": ("turns", None),
    "takeover": ("", None),
    "depth": ("turns", None),
    "teacher_turns": ("share", None),
    "episodes_cut": ("share", None),
    "logp_gap": ("nats", "min"),
    "lost_updates": ("share", "min"),
    **{f"loss/{term}": ("nats", "min") for term in TERMS},
    # the policy's is shown as its parts, distill and reward
    **{f"grad_norm/{term}": ("", None) for term in TERMS if term != "policy"},
    **{f"kl/{other}": ("nats", "min") for other in ("teacher", "reference", "update")},
    **{f"weight/{what}": ("", None) for what in ("distill", "reward", "kl", "applied_teacher")},
    "relabel/same": ("share", "max"),
    "relabel/left_out": ("share", "min"),
    "preference/loss": ("nats", "min"),
    "preference/margin": ("nats", "max"),
    **{f"seconds/{part}": ("s", "min") for part in ("rollout", "score", "update", "eval")},
}
TRAINING = tuple(_DIAGNOSTICS)
# Of evaluations and rollouts, beside what the environment reports: shares of actions that were cut off, empty, not
# marked as the config wants it, not admitted by the state; the entropy of the policy per token, estimated from those
# that were sampled; the share of tasks whose episodes all have one reward, from which groups learn nothing.
HABITS = ("action_cut", "action_empty", "action_unmarked", "action_inadmissible", "token_entropy", "group_flat")
_FINAL_SET = re.compile(r"final/.+/set[0-9]+")
# Words in the names of an environment's own metrics that say that less is better, and units of the usual names.
_UNWANTED = ("cut", "empty", "unmarked", "inadmissible", "flat")
_LESS = {"turns", "steps", "kl", "cost", "costs", "loss", "seconds", "error", "errors", "regret", "penalty", "invalid"}
_LESS |= {"drop", "bits", "violations", *_UNWANTED}
_UNITS = dict.fromkeys(("success", "f1", "pass", *_UNWANTED), "share")
_UNITS |= {"turns": "turns", "steps": "steps", "seconds": "s", "entropy": "nats", "bits": "bits per byte"}

_SHARE = re.compile(r"([a-z]+|retention/[^/]+)/(success|restraint|f1|pass@[0-9]+)")


def loss_of(term: str) -> str:
    """The metric of a loss term. TypeError for a term that has no line in TERMS: nobody could ask for it."""
    if term not in TERMS:
        raise TypeError(f"no line for the loss term {term!r} in records/metric_names.TERMS")
    return f"loss/{term}"


def check_name(name: str) -> str:
    """The name. ValueError if no trainer reports a number under it."""
    if name.startswith(OPEN) or name in COSTS or name in _DIAGNOSTICS:
        return name
    known = ", ".join([*(f"{start}..." for start in OPEN), *COSTS, *TRAINING])
    hint = meant(name, [*COSTS, *TRAINING, "eval/success", "eval/turns"], f"known: {known}", cutoff=0.5)
    raise ValueError(f"no trial reports {name!r}; {hint}")


def check_retained(name: str, retained: Iterable[str]) -> None:
    """ValueError if a name of retention is none of the `retained` metrics; of other names nothing is said."""
    known = list(retained)
    if not name.startswith("retention/") or name in known:
        return
    nothing = "name what it is about in evaluation.retention, as [{env: {id: tool_use}}]"
    otherwise = f"known: {', '.join(known)}" if known else nothing
    raise ValueError(f"no trial reports {name!r}; {meant(name, known, otherwise, cutoff=0.5)}")


def check_reported(name: str, own: Iterable[str], attempts: int) -> None:
    """ValueError if evaluations with so many `attempts` at a task, of an environment that reports its `own` metrics, do
    not report this one; of names that are not about episodes in it nothing is said."""
    start = next((start for start in OPEN if name.startswith(start) and start != "retention/"), None)
    if start is None:
        return
    known = list(dict.fromkeys(["success", "reward", "turns", *own, *(() if start == "final/" else HABITS)]))
    if start != "rollout/" and attempts > 1:
        known += [f"pass@{k}" for k in (1, attempts) if f"pass@{k}" not in known]
    what = name.rsplit("/set", 1)[0] if is_final_set(name) else name
    if what.removeprefix(start) in known:
        return
    wanted = re.fullmatch(r"pass@([0-9]+)", name.removeprefix(start))
    if wanted and start != "rollout/" and int(wanted[1]) > 1:
        raise ValueError(f"no trial reports {name!r} with evaluation.attempts: {attempts}; set it to {wanted[1]}")
    names = [start + one for one in known]
    said = f"{meant(name, names, cutoff=0.5)} known: {', '.join(names)}".lstrip()
    raise ValueError(f"no trial reports {name!r}; {said}")


def direction(name: str) -> Direction | None:
    """Whether large values of a metric are good ("max") or small ones ("min"); None where it is neither.

    Of an environment's own metrics large values are good, unless a word of the name speaks of something to spare:

    >>> [direction(name) for name in ("eval/success", "eval/turns", "cost/tokens", "kl/teacher", "lr")]
    ['max', 'min', 'min', 'min', None]

    ValueError if no trainer reports such a number.
    """
    check_name(name)
    if name in COSTS:
        return "min"
    if name.startswith(OPEN):
        if name.endswith("/token_entropy"):
            return None
        return "min" if _LESS & set(_words(name)) else "max"
    return _DIAGNOSTICS[name][1]


def final_set(name: str, index: int) -> str:
    """The name of a final metric's value on one of the task sets.

    >>> final_set("final/success", 3)
    'final/success/set3'
    """
    return f"{name}/set{index}"


def is_final_set(name: str) -> bool:
    """Whether a name is that of a value on one task set, which its metric sums up."""
    return _FINAL_SET.fullmatch(name) is not None


def is_settled(name: str) -> bool:
    """Whether a metric has one value at the end, and no evaluations to take the mean over: costs, final sets.

    >>> [is_settled(name) for name in ("final/success", "cost/tokens", "eval/success")]
    [True, True, False]
    """
    return name.startswith(("final/", "cost/"))


def watched(name: str) -> str:
    """The metric to look at while training goes on: a final one has none until the end, but the same of evaluations.

    >>> watched("final/success"), watched("eval/turns")
    ('eval/success', 'eval/turns')
    """
    return f"eval/{name.removeprefix('final/')}" if name.startswith("final/") else name


def unit(name: str) -> str:
    """The unit of a metric, in words that can follow a number; empty where it has none or nobody knows.

    ValueError if no trainer reports such a number.
    """
    check_name(name)
    if name in COSTS:
        return COSTS[name]
    if name.startswith(OPEN):
        return next((_UNITS[word] for word in _words(name) if word in _UNITS), "")
    return _DIAGNOSTICS[name][0]


def bounds(name: str) -> tuple[float, float] | None:
    """The least and the largest value that a metric can have, where both are known: a share of episodes is 0 to 1.

    >>> bounds("eval/success"), bounds("eval/pass@4"), bounds("eval/turns")
    ((0.0, 1.0), (0.0, 1.0), None)

    ValueError if no trainer reports such a number.
    """
    check_name(name)
    return (0.0, 1.0) if _SHARE.fullmatch(name) else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.split("/", 1)[1].lower()) if word]
