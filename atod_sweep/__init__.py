"""atod-sweep: how should a small LLM agent be weaned off its teacher?

    import atod_sweep as atod

    run = atod.run("quickstart")        # or a YAML file, a mapping; returns when the report is written
    run.arms, run.verdicts              # DataFrames
    run.export("trl", "out/")           # the best schedule for another trainer

The packages follow the data: records, config -> objective -> envs -> training -> sweep -> evidence -> export -> api.
A package imports from itself and from packages further up that list only (tests/test_architecture.py). The names below
are those of `atod_sweep.api`, `tune` is for Ray Tune users; all are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atod_sweep import tune
    from atod_sweep.api import (
        Run,
        check,
        compare,
        cost,
        export_model,
        export_schedule,
        load,
        pack,
        publish,
        report,
        resume,
        run,
        search,
        sync,
        train,
        transfer,
        verify,
    )
    from atod_sweep.errors import UserError

__version__ = "0.1.0"

__all__ = [
    "Run",
    "UserError",
    "check",
    "compare",
    "cost",
    "export_model",
    "export_schedule",
    "load",
    "pack",
    "publish",
    "report",
    "resume",
    "run",
    "search",
    "sync",
    "train",
    "transfer",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "tune":
        return importlib.import_module("atod_sweep.tune")
    if name == "UserError":
        return importlib.import_module("atod_sweep.errors").UserError
    if name in __all__:
        return getattr(importlib.import_module("atod_sweep.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
