"""Is this the study that a folder already holds? Differences of two definitions, readable, and what may be added."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.files import flatten

_GROWING = ("controls", "seeds", "hypotheses")


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One `key: old → new` per difference, in the order of the new definition."""
    before, after = flatten(old), flatten(new)
    keys = [*after, *(key for key in before if key not in after)]
    return [
        f"{key.removeprefix('base.')}: {_shown(before, key)} → {_shown(after, key)}"
        for key in keys
        if before.get(key, ...) != after.get(key, ...)
    ]


def _shown(flat: dict[str, Any], key: str) -> str:
    if key not in flat:
        return "absent"
    text = str(flat[key])
    return text if len(text) <= 60 else text[:57] + "..."


def beyond_extension(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The differences that are more than added arms, factor levels, controls, seeds or hypotheses.

    When seeds are added by a rule and by which may change: the intervals of verdicts allow for any. What
    `tuned_constant` is chosen by comes with that control; trials that were made otherwise are known by their configs.
    """
    apart = ("sequential", "tuned")
    old, reduced = ({key: value for key, value in one.items() if key not in apart} for one in (old, new))
    reduced["arms"] = {name: new["arms"][name] for name in old["arms"] if name in new["arms"]}
    reduced["factors"] = {
        factor: {level: levels[level] for level in old["factors"].get(factor, levels) if level in levels}
        for factor, levels in new["factors"].items()
    }
    for key in _GROWING:
        reduced[key] = [item for item in old[key] if item in new[key]]
    return differences(old, reduced)
