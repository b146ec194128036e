"""The folder of a run: made, continued, extended or moved aside, and never deleted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.config.files import flatten
from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger, packed
from atod_sweep.records.ledger import History, Ledger
from atod_sweep.sweep.record.endings import some

Definition = dict[str, Any]
# The differences of an old and a new definition that --extend does not cover.
Extension = Callable[[Definition, Definition], list[str]]
_GROWING = ("controls", "seeds", "hypotheses")


@dataclass(frozen=True)
class Intent:
    """What the user said should happen if the folder holds a run already."""

    resume: bool = False
    extend: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        given = [f"--{name}" for name, wanted in vars(self).items() if wanted]
        if len(given) > 1:
            raise UserError(f"{', '.join(given)}: each says what becomes of the run that is there; use one of them")


@contextlib.contextmanager
def opened(
    run_dir: Path, definition: Definition, total: int, extension: Extension, intent: Intent
) -> Iterator[tuple[Ledger, History]]:
    """The run's ledger, locked for writing, and what it holds so far. UserError if the folder holds something else.

    `total`: trials that the definition amounts to.
    """
    with contextlib.ExitStack() as stack:
        try:
            if intent.overwrite and (run_dir / layout.LEDGER).exists():
                _move_aside(run_dir)
            if run_dir.exists() and not (run_dir / layout.LEDGER).exists() and not is_stillborn(run_dir):
                raise UserError(f"{run_dir}: exists and is not the folder of a run; use --name to choose another")
            packed.refuse(run_dir, "gone on with")
            (run_dir / layout.TRIALS).mkdir(parents=True, exist_ok=True)
            writer = stack.enter_context(Ledger(run_dir))
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}; choose a folder with --out"
            raise UserError(f"{run_dir}: {reason}") from None
        history = ledger.fold(ledger.read(run_dir))
        if history.begun:
            _check(run_dir, history, definition, total, extension, intent)
        yield writer, history


def run_folder(out: Path, name: str) -> Path:
    """Where the run of this name is or goes: below `out`, or `out` itself where that is the run's folder already.

    UserError where it is another run's.
    """
    if not (out / layout.LEDGER).exists():
        return out / name
    if out.resolve().name == name:
        return out
    raise UserError(
        f"--out {out}: is the folder of a run, and runs lie beside each other; give the folder around it "
        f"({out.resolve().parent}), in which this one gets its own, {name!r}"
    )


def is_stillborn(run_dir: Path) -> bool:
    """True if the folder holds no more than what a run makes before its ledger."""
    lock, trials = run_dir / layout.LOCK, run_dir / layout.TRIALS
    return {*run_dir.iterdir()} <= {lock, trials} and not (trials.is_dir() and any(trials.iterdir()))


def _move_aside(run_dir: Path) -> None:
    with ledger.locked(run_dir):
        when = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}"
        target = run_dir.parent / layout.TRASH / f"{run_dir.name}-{when}"
        target.parent.mkdir(exist_ok=True)
        run_dir.rename(target)


def _check(
    run_dir: Path, history: History, definition: Definition, total: int, extension: Extension, intent: Intent
) -> None:
    assert history.study is not None
    old = history.study["definition"]
    other = f"use --name {run_dir.name}-2, or --overwrite to move the old run to {run_dir.parent / '.trash'}"
    changes = differences(old, definition)
    if not changes and not (intent.resume or intent.extend):
        raise UserError(
            f"{run_dir} holds this study already ({history.count('COMPLETE')} of {total} trials complete); "
            f"--resume finishes it; otherwise {other}"
        )
    if intent.extend:
        if changes := extension(old, definition):
            raise UserError(f"{run_dir}: --extend adds to a run, but this changes what ran ({some(changes)}); {other}")
    elif changes:
        raise UserError(
            f"{run_dir} exists and was made by a different definition ({some(changes)}); "
            f"--resume needs the same definition, --extend adds to it; otherwise {other}"
        )


# ---- definitions -----------------------------------------------------------------------------------------------------


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
