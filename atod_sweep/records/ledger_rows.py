"""The rows of a ledger: what happened in a run, one kind for each `event`. Plain data with the types written down.

A row is a mapping, as JSON has it; these types are checked when it is written and when it is read, and by mypy. Every
row carries the time at which it was written, in seconds since 1970.

What comes to be known later gets a field that is NotRequired; a change of what a field means is a new FORMAT. Ledgers
of the first versions have rows without format and checksum: the same fields, less those that came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

FORMAT = "atod-sweep/ledger/1"

State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAILED"]
Role = Literal["arm", "control", "teacher", "base"]


class MetricName(TypedDict):
    """A metric, and over how many of its last values the mean is taken."""

    name: str
    last: int


class StudyRow(TypedDict):
    """What the run is: written when it begins, and again whenever the definition or the circumstances have changed."""

    event: Literal["study"]
    time: float
    id: str  # of the run, the same in all its rows
    name: str
    question: str
    base: NotRequired[dict[str, Any]]  # the resolved base config, as it was given
    reference: str
    metric: MetricName
    bars: NotRequired[dict[str, Any]]
    hypotheses: list[dict[str, Any]]
    arms: list[str]
    controls: list[str]
    factors: dict[str, list[str]]
    seeds: list[int]
    sequential: NotRequired[bool]  # seeds are added until the claims are decided
    price: NotRequired[dict[str, Any]]  # what tokens cost, where the file says it
    search: NotRequired[dict[str, Any]]  # the search file, of a search
    definition: dict[str, Any]  # everything that decides results
    definition_hash: str
    file_sha256: NotRequired[str]  # of the study or search file in the run's folder
    argv: list[str]
    started_with: NotRequired[dict[str, Any]]  # where trials run, if not where they do by default
    versions: dict[str, str]
    numerics: int
    git: str | None
    hardware: dict[str, Any]
    models: NotRequired[dict[str, Any]]  # in the first versions; a row of its own since
    pairs: NotRequired[dict[str, Any]]


class ModelsRow(TypedDict):
    """The models that the trials start from: the first pair, and all by the key of the configs that need them."""

    event: Literal["models"]
    time: float
    models: dict[str, Any]
    pairs: dict[str, Any]


class ErrorFields(TypedDict):
    """Why an attempt failed; `status` is a word of `records.status`."""

    status: str
    type: str
    message: str
    traceback: str


class TrialRow(TypedDict):
    """A trial's state, written when an attempt begins and when it ends; the last row counts.

    Of an attempt that has ended: costs by name, seconds of wall time, and the metrics of its first evaluation; of one
    that ended well: final metrics, the score (with two goals of a search, the second too), and the most bytes that its
    process has held.
    """

    event: Literal["trial"]
    time: float
    trial: str
    arm: str
    role: Role
    levels: dict[str, str]
    seed: int
    config_hash: str
    configuration: NotRequired[str]  # in a search: the config whatever its seed, and the part of the search
    phase: NotRequired[Literal["search", "confirm"]]
    attempt: int
    state: State
    start_metrics: NotRequired[dict[str, Any]]
    cost: NotRequired[dict[str, float]]
    seconds: NotRequired[float]
    memory: NotRequired[int]
    worker: NotRequired[str]
    error: NotRequired[ErrorFields | None]
    metrics: NotRequired[dict[str, Any]]
    score: NotRequired[float | None]
    second: NotRequired[float | None]


class ConfigurationRow(TypedDict):
    """A search proposed a configuration: its parameters by the sampler's names, and the config keys that they set."""

    event: Literal["configuration"]
    time: float
    arm: str
    configuration: str
    number: int
    params: dict[str, Any]
    values: dict[str, Any]


class ToldRow(TypedDict):
    """A search learned how a configuration did: its mean per objective. The last row counts (racing: more seeds)."""

    event: Literal["told"]
    time: float
    arm: str
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    values: list[float] | None


class EarnedRow(TypedDict):
    """A racing configuration got its next seed: it may still be best."""

    event: Literal["earned"]
    time: float
    arm: str
    seed: int


class SelectionRow(TypedDict):
    """A search chose the configurations to confirm on fresh seeds."""

    event: Literal["selection"]
    time: float
    top: list[dict[str, Any]]
    arms: list[str]
    seeds: list[int]
    definition_hash: str


class OpenClaim(TypedDict):
    """What an undecided claim compares, at which levels."""

    arms: list[str]
    at: dict[str, str]


class LookRow(TypedDict):
    """The claims were looked at, to see whether more seeds are needed."""

    event: Literal["look"]
    time: float
    seeds: list[int]
    rule: str
    verdicts: list[dict[str, Any]]
    open: NotRequired[list[OpenClaim]]  # for whose arms the next seeds are; absent in runs in which they are for all
    decided: bool


Row = StudyRow | ModelsRow | TrialRow | ConfigurationRow | ToldRow | EarnedRow | SelectionRow | LookRow
KINDS: dict[str, type] = {
    "study": StudyRow,
    "models": ModelsRow,
    "trial": TrialRow,
    "configuration": ConfigurationRow,
    "told": ToldRow,
    "earned": EarnedRow,
    "selection": SelectionRow,
    "look": LookRow,
}


def check_row(row: Mapping[str, Any], sealed: bool = True) -> None:
    """ValueError unless this is a row of a ledger, with every field of its kind in its type.

    A sealed row may hold more, which a later version knows. Others have no checksum by which a damaged name is found.
    """
    event = row.get("event")
    kind = KINDS.get(event) if isinstance(event, str) else None
    if kind is None:
        raise ValueError(f"no row of a ledger, its event is {event!r}")
    try:
        _adapter(kind).validate_python(row, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, problem = ".".join(map(str, first["loc"])), first["msg"][0].lower() + first["msg"][1:]
        raise ValueError(f"no {event} row, {where}: {problem}") from None
    if not sealed and (unknown := sorted(row.keys() - kind.__annotations__.keys())):
        raise ValueError(f"no {event} row, {unknown[0]}: not a field of it")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
