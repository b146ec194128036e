"""An environment that answers as it is told to, which is seldom as it should."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium
import numpy as np


class Base(gymnasium.Env[Any, Any]):
    """Says "a door" and "more"; pays 0.1 a turn. `turn` 0 is the reset."""

    fault: ClassVar[str] = ""

    def __init__(self, horizon: int = 3, case: str = "") -> None:
        self.horizon, self.turn = horizon, 0
        self.change = CASES[case] if case else {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.turn = 0
        return self._with({"observation": "a door", "info": {}}, "reset")

    def step(self, action: str) -> Any:
        self.turn += 1
        over = self.turn == self.horizon
        usual = {"observation": "more", "reward": 0.1, "terminated": False, "truncated": over, "info": {}}
        return self._with(usual, "step", self.change.get("last", {}) if over else {})

    def _with(self, usual: dict[str, Any], when: str, last: Any = None) -> Any:
        change = self.change.get(when, {})
        if callable(change):
            return change(tuple(usual.values()))
        return tuple({**usual, **change, **(last or {})}.values())


def raises(error: BaseException) -> Any:
    def answer(usual: Any) -> Any:
        raise error

    return answer


def ends(code: int) -> Any:
    def answer(usual: Any) -> Any:
        print("so long", file=sys.stderr)
        os._exit(code)

    return answer


def success(value: Any, word: str = "success") -> dict[str, Any]:
    return {"last": {"info": {word: value}}}


def metric(value: Any, name: Any = "room") -> dict[str, Any]:
    return {"last": {"info": {"success": 1.0, "metrics": {name: value}}}}


class Text(str):
    """A subclass, as Markdown libraries and NumPy have them."""


class Loud:
    """A value whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Broken(Mapping[str, Any]):
    """A mapping that fails when it is read, as views of a closed simulator do."""

    def __getitem__(self, key: str) -> Any:
        raise LookupError("closed")

    def __iter__(self) -> Any:
        raise LookupError("closed")

    def __len__(self) -> int:
        return 1


