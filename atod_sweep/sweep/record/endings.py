"""How the trials of a run ended, in a few lines: what was stopped, what failed and why, what was tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from atod_sweep.records.ledger import History, fold
from atod_sweep.records.ledger_rows import Row, TrialRow

_NAMED = 4  # trials or changes that a message names before it only counts


def lines(rows: Sequence[Row]) -> list[str]:
    """From the rows of a ledger; none if every trial completed at its first attempt."""
    history = fold(list(rows))
    counts = Counter(row["state"] for row in history.trials.values())
    failed = {trial: row for trial, row in history.trials.items() if row["state"] == "FAILED"}
    again = [
        row
        for row in rows
        if row["event"] == "trial" and row["state"] == "FAILED" and history.trials[row["trial"]] is not row
    ]
    if counts.keys() <= {"COMPLETE"} and not again:
        return []
    words = [
        f"{counts[state]} {state.lower()}" for state in ("COMPLETE", "PRUNED", "FAILED", "RUNNING") if counts[state]
    ]
    found = [f" trials    {', '.join(words)}"]
    found += [f" failed    {line}" for line in _grouped(list(failed.values()))]
    found += [f" again     {line}" for line in _grouped(again)]
    return found


def lost(history: History) -> str:
    """The trials that were under way when the run's process ended without a word: killed, or by a trial's own code.

    "" if there are none.
    """
    names = [trial for trial, row in history.trials.items() if row["state"] == "RUNNING"]
    return f"under way when the last process was gone, and now tried again: {', '.join(names)}" if names else ""


def _grouped(rows: Sequence[TrialRow]) -> list[str]:
    """`status: message (trials)`, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if error := row.get("error"):
            message = " ".join(error["message"].split())
            groups.setdefault(f"{error['status']}: {message[:120]}", []).append(row["trial"])
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [f"{reason} ({some(trials)})" for reason, trials in ordered]


def some(words: Sequence[str]) -> str:
    """The first ones by name, and how many more there are."""
    named = ", ".join(words[:_NAMED])
    return named if len(words) <= _NAMED else f"{named} and {len(words) - _NAMED} more"
