"""A study file: one question, arms that differ in what they override, the same seeds for every arm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from atod_sweep.config.base import LARGEST_SEED, MOST_SEEDS, Later, Record
from atod_sweep.config.names import check_plain, check_trials
from atod_sweep.config.price import Price
from atod_sweep.config.told import nearest
from atod_sweep.config.whole import File
from atod_sweep.errors import Mistakes
from atod_sweep.records.metric_names import EVALUATED, bounds, check_name, direction, watched

Control = Literal[
    "teacher", "base", "opd", "rl", "fixed_mix", "shuffled_teacher", "random_teacher", "constant_push", "tuned_constant"
]
CONTROLS: tuple[str, ...] = get_args(Control)

_WORD = {">": "by", ">=": "within", "=": "within"}  # what the margin of each relation is called


class Hypothesis(Record):
    """A claim that is decided by data: `arm > other on metric at factor=level by margin`."""

    arm: str = Field(description="Arm that the claim is about.")
    relation: Literal[">", ">=", "="] = Field(
        description="'>' better by more than margin; '>=' no worse than margin; '=' equal within margin."
    )
    other: str = Field(description="Arm or control that it is compared with.")
    metric: str = Field(
        "eval/success", description="Metric of the comparison; which way is better follows from its name."
    )
    at: dict[str, str] = Field(
        default_factory=dict, description="Factor levels it is restricted to; empty: all of them."
    )
    margin: float = Field(0.0, ge=0, description="Margin, in units of the metric.")

    def __str__(self) -> str:
        return self.told()

    def told(self, metric: bool = True, at: bool = True) -> str:
        """The sentence; on demand without the metric, or without the levels."""
        on = f" on {self.metric}" if metric else ""
        where = f" at {', '.join(f'{k}={v}' for k, v in self.at.items())}" if self.at and at else ""
        margin = f" {_WORD[self.relation]} {self.margin:g}" if self.margin else ""
        return f"{self.arm} {self.relation} {self.other}{on}{where}{margin}"

    def concerns(self, arm: str, levels: Mapping[str, str]) -> bool:
        """Whether a trial of this arm at these levels bears on it; factors that it lacks do not speak against it."""
        return arm in (self.arm, self.other) and all(
            levels.get(factor, level) == level for factor, level in self.at.items()
        )

    def check(self) -> None:
        """ValueError for what can be written down and never be decided as it is meant.

        Apart from the record's own checks: ledgers hold claims of the time before these.
        """
        _better(self.metric)
        if self.relation != ">" and self.margin == 0:
            raise ValueError(
                f"'{self.arm} {self.relation} {self.other}' needs a margin: no number of seeds shows two arms equal to "
                "the last digit; add for example 'within 0.02'"
            )
        limits = bounds(self.metric)
        if limits and self.margin >= limits[1] - limits[0]:
            raise ValueError(
                f"a margin of {self.margin:g} is as much as {self.metric} can differ by at all, from {limits[0]:g} to "
                f"{limits[1]:g}; use less"
            )


def _better(metric: str) -> None:
    """ValueError for a name that nobody reports, and for one of which neither large nor small values are better."""
    if direction(check_name(metric)) is None:
        raise ValueError(f"of {metric} neither large nor small values are better; compare by another metric")


def _has_start(metric: str) -> None:
    """ValueError for a metric without a value at step 0, over which nothing can be gained."""
    if not metric.startswith(EVALUATED):
        instead = watched(metric) if watched(metric) != metric else "a metric of evaluations, such as eval/success"
        raise ValueError(f"{metric} has no value at step 0 that a gain could be told from; use {instead}")


def _parts(text: str) -> dict[str, str] | None:
    """The parts of a sentence by name, read word by word; None if it is none."""
    arm, relation, other, *words = [*text.split(), "", "", ""][: max(3, len(text.split()))]
    if not other or relation not in _WORD:
        return None
    parts = {"arm": arm, "relation": relation, "other": other}
    if words[:1] == ["on"] and len(words) > 1:
        parts["metric"], words = words[1], words[2:]
    if words[:1] == ["at"]:
        end = next((i for i, word in enumerate(words) if word in ("by", "within")), len(words))
        parts["at"], words = " ".join(words[1:end]), words[end:]
        pairs = [pair.strip().partition("=") for pair in parts["at"].split(",")]
        if not all(name and level and len(f"{name}{level}".split()) == 1 for name, _, level in pairs):
            return None
    if len(words) == 2 and words[0] in ("by", "within") and not set(words[1]) - set("0123456789.eE+-"):
        parts["word"], parts["margin"], words = words[0], words[1], []
    return None if words else parts


def _parse_hypothesis(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = _parts(value)
    if parts is None:
        raise ValueError(
            f"cannot read {value[:200]!r}; write for example 'cosine > linear on eval/success at horizon=long by 0.0' "
            "(names hold no spaces)"
        )
    word, wanted = parts.pop("word", _WORD[parts["relation"]]), _WORD[parts["relation"]]
    if word != wanted:
        other = "'=' or '>='" if wanted == "by" else "'>'"
        raise ValueError(
            f"{value!r}: the margin of '{parts['relation']}' is a '{wanted}', and '{word}' belongs to {other}; "
            f"write '{wanted} {parts['margin']}', or the other relation"
        )
    at = dict(pair.strip().split("=", 1) for pair in parts.pop("at").split(",")) if "at" in parts else {}
    return {**parts, "at": at}


class Metric(Record):
    """The number that a trial is judged by."""

    name: str = Field("eval/success", description="Name of a metric; which way is better follows from its name.")
    last: int = Field(1, ge=1, description="Mean over this many last evaluations.")


class Bars(Record):
    """What a trial and a setting must reach to count as having learned; fixed before the run, like the claims."""

    learning: dict[str, float] = Field(
        default={"eval/success": 0.1},
        description="Metric -> what the best arm must gain over step 0, or claims on it are not judged there: of a "
        "share of episodes this part of what is left to gain, of others this much in their units; {}: no bar.",
    )
    collapse: float | None = Field(
        0.05,
        ge=0,
        lt=1,
        description="A seed that ends without this part of the success that was left to gain at step 0 has collapsed; "
        "null: none ever has.",
    )

    @field_validator("learning")
    @classmethod
    def _known_metrics(cls, learning: dict[str, float]) -> dict[str, float]:
        for name, bar in learning.items():
            if direction(check_name(name)) is None:
                raise ValueError(f"of {name} neither large nor small values are better; drop its bar")
            if bar <= 0 or (bounds(name) and bar >= 1):
                raise ValueError(f"{name}: {bar} is no bar; use a number above 0{', below 1' if bounds(name) else ''}")
        return learning


class Resources(Record):
    """What one trial needs."""

    cpu: float = Field(1.0, gt=0, description="CPU cores per trial.")
    gpu: float = Field(0.0, ge=0, description="GPUs per trial; fractions share one.")
    seconds: float | None = Field(None, gt=0, description="Wall-clock limit of one attempt at a trial; null: none.")
    memory_gb: float | None = Field(
        None, gt=0, description="Resident memory (10^9 bytes) at which a trial's process is ended; null: no limit."
    )
    share_teacher: bool | None = Later(
        None,
        description="On Ray, one local teacher for all trials of a machine that only ask it for probabilities; null: "
        "where copies of it would cost more than 1 GB.",
    )


# Nothing behind a name (`cosine:`) is the base as it is.
Overrides = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]


class Study(File):
    """An ablation study: arms x factor levels x seeds."""

    sort = "study"
    spine = ("base", "arms", "controls", "factors")
    name: str = Field(description="Name of the run's folder; the file's own name if it gives none.")
    question: str = Field(description="What the study asks, as one sentence.")
    base: str | dict[str, Any] = Field(description="Trainer config: 'presets/NAME', a YAML file, or an inline mapping.")
    arms: dict[str, Overrides] = Field(description="Arm name -> dotted overrides of the base config.", min_length=1)
    reference: str | None = Field(None, description="Arm that the others are compared with; null: the first one.")
    factors: dict[str, dict[str, Overrides]] = Field(
        default_factory=dict, description="Factor -> level -> dotted overrides; every arm runs at every level."
    )
    controls: list[Control] = Field(default_factory=list, description="Baselines run beside the arms.")
    seeds: int | list[int] = Field(3, description="Number of seeds (0 .. n-1) or the list of them; shared by all arms.")
    metric: Metric = Field(default_factory=Metric, description="What trials are judged by.")
    hypotheses: list[Annotated[Hypothesis, BeforeValidator(_parse_hypothesis)]] = Field(
        default_factory=list, description="Claims to decide, as records or sentences."
    )
    bars: Bars = Field(default_factory=Bars, description="When a setting or a seed counts as having learned.")
    resources: Resources = Field(default_factory=Resources, description="Needs of one trial.")
    concurrency: int | None = Field(None, ge=1, description="Trials at a time; null: as many as the resources hold.")
    price: Price | None = Later(None, description="What tokens cost, for `atod-sweep cost`.")

    @property
    def seed_list(self) -> list[int]:
        """The seeds that every arm runs."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def reference_arm(self) -> str:
        """The arm that the others are compared with."""
        return self.reference or next(iter(self.arms))

    def seeds_in_all(self, count: int) -> list[int]:
        """`count` seeds: the first of the study's own, then those that follow its largest."""
        own = self.seed_list
        return [*own[:count], *range(after := max(own) + 1, after + count - len(own))]

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, seeds: int | list[int]) -> int | list[int]:
        most = seeds if isinstance(seeds, int) else len(seeds)  # before the seeds of a number are written out
        if most > MOST_SEEDS or (isinstance(seeds, list) and max(seeds, default=0) > LARGEST_SEED):
            raise ValueError(f"a seed lies below 2^32, and a study has at most {MOST_SEEDS} of them, got {seeds!r}")
        values = range(seeds) if isinstance(seeds, int) else seeds
        if len(values) == 0 or min(values) < 0:
            raise ValueError(f"a study needs at least one seed, none below 0, got {seeds!r}; use seeds: 3")
        if len(set(values)) != len(values):
            raise ValueError(f"each seed counts once, got {seeds!r}")
        return seeds

    @model_validator(mode="after")
    def _coherent(self, info: ValidationInfo) -> Study:
        """That names are known and claims can be decided; the latter is not asked of what a ledger has recorded."""
        recorded = (info.context or {}).get("recorded")
        found = [
            *(() if recorded else self._undecidable()),
            *self._wrong_arms(),
            *self._wrong_factors(),
            *self._wrong_claims(),
        ]
        if found:
            raise Mistakes("study", found)
        check_trials([*self.arms, *self.controls], self.factors.values(), self.seed_list)
        return self

    def _undecidable(self) -> Iterator[str]:
        checks: list[tuple[str, Callable[[], object]]] = [("metric.name", partial(_better, self.metric.name))]
        checks += [(f"hypotheses.{i}", claim.check) for i, claim in enumerate(self.hypotheses)]
        checks += [("bars.learning", partial(_has_start, name)) for name in self.bars.learning]
        told = [(claim, "metric" in claim.model_fields_set) for claim in self.hypotheses]  # unnamed, it may be another
        for i, claim in enumerate(self.hypotheses):
            if told[i] in told[:i]:
                yield f"hypotheses.{i}: '{claim}' is there already, and each claim counts once; drop it"
        for where, check in checks:
            try:
                check()
            except ValueError as error:
                yield f"{where}: {error}"

    def _wrong_arms(self) -> Iterator[str]:
        arms = [*self.arms, *self.controls]
        for name in self.arms:
            yield from _named("arms", name, "cannot name an arm")
            if name in CONTROLS and name in self.controls:
                yield f"arms.{name}: is also a control; rename the arm or drop the control"
        if len(set(self.controls)) != len(self.controls):
            yield f"controls: each control runs once, got {self.controls}"
        if self.reference is not None and self.reference not in arms:
            yield f"reference: {self.reference!r} is not an arm; {nearest(self.reference, arms)}"

    def _wrong_factors(self) -> Iterator[str]:
        for factor, levels in self.factors.items():
            if not levels:
                yield f"factors.{factor}: has no levels, so nothing would run; give it one, or drop it"
            for name in (factor, *levels):
                yield from _named("factors", name, "cannot be a name")

    def _wrong_claims(self) -> Iterator[str]:
        arms = [*self.arms, *self.controls]
        known = [f"{f}={v}" for f, levels in self.factors.items() for v in levels]
        for i, claim in enumerate(self.hypotheses):
            for name in dict.fromkeys((claim.arm, claim.other)):
                if name not in arms:
                    yield f"hypotheses.{i}: {name!r} is not an arm; {nearest(name, arms)}"
            if claim.arm == claim.other:
                yield f"hypotheses.{i}: compares {claim.arm!r} with itself; name two different arms"
            for factor, level in claim.at.items():
                if level not in self.factors.get(factor, {}):
                    hint = nearest(f"{factor}={level}", known) if known else "known: no factors"
                    yield f"hypotheses.{i}: {factor}={level} is not a level; {hint}"


def _named(where: str, name: str, what: str) -> Iterator[str]:
    try:
        check_plain(name, what)
    except ValueError as error:
        yield f"{where}: {error}"