# What breaks the contract -> what the message says of it.
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "dict observation": (
        {"reset": {"observation": {"text": "a door", "bag": "lamp"}}},
        "reset() returned the observation {'text': 'a door', 'bag': 'lamp'} (dict); expected text (str)",
    ),
    "bytes": ({"step": {"observation": b"a door"}}, "step() returned the observation b'a door' (bytes); expected text"),
    "no observation": ({"step": {"observation": None}}, "the observation None (NoneType); expected text (str)"),
    "a list of messages": ({"reset": {"observation": [{"role": "user"}]}}, "[{'role': 'user'}] (list); expected text"),
    "array observation": ({"step": {"observation": np.zeros(2)}}, "array([0., 0.]) (ndarray); expected text"),
    "half a character": (
        {"reset": {"observation": "a d\ud83dor"}},
        r"the observation 'a d\ud83dor', in which '\ud83d' is half of a character; expected text that can be encoded",
    ),
    "half a character later": (
        {"step": {"observation": "\udcff"}},
        r"1: step() returned the observation '\udcff'",
    ),
    "a value without a repr": ({"step": {"observation": Loud()}}, "a value without a repr (Loud); expected text"),
    "reset without info": ({"reset": lambda usual: "a door"}, "reset() returned 'a door' (str); expected a pair: obs"),
    "reset of one": ({"reset": lambda usual: ("a door",)}, "reset() returned ('a door',) (tuple); expected a pair"),
    "reset of None": ({"reset": lambda usual: None}, "reset() returned None (NoneType); expected a pair"),
    "reset info None": ({"reset": {"info": None}}, "reset() returned the info None (NoneType); expected a mapping"),
    "old step": (
        {"step": lambda usual: (*usual[:3], usual[4])},
        "turn 1: step() returned four values, as Gym did before 0.26; expected five: observation, reward, terminated",
    ),
    "step of None": ({"step": lambda usual: None}, "step() returned None (NoneType); expected five"),
    "step of six": ({"step": lambda usual: (*usual, 1)}, "{}, 1) (tuple); expected five"),
    "info None": ({"step": {"info": None}}, "step() returned the info None (NoneType); expected a mapping"),
    "info list": ({"step": {"info": ["won"]}}, "the info ['won'] (list); expected a mapping"),
    "info that fails": ({"step": {"info": Broken()}}, "the info of step() raised LookupError: closed (odd_env.py:"),
    "metrics that fail": ({"last": {"info": {"metrics": Broken()}}}, "info['metrics'] raised LookupError: closed"),
    "no reward": ({"step": {"reward": None}}, "step() returned the reward None (NoneType); expected a finite number"),
    "word reward": ({"step": {"reward": "1.0"}}, "the reward '1.0' (str); expected a finite number"),
    "two rewards": ({"step": {"reward": np.ones(2)}}, "the reward array([1., 1.]) (ndarray); expected a finite number"),
    "nan": ({"step": {"reward": float("nan")}}, "the reward nan (float); expected a finite number"),
    "float32 inf": ({"step": {"reward": np.float32("inf")}}, "the reward np.float32(inf) (float32); expected a finite"),
    "huge integer": ({"step": {"reward": 10**400}}, "0… (int); expected a finite number"),
    "complex": ({"step": {"reward": 1j}}, "the reward 1j (complex); expected a finite number"),
    "terminated None": ({"step": {"terminated": None}}, "step() returned terminated None (NoneType); expected True or"),
    "truncated word": ({"step": {"truncated": "no"}}, "step() returned truncated 'no' (str); expected True or False"),
    "truncated 2": ({"step": {"truncated": 2}}, "step() returned truncated 2 (int); expected True or False"),
    "never ends": ({"step": {"truncated": False}}, "the episode goes on; expected its end by turn env.horizon = 3"),
    "success 7": (success(7.0), "info['success'] is 7.0 (float); expected the solved share of the task, 0 to 1"),
    "success -1": (success(-1, "won"), "info['won'] is -1 (int); expected the solved share of the task, 0 to 1"),
    "success word": (success("yes", "is_success"), "info['is_success'] is 'yes' (str); expected a finite number"),
    "success None": (success(None), "info['success'] is None (NoneType); expected a finite number"),
    "success nan": (success(float("nan")), "info['success'] is nan (float); expected a finite number"),
    "metric word": (metric("hall"), "info['metrics']['room'] is 'hall' (str); expected a finite number"),
    "metric nan": (metric(float("nan")), "info['metrics']['room'] is nan (float); expected a finite number"),
    "metric list": (metric([1, 2]), "info['metrics']['room'] is [1, 2] (list); expected a finite number"),
    "metric number": (metric(1.0, 3), "info['metrics'] returned the name 3 (int); expected text"),
    "metric of ours": (metric(1.0, "reward"), "info['metrics'] holds the name 'reward'; expected another one"),
    "metric name cut": (metric(1.0, "r\ud83d"), r"the name 'r\ud83d', in which '\ud83d' is half of a character"),
    "metrics list": ({"last": {"info": {"metrics": [1]}}}, "info['metrics'] is [1] (list); expected a mapping"),
    "raises": ({"step": raises(KeyError("hall"))}, "step('look') raised KeyError: 'hall' (odd_env.py:"),
    "raises at reset": ({"reset": raises(OSError("no\nhost"))}, "reset() raised OSError: no host (odd_env.py:"),
    "raises nothing said": ({"step": raises(AssertionError())}, "step('look') raised AssertionError (odd_env.py:"),
    "exits": ({"step": raises(SystemExit(0))}, "step('look') raised SystemExit: 0 (odd_env.py:"),
    "closes its generator": ({"reset": raises(GeneratorExit())}, "reset() raised GeneratorExit (odd_env.py:"),
}

