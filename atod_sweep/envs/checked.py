"""An environment whose every answer is checked: the one door between this package and code that it does not know.

Whatever comes through is what the contract says (see `contract`), in plain Python types. Anything else, and whatever
the environment raises, is one EnvironmentFailed that quotes what came and says what is expected.
"""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from atod_sweep.config.train import Env
from atod_sweep.envs import registry
from atod_sweep.envs.contract import Offer, Split
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.errors import Stopped, UserError
from atod_sweep.records.metric_names import HABITS

# Words of `info` under which environments say whether an episode was solved. The first that is there counts.
SUCCESS = ("success", "is_success", "won", "is_correct")
# Words of `info` under which environments say whether the state admitted the action.
ADMISSIBLE = ("is_admissible", "is_action_valid")
# What stands in for them.
STAND_IN = "an episode counts as solved if its last reward is positive"
# Recorded of every episode under these names, so that no metric of an environment's own can have them.
_OUR_METRICS = ("success", "reward", "turns", "ended_by_turn", "success_by_turn", *HABITS)
# Not the environment's doing, or its own word to the user.
_PASSING = (UserError, KeyboardInterrupt, MemoryError, Stopped)
_QUOTED = 80  # characters of an answer that a message shows


class Answer(NamedTuple):
    """What one environment answered. `info` of a finished episode holds "success" and "metrics"."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def admitted(answer: Answer) -> bool | None:
    """Whether the state admitted the action; None if the environment does not tell."""
    return next((bool(answer.info[word]) for word in ADMISSIBLE if word in answer.info), None)


class Checked:
    """The environment of a config. Raises UserError if there is none, EnvironmentFailed if it does not answer as asked.

    `unwrapped` is the environment itself; which of the optional methods it `has` are called here.
    `reports_success`: whether the last finished episode said in `info` whether it was solved.
    """

    def __init__(self, config: Env) -> None:
        self._name = f"env.id: {config.id!r}"
        self._seed: int | None = None
        self._turn = 0
        self.reports_success = True
        self._horizon = config.horizon
        env, limit = self._guarded("its constructor", registry.build, config)
        self._ends_itself = limit is None
        self.unwrapped: Any = getattr(env, "unwrapped", env)
        self._env = env
        for method in ("reset", "step"):
            if not callable(getattr(env, method, None)):
                raise self._unlike(f"builds {_quote(env)}, which has no {method}()", "a gymnasium.Env")
        for key in ("seed", "options"):
            if not _takes(self.unwrapped.reset, key):
                raise self._unlike(f"reset() takes no argument {key!r}", "reset(self, *, seed=None, options=None)")
        self._step: Callable[[str], Any] = env.step

    # ---- episodes ------------------------------------------------------------------------------------------------

    def reset(self, seed: int, split: Split) -> str:
        """The first observation of the task of a seed."""
        self._seed, self._turn = seed, 0
        answer = self._guarded("reset()", self._env.reset, seed=seed, options={"split": split})
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise self._unlike(f"reset() returned {_quote(answer)}", "a pair: observation, info")
        self._mapping(answer[1], "reset()")
        return self._text(answer[0], "reset()")

    def step(self, action: str) -> Answer:
        """One turn. `info` of a finished episode is completed: success from 0 to 1, and metrics, as numbers."""
        self._turn += 1
        try:
            answer = self._step(action)
        except _PASSING:
            raise
        except BaseException as error:
            raise self._raised(f"step({_cut(repr(action))})", error) from error
        # the usual types first, by identity: this runs at every turn of every episode
        if type(answer) is not tuple or len(answer) != 5:
            answer = self._five(answer)
        observation, reward, terminated, truncated, info = answer
        if type(observation) is not str or not observation.isascii():
            observation = self._text(observation, "step()")
        if type(reward) is not float or not isfinite(reward):
            reward = self._number(reward, "step() returned the reward")
        if type(terminated) is not bool:
            terminated = self._flag(terminated, "terminated")
        if type(truncated) is not bool:
            truncated = self._flag(truncated, "truncated")
        if type(info) is not dict:
            info = self._mapping(info, "step()")
        for word in ADMISSIBLE:
            if word in info and type(info[word]) is not bool:
                info = {**info, word: self._flag(info[word], f"info[{word!r}]")}
        if self._turn >= self._horizon and not (terminated or truncated):
            if self._ends_itself:
                raise self._unlike("the episode goes on", f"its end by turn env.horizon = {self._horizon}")
            truncated = True
        if terminated or truncated:
            info = self._outcome(info, reward)
        return Answer(observation, reward, terminated, truncated, info)

    def close(self) -> None:
        """Let go of what the environment holds; one that fails at this does no harm any more."""
        if callable(close := getattr(self._env, "close", None)):
            self._guarded("close()", close)

    # ---- the optional methods ------------------------------------------------------------------------------------

    def has(self, what: Offer) -> bool:
        return hasattr(self.unwrapped, what)

    def demonstrator_action(self) -> str:
        try:
            action = self.unwrapped.demonstrator_action()
        except _PASSING:
            raise
        except BaseException as error:
            raise self._raised("demonstrator_action()", error) from error
        return self._text(action, "demonstrator_action()", "the action")

    def actions(self) -> list[str]:
        """Legal actions, at least one."""
        return self._some("actions()", self.unwrapped.actions, "at least one legal action in every state")

    def vocabulary(self) -> list[str]:
        """All the words there are, at least one."""
        return self._some("vocabulary()", self.unwrapped.vocabulary, "the words of the environment")

    def remarks(self) -> list[str]:
        return self._texts("remarks()", self.unwrapped.remarks)

    def metric_names(self) -> list[str]:
        return self._texts("metric_names", lambda: self.unwrapped.metric_names)

    def _some(self, where: str, method: Callable[[], Any], expected: str) -> list[str]:
        found = self._texts(where, method)
        if not found:
            raise self._unlike(f"{where} returned none", expected)
        return found

    def _texts(self, where: str, method: Callable[[], Any]) -> list[str]:
        answer = self._guarded(where, method)
        # as usual: this runs at every turn of every demonstration
        if type(answer) is list and {*map(type, answer)} == {str} and "".join(answer).isascii():
            return answer[:]
        if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
            raise self._unlike(f"{where} returned {_quote(answer)}", "a list of texts")
        return [self._text(each, where, "the text") for each in answer]

    # ---- what is no answer -----------------------------------------------------------------------------------------

    def _guarded(self, where: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except _PASSING:
            raise
        except BaseException as error:  # SystemExit too: an environment must not end the process
            raise self._raised(where, error) from error

    def _raised(self, where: str, error: BaseException) -> EnvironmentFailed:
        said = _cut(" ".join(str(error).split()), 3 * _QUOTED)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f" ({Path(frame.filename).name}:{frame.lineno})" if frame.filename != __file__ else ""
        kind = type(error).__name__
        return EnvironmentFailed(f"{self._what}: {where} raised {kind}{': ' * bool(said)}{said}{place}")

    def _unlike(self, came: str, expected: str) -> EnvironmentFailed:
        return EnvironmentFailed(f"{self._what}: {came}; expected {expected}")

    @property
    def _what(self) -> str:
        task = "" if self._seed is None else f", task seed {self._seed}"
        return self._name + task + (f", turn {self._turn}" if self._turn else "")

    def _five(self, answer: Any) -> Any:
        if isinstance(answer, tuple | list) and len(answer) == 5:
            return answer
        old = isinstance(answer, tuple | list) and len(answer) == 4
        came = "four values, as Gym did before 0.26" if old else _quote(answer)
        raise self._unlike(f"step() returned {came}", "five: observation, reward, terminated, truncated, info")

    def _text(self, value: Any, where: str, what: str = "the observation") -> str:
        if type(value) is str and value.isascii():
            return value
        if not isinstance(value, str):
            raise self._unlike(f"{where} returned {what} {_quote(value)}", "text (str)")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            bad = value[error.start]
            came = f"{where} returned {what} {_cut(ascii(value))}, in which {bad!a} is half of a character"
            raise self._unlike(came, "text that can be encoded; decode it with errors='replace'") from None
        return str.__str__(value)

    def _number(self, value: Any, what: str) -> float:
        if type(value) is float and isfinite(value):
            return value
        plain = _plain(value)
        if isinstance(plain, int | float | Decimal | Fraction):
            with contextlib.suppress(OverflowError):  # an integer beyond all floats
                if isfinite(plain):
                    return float(plain)
        raise self._unlike(f"{what} {_quote(value)}", "a finite number")

    def _flag(self, value: Any, name: str) -> bool:
        plain = _plain(value)
        if isinstance(plain, int) and plain in (0, 1):
            return bool(plain)
        raise self._unlike(f"step() returned {name} {_quote(value)}", "True or False")

    def _mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self._unlike(
                f"{where} returned the info {_quote(value)}", "a mapping; {} if there is nothing to tell"
            )
        return self._guarded(f"the info of {where}", dict, value)

    def _outcome(self, info: dict[str, Any], reward: float) -> dict[str, Any]:
        """`info` with success and metrics of the finished episode."""
        word = SUCCESS[0] if SUCCESS[0] in info else next((word for word in SUCCESS if word in info), None)
        self.reports_success = word is not None
        if word is None:
            success = float(reward > 0)
        else:
            success = self._number(info[word], f"info[{word!r}] is")
            if not 0.0 <= success <= 1.0:
                raise self._unlike(f"info[{word!r}] is {_quote(info[word])}", "the solved share of the task, 0 to 1")
        metrics = info.get("metrics", {})
        if not isinstance(metrics, Mapping):
            raise self._unlike(f"info['metrics'] is {_quote(metrics)}", "a mapping from names to numbers")
        found = {k: self._metric(k, v) for k, v in self._guarded("info['metrics']", dict, metrics).items()}
        return {**info, "success": success, "metrics": found | self._violations(info)}

    def _violations(self, info: dict[str, Any]) -> dict[str, float]:
        """Metrics of the rules that were broken: all together, rule by rule, and whether none was."""
        if "violations" not in info:
            return {}
        told = info["violations"]
        by_rule = isinstance(told, Mapping)
        rules = self._guarded("info['violations']", dict, told) if by_rule else {"": told}
        counts = {
            self._text(k, "info['violations']", "the name"): self._number(v, f"info['violations'][{k!r}] is")
            for k, v in rules.items()
        }
        if min(counts.values(), default=0.0) < 0:
            raise self._unlike(f"info['violations'] is {_quote(told)}", "how often rules were broken, none below 0")
        total = sum(counts.values(), 0.0)
        single = {f"violations_{name}": count for name, count in counts.items()} if by_rule else {}
        return {"violations": total, "restraint": float(total == 0), **single}

    def _metric(self, name: Any, value: Any) -> float:
        if self._text(name, "info['metrics']", "the name") in _OUR_METRICS:
            raise self._unlike(f"info['metrics'] holds the name {name!r}", "another one: this is recorded anyway")
        return self._number(value, f"info['metrics'][{name!r}] is")


def _takes(method: Callable[..., Any], key: str) -> bool:
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):  # compiled: it will tell when it is called
        return True
    named = parameters.get(key)
    by_name = named is not None and named.kind in (named.KEYWORD_ONLY, named.POSITIONAL_OR_KEYWORD)
    return by_name or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _plain(value: Any) -> Any:
    """The Python number in a NumPy or torch scalar; other values as they are."""
    if not callable(item := getattr(value, "item", None)):
        return value
    try:
        return item()
    except Exception:  # of more than one number
        return value


def _quote(value: Any) -> str:
    """A value and its type, on one line."""
    try:
        shown = " ".join(repr(value).split())
    except Exception:  # a repr is foreign code too
        shown = "a value without a repr"
    return f"{_cut(shown)} ({type(value).__name__})"


def _cut(text: str, longest: int = _QUOTED) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
