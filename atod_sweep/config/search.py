"""A search file: a space of trainer configs, what to optimise, how the budget is spent."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from atod_sweep.config.base import LARGEST_SEED, MOST_SEEDS, Later, Record, Seed
from atod_sweep.config.domains import Constraint, Parameter
from atod_sweep.config.price import Price
from atod_sweep.config.space import parse_constraint, parse_parameters
from atod_sweep.config.study import Metric, Resources
from atod_sweep.config.whole import File
from atod_sweep.records.metric_names import check_name


class Objective(Metric):
    """A number to optimise: an evaluation metric, a cost, or any value of the trainer's rows."""

    mode: Literal["max", "min"] = Field("max", description="Whether large or small values are good.")

    @field_validator("name")
    @classmethod
    def _known_name(cls, name: str) -> str:
        return check_name(name)

    @property
    def sign(self) -> float:
        """What to multiply values by so that large ones are good."""
        return 1.0 if self.mode == "max" else -1.0


Key = TypeVar("Key", bound=Hashable)


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better; large values are good."""
    return tuple(a) != tuple(b) and all(x >= y for x, y in zip(a, b, strict=True))


def layers(points: Mapping[Key, Sequence[float]]) -> dict[Key, int]:
    """Non-dominated layer of every point, 0 the Pareto front; with one number each, the rank."""
    left, found = dict(points), dict[Key, int]()
    while left:
        front = [key for key, point in left.items() if not any(_dominates(other, point) for other in left.values())]
        found |= dict.fromkeys(front, max(found.values(), default=-1) + 1)
        left = {key: point for key, point in left.items() if key not in front}
    return found


class TPE(Record):
    """Optuna's tree-structured Parzen estimator; every argument that decides its draws is pinned here."""

    kind: Literal["tpe"] = "tpe"
    seed: Seed = Field(0, description="Seed of the sampler.")
    startup: int = Field(10, ge=0, description="Random configurations before the model is used.")
    candidates: int = Field(24, ge=1, description="Candidates among which the model chooses.")
    multivariate: bool = Field(True, description="Model parameters jointly.")
    group: bool = Field(True, description="With multivariate: one joint model per branch of a conditional space.")
    constant_liar: bool = Field(True, description="Count configurations under way as bad, so that workers spread out.")

    @model_validator(mode="after")
    def _group_needs_multivariate(self) -> TPE:
        if self.group and not self.multivariate:
            raise ValueError("group: true needs multivariate: true; set group: false")
        return self


class Random(Record):
    """Independent draws, made before anything runs."""

    kind: Literal["random"] = "random"
    seed: Seed = Field(0, description="Seed of the draws.")


class Grid(Record):
    """Every combination; ranges need a step."""

    kind: Literal["grid"] = "grid"


class QMC(Record):
    """A scrambled Sobol sequence: more even than random draws; for spaces without conditions."""

    kind: Literal["qmc"] = "qmc"
    seed: Seed = Field(0, description="Seed of the scrambling.")


class OptunaSampler(Record):
    """Any sampler of Optuna's kind: its own, a package's, or yours."""

    kind: Literal["optuna"] = "optuna"
    path: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="Its class, such as optuna.samplers:CmaEsSampler."
    )
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of the class.")
    seed: Seed = Field(0, description="Given to a class that takes a `seed`, unless kwargs do.")


Sampler = Annotated[TPE | Random | Grid | QMC | OptunaSampler, Field(discriminator="kind")]


class Confirm(Record):
    """The best configurations and the base config run again on seeds that the search never saw."""

    top: int = Field(3, ge=1, description="Number of configurations.")
    seeds: int = Field(9, ge=2, le=MOST_SEEDS, description="Fresh seeds per configuration.")
    first_seed: Seed = Field(1000, description="The first of them; above the search's seeds.")

    @model_validator(mode="after")
    def _below_the_largest(self) -> Confirm:
        if self.first_seed + self.seeds - 1 > LARGEST_SEED:
            raise ValueError(f"first_seed: a seed lies below 2^32, got {self.first_seed} and {self.seeds} seeds")
        return self


class Racing(Record):
    """A configuration earns its next seed while it may still be best.

    It may, as long as the interval of its difference to the leader, paired by seed, reaches 0.
    """

    max_seeds: int = Field(6, ge=2, le=MOST_SEEDS, description="Most seeds of one configuration.")
    level: float = Field(0.9, gt=0, lt=1, description="Level of the interval by which a configuration is given up.")


class Budget(Record):
    """What a search may spend."""

    configurations: int = Field(40, ge=1, description="Configurations to try.")
    seeds: int = Field(
        2, ge=1, le=MOST_SEEDS, description="Training seeds per configuration (0 .. n-1), the same for all of them."
    )
    racing: Racing | None = Later(
        None,
        description="Seeds by merit: as many trials as `configurations` x `seeds`, at most so many configurations, and "
        "further seeds only for those that may still be best; null: `seeds` for each.",
    )
    confirm: Confirm = Field(default_factory=Confirm, description="Reruns on which the result rests.")
    min_complete: float = Field(
        0.8, ge=0, le=1, description="Share of trials that must complete for the search to count as successful."
    )


