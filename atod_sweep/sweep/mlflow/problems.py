"""What is wrong with a store, in one line that names the remedy."""

from __future__ import annotations

import re

from atod_sweep.errors import UserError
from atod_sweep.records.redaction import redacted

_LENGTH = 200  # characters of a reason that is not known here


class Lost(Exception):
    """What was there is not any more, as its message says."""


# What a store that says this in lower case is or does, and the remedy, which may name it as {uri}.
_KINDS = (
    (
        "is locked|could not be acquired",
        "is locked",
        "close what holds it (MLflow's UI, a database browser, a copy that is still running)",
    ),
    ("not a database|malformed", "is damaged", "move the file away, or restore it from a backup"),
    ("table \\S+ already exists|duplicate column", "was left half made", "move the file away"),
    ("disk is full|no space left", "does not fit on the disk", "make room"),
    (
        "error code 401|error code 403|unauthenticated|permission_denied",
        "refuses us",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of one who may write",
    ),
    ("error code 404", "is not an MLflow server", "check the address"),
    (
        "readonly|read-only|unable to open|permission denied|not permitted|a directory|no such file|file exists",
        "cannot be written",
        "make it writable, or name another store with --tracking-uri",
    ),
    (
        "out-of-date database schema|can't locate revision",
        "was made by another version of MLflow",
        "back it up, then: mlflow db upgrade {uri}",
    ),
    (
        "max retries|connection|timed out|could not translate host|error code 5",
        "does not answer",
        "start it, or check the address",
    ),
)


def explain(error: Exception, uri: str) -> str:
    """One line: the store, what is wrong with it, and the remedy."""
    said = " ".join(str(error).split())
    store = f"MLflow at {redacted(uri)}"
    if isinstance(error, UserError | Lost):
        return redacted(said)
    for signs, what, remedy in _KINDS:
        if re.search(signs, said.lower()):
            return f"{store} {what}; {remedy.format(uri=redacted(uri))}"
    return f"{store} says: {redacted(said)[:_LENGTH] or type(error).__name__}"