# What is taken for what it means: -> observation, reward and info of the last step.
USUAL = ("more", 0.1, {"success": 1.0, "metrics": {}})
TAKEN: dict[str, tuple[dict[str, Any], tuple[str, float, dict[str, Any]]]] = {
    "as it should be": ({}, USUAL),
    "lists": ({"reset": list, "step": list}, USUAL),
    "a subclass of str": ({"step": {"observation": Text("more")}, "reset": {"observation": Text("a door")}}, USUAL),
    "any language": ({"step": {"observation": "больше 🙂"}}, ("больше 🙂", *USUAL[1:])),
    "NumPy": ({"step": {"observation": np.str_("more"), "reward": np.float64(0.1)}}, USUAL),
    "an array of one": ({"step": {"reward": np.array([0.5])}}, ("more", 0.5, USUAL[2])),
    "an integer": ({"step": {"reward": 1}}, ("more", 1.0, USUAL[2])),
    "True as reward": ({"step": {"reward": True}}, ("more", 1.0, USUAL[2])),
    "a decimal": ({"step": {"reward": Decimal("0.25")}}, ("more", 0.25, USUAL[2])),
    "flags of NumPy": ({"step": {"terminated": np.False_}, "last": {"truncated": np.bool_(True)}}, USUAL),
    "0 and 1": ({"step": {"terminated": 0}, "last": {"truncated": 1}}, USUAL),
    "another mapping": ({"step": {"info": MappingProxyType({})}}, USUAL),
    "no reward at last": ({"last": {"reward": 0.0}}, ("more", 0.0, {"success": 0.0, "metrics": {}})),
    "not solved": (success(False, "is_success"), ("more", 0.1, {"is_success": False, "success": 0.0, "metrics": {}})),
    "won": (success(np.True_, "won"), ("more", 0.1, {"won": np.True_, "success": 1.0, "metrics": {}})),
    "correct": (success(0, "is_correct"), ("more", 0.1, {"is_correct": 0, "success": 0.0, "metrics": {}})),
    "half solved": (success(0.5), ("more", 0.1, {"success": 0.5, "metrics": {}})),
    "metrics of all sorts": (
        {"last": {"info": {"metrics": {"n": 3, "ok": True, "x": np.float32(0.5)}}}},
        ("more", 0.1, {"success": 1.0, "metrics": {"n": 3.0, "ok": 1.0, "x": 0.5}}),
    ),
    "an error of its own": ({"last": {"info": {"error": "timeout"}}}, ("more", 0.1, {"error": "timeout", **USUAL[2]})),
}
# What takes its process along, or does not come back.
DEADLY: dict[str, dict[str, Any]] = {
    "leaves": {"step": ends(7)},
    "leaves at reset": {"reset": ends(0)},
    "hangs": {"step": lambda usual: time.sleep(600)},
}
CASES = {
    **{name: case for name, (case, _) in BROKEN.items()},
    **{name: case for name, (case, _) in TAKEN.items()},
    **DEADLY,
}


class NoSeed(Base):
    """As games were written before Gym 0.22."""

    def reset(self) -> Any:  # type: ignore[override]
        return "a door", {}


class NoOptions(Base):
    """Leaves the split out."""

    def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
        return "a door", {}


class OnlyByPlace(Base):
    """Cannot be told by name."""

    def reset(self, seed: int | None = None, options: Any = None, /) -> Any:  # type: ignore[override]
        return "a door", {}


class AnyWords(Base):
    """Takes whatever it is told."""

    def reset(self, **words: Any) -> Any:
        return super().reset(**words)


class Drawn(Base):
    """Draws its task anew at every reset, whatever the seed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.drawn = getattr(self, "drawn", 0) + 1
        super().reset()
        return f"door {self.drawn}", {}


class Told(Base):
    """Is told of a fault that `fake_training` has."""

    def __init__(self, horizon: int = 3, fault: str = "") -> None:
        super().__init__(horizon)


class Needy(Base):
    """Cannot be built without an argument."""

    def __init__(self, path: str, horizon: int = 3) -> None:
        super().__init__(horizon)


class Unbuilt(Base):
    """Leaves while it is built."""

    def __init__(self, horizon: int = 3) -> None:
        sys.exit("no display")


class Duck:
    """Not a gymnasium.Env, and as good."""

    def __init__(self, horizon: int) -> None:
        self._env = Base(horizon)
        self.reset, self.step = self._env.reset, self._env.step


class Stepless:
    """Not one either."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return "a door", {}


def nothing(horizon: int) -> None:
    """A factory without its return."""


class Helpful(Base):
    """Has the optional methods; `words` is what they return."""

    words: ClassVar[Any] = ["open", "shut"]

    def __init__(self, horizon: int = 3, method: str = "") -> None:
        super().__init__(horizon)
        self.method = method

    def actions(self) -> Any:
        return {"": ["open"], "word": "open", "none": [], "numbers": [1], "nothing": None}.get(self.method, ["open"])

    def vocabulary(self) -> Any:
        return {"bytes": [b"open"], "no words": [], "generator": (word for word in ["open"])}.get(self.method, ["open"])

    def demonstrator_action(self) -> Any:
        return {"undecided": None, "cut": "\ud83d"}.get(self.method, "open")

    def remarks(self) -> Any:
        return ["3 of 10 doors are painted on"]


class Naming(Base):
    """Says which metrics its episodes may report."""

    metric_names = ("tidy", "swift")
