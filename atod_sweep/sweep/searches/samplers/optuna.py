"""Any other sampler of Optuna's, of a package or of the user's: `path: module:Class`.

Nothing is known of what decides its draws. So a search that resumes does not ask it again, as it does TPE: the recorded
points are handed back, with their results. What a sampler keeps in itself (CMA-ES its distribution) begins anew then.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atod_sweep.config.search import OptunaSampler, Search
from atod_sweep.config.told import nearest
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.draws import GivenDraw, OptunaDraw
from atod_sweep.sweep.searches.space import Infeasible, Sample, Space

# Samplers that model all parameters at once: one that some points lack, they would draw at random without a word.
_JOINT = (
    *("CmaEsSampler", "GPSampler", "QMCSampler", "GridSampler", "NSGAIISampler", "NSGAIIISampler"),
    *("BoTorchSampler", "PyCmaSampler"),
)
_REHEARSED = 3  # points that it must propose before anything runs


class AnyOptuna:
    """A `Proposer` around a sampler of Optuna's kind."""

    def __init__(self, space: Space, search: Search, sampler: OptunaSampler, starts: list[Sample]) -> None:
        """UserError where the class is not there, does not take its arguments, or cannot hold the space."""
        self._space, self._search, self._config = space, search, sampler
        self._where = f"{space.where}: sampler.path: {sampler.path!r}"
        self._starts = dict(enumerate(starts))
        self._asked = 0
        self._known: dict[int, tuple[int, dict[str, Any]]] = {}  # by our number, Optuna's, and what was drawn
        self._rehearse()
        self._study = self._new()

    def total(self) -> None:
        """Who knows."""

    def ask(self) -> Sample | Infeasible | None:
        """The next starting point, then what the sampler proposes. UserError if it fails."""
        number, self._asked = self._asked, self._asked + 1
        if number in self._starts:
            return self._enter(number, self._starts[number])
        try:
            with self._told():
                trial = self._study.ask()
                self._known[number] = (trial.number, {})
                sample = self._space.sample(OptunaDraw(trial))
        except Infeasible as infeasible:
            return infeasible
        self._known[number] = (trial.number, sample.params)
        return sample

    def recall(self, number: int, params: Mapping[str, Any]) -> Sample:
        """Enter a recorded point without asking the sampler for it."""
        self._asked = number + 1
        return self._enter(number, self._space.sample(GivenDraw(params)))

    def _enter(self, number: int, sample: Sample) -> Sample:
        """A point that is not the sampler's own, as one under way."""
        from optuna.trial import TrialState

        self._add(sample.params, TrialState.RUNNING)
        self._known[number] = (len(self._study.trials) - 1, sample.params)
        return sample

    def _add(self, params: Mapping[str, Any], state: Any, **more: Any) -> None:
        from optuna.trial import create_trial

        known = self._space.distributions(params)
        self._study.add_trial(create_trial(state=state, params=dict(params), distributions=known, **more))

    def tell(self, number: int, state: str, values: Sequence[float] | None) -> None:
        """Learn from one result; from a pruned point as far as it came."""
        from optuna.trial import TrialState

        place, params = self._known.pop(number)
        if state == "COMPLETE":
            self._study.tell(place, list(values or ()))
            return
        self._study.tell(place, state=TrialState.FAIL)
        if state == "PRUNED" and values and len(self._study.directions) == 1:
            self._add(params, TrialState.PRUNED, intermediate_values={0: values[0]})

    # ---- the sampler

    def _new(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(sampler=self._made(), directions=self._search.directions)

    def _made(self) -> Any:
        import optuna

        found, kwargs = self._class(), dict(self._config.kwargs)
        if not (inspect.isclass(found) and issubclass(found, optuna.samplers.BaseSampler)):
            raise UserError(f"{self._where}: is not a class of optuna.samplers.BaseSampler's kind")
        if self._space.is_conditional and (joint := {base.__name__ for base in found.__mro__}.intersection(_JOINT)):
            name = next(p.key for p in self._space.parameters if any(b.when for b in p.branches))
            raise UserError(
                f"{self._where}: a {joint.pop()} needs a space without conditions, but {name} has one; use kind: tpe "
                "or random"
            )
        if "seed" in inspect.signature(found).parameters:
            kwargs = {"seed": self._config.seed, **kwargs}
        with self._told(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return found(**kwargs)

    def _class(self) -> Any:
        module, _, name = self._config.path.partition(":")
        with self._told():
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as missing:
                reason = f"needs the module {missing.name!r}, which is not installed here"
                raise UserError(f"{self._where}: {reason}") from None
        if not hasattr(found, name):
            names = [one for one in dir(found) if one.endswith("Sampler")] or dir(found)
            raise UserError(f"{self._where}: module {module!r} has no {name!r}; {nearest(name, names)}")
        return getattr(found, name)

    def _rehearse(self) -> None:
        """Try the sampler on the space, in a study that is thrown away."""
        study = self._new()
        with self._told():
            for value in range(_REHEARSED):
                trial = study.ask()
                with contextlib.suppress(Infeasible):
                    self._space.sample(OptunaDraw(trial))
                    study.tell(trial, [float(value)] * len(study.directions))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the sampler raises inside becomes a UserError; what is ours stays what it is."""
        try:
            yield
        except (UserError, Infeasible):
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            if isinstance(error, ModuleNotFoundError):
                said = f"needs the package {error.name}; pip install {error.name}"
            raise UserError(f"{self._where}: {said}") from error