class NoStopping(Record):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class EarlyStopping(Record):
    """A rule that may end a trial once its grace is over."""

    kind: str
    grace: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Fraction of a run before which nothing is stopped; null: where its teacher weight has decayed. "
        "Less is unfair: schedules that decay fast look worse early and better late.",
    )


class Median(EarlyStopping):
    """Stop a trial that is below the median of its peers (same seed) at the same number of environment steps."""

    kind: Literal["median"] = "median"
    peers: int = Field(5, ge=1, description="Trials that must have come this far before any is stopped.")


class ASHA(EarlyStopping):
    """Successive halving: at each rung, go on only in the best 1/reduction of the peers (same seed) so far."""

    kind: Literal["asha"] = "asha"
    reduction: int = Field(
        3, ge=2, description="Rungs lie at grace x reduction^i of a run; 1/reduction of trials pass."
    )


Stopping = Annotated[NoStopping | Median | ASHA, Field(discriminator="kind")]


class Search(File):
    """A hyperparameter search."""

    sort = "search"
    spine = ("base", "parameters")
    name: str = Field(description="Name of the run's folder; the file's own name if it gives none.")
    question: str = Field("Which configuration is best?", description="What the search asks, as one sentence.")
    base: str | dict[str, Any] = Field(description="Trainer config: 'presets/NAME', a YAML file, or an inline mapping.")
    metric: Objective = Field(default_factory=Objective, description="What is optimised.")
    second: Objective | None = Field(
        None,
        description="A second objective, such as {name: cost/env_steps, mode: min} or {name: kl/reference, mode: min}: "
        "the sampler then looks for the Pareto front of both.",
    )
    parameters: dict[str, Any] = Field(description="What varies: see config/space.py.", min_length=1)
    constraints: list[str] = Field(default_factory=list, description="Inequalities 'A < B' between parameters.")
    start_from: list[str | dict[str, Any]] = Field(
        default_factory=list, description="Points to try first: trainer configs or parameter values, inside the space."
    )
    sampler: Sampler = Field(default_factory=TPE, description="How configurations are chosen.")
    budget: Budget = Field(default_factory=Budget, description="What may be spent.")
    early_stopping: Stopping = Field(default_factory=NoStopping, description="Whether bad trials end early.")
    resources: Resources = Field(default_factory=Resources, description="Needs of one trial.")
    concurrency: int | None = Field(None, ge=1, description="Trials at a time; null: as many as the resources hold.")
    price: Price | None = Later(None, description="What tokens cost, for `atod-sweep cost`.")

    @property
    def objectives(self) -> list[Objective]:
        """What is optimised: one objective or two."""
        return [self.metric, *([self.second] if self.second else [])]

    @property
    def directions(self) -> list[str]:
        """Of the objectives, in Optuna's words."""
        return ["maximize" if objective.mode == "max" else "minimize" for objective in self.objectives]

    @model_validator(mode="after")
    def _fresh_seeds(self) -> Search:
        budget = self.budget
        own = max(budget.seeds, budget.racing.max_seeds if budget.racing else 0)
        if budget.confirm.first_seed < own:
            raise ValueError(
                f"budget.confirm.first_seed: {budget.confirm.first_seed} is one of the search's own seeds "
                f"(0 .. {own - 1}); use {max(1000, own)}"
            )
        return self

    @model_validator(mode="after")
    def _racing_alone(self) -> Search:
        racing, seeds = self.budget.racing, self.budget.seeds
        if racing is None:
            return self
        if racing.max_seeds < seeds:
            raise ValueError(
                f"budget.racing.max_seeds: {racing.max_seeds} is below the mean, budget.seeds ({seeds}); "
                f"use {seeds + 4}"
            )
        if self.second is not None:
            raise ValueError(
                f"budget.racing: is decided by one objective, and second is {self.second.name!r}; drop one of them"
            )
        if not isinstance(self.early_stopping, NoStopping):
            raise ValueError(
                f"budget.racing: compares whole trials, and early_stopping.kind: {self.early_stopping.kind!r} ends "
                "some; drop one of them"
            )
        return self

    def parsed(self, where: str) -> tuple[tuple[Parameter, ...], tuple[Constraint, ...]]:
        """The parameters and constraints as records. UserError that starts with `where`."""
        parameters = parse_parameters(self.parameters, f"{where}: parameters")
        constraints = (parse_constraint(text, parameters, f"{where}: constraints") for text in self.constraints)
        return parameters, tuple(constraints)
