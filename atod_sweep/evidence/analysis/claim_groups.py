"""Claims as a reader goes through them: by metric and by the setting that they are about, with a word for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atod_sweep.evidence.analysis.results import label
from atod_sweep.evidence.analysis.verdict import Verdict

# First words of a verdict's marks that change how its word is to be read, and how they stand beside it.
EXPLORATORY = "exploratory"
BESIDE = (EXPLORATORY, "incomplete", "partial")
NOT_AFTER_HOLM = "not after Holm"


@dataclass(frozen=True)
class Group:
    """Claims about the same metric and setting; `title` is empty where there is nothing to tell them apart by."""

    title: str
    metric: str
    verdicts: tuple[Verdict, ...]


def groups(verdicts: Sequence[Verdict]) -> list[Group]:
    """By metric, then by setting, in the order in which the study first names them."""
    metrics = list(dict.fromkeys(v.hypothesis.metric for v in verdicts))
    keys = list(dict.fromkeys((v.hypothesis.metric, label(v.hypothesis.at)) for v in verdicts))
    found = []
    for metric, at in sorted(keys, key=lambda key: metrics.index(key[0])):
        mine = tuple(v for v in verdicts if (v.hypothesis.metric, label(v.hypothesis.at)) == (metric, at))
        where = at or ("in all settings together" if any(level for _, level in keys) else "")
        what = metric if len(metrics) > 1 else ""
        found.append(Group(", ".join(part for part in (what, where) if part), metric, mine))
    return found


def short_claim(v: Verdict) -> str:
    """The claim without what its group says already: `cosine > linear by 0.01`."""
    return v.hypothesis.told(metric=False, at=False)


def beside(v: Verdict) -> list[str]:
    """What stands in the verdict's chip beside its word: `not after Holm`, `incomplete`, `exploratory`, `partial`."""
    found = [word for mark in v.marks if (word := mark.split(":")[0]) in BESIDE]
    return [*([] if v.survives else [NOT_AFTER_HOLM]), *found]


def word(v: Verdict) -> str:
    """The verdict's word with what stands beside it: `supported · not after Holm`."""
    return " · ".join([v.outcome, *beside(v)])


def is_firm(v: Verdict) -> bool:
    """Whether the verdict decides a claim that was made beforehand, also as one of all of them."""
    return v.holds is not None and v.survives and v.registered
