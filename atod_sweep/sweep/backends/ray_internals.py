"""Every use of a name that Ray keeps to itself, in one place, each with what is done where the name is gone.

Nothing here decides a result: without these names a run is noisier, holds more memory, or listens more widely.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: Ray stays on the loopback, as it does on a Mac by default


@contextlib.contextmanager
def _instead(module: str, name: str, value: Any) -> Iterator[None]:
    """A name of Ray's has this value inside; nothing happens where there is no such name."""
    owner = importlib.import_module(f"ray._private.{module}")
    before = getattr(owner, name, None)
    if before is None:
        yield
        return
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def silent_worker_logs() -> contextlib.AbstractContextManager[None]:
    """Ray prints no remark of its own on the driver's streams, such as the raylet's on workers that died."""
    return _instead("worker", "print_to_stdstream", lambda *args, **kwargs: None)


def on_loopback() -> contextlib.AbstractContextManager[None]:
    """What Ray starts inside binds to the loopback, also if Ray was imported before and has read its environment."""
    return _instead("ray_constants", "ENABLE_RAY_CLUSTER", False)


def little_patience() -> contextlib.AbstractContextManager[None]:
    """Ray gives up on a cluster that does not take it after two tries, a second apart, instead of twenty."""
    return _instead("ray_constants", "NUM_REDIS_GET_RETRIES", 2)


def read_authentication_anew() -> None:
    """Ray reads its token and mode once a process; the environment has changed since."""
    with contextlib.suppress(ImportError, AttributeError):
        raylet: Any = importlib.import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def job_config() -> Any:
    """A job whose workers do not get the current folder first on their path."""
    import ray

    job = ray.job_config.JobConfig()
    if hasattr(job, "_py_driver_sys_path"):
        job._py_driver_sys_path = NotFirst()
    return job


class NotFirst(list[str]):
    """The folders that Ray puts first on every worker's path, before our code is there: all but the current one.

    Ray adds it by `extend`. The workers get it from `attempt.ray_trainable`, in the driver's order.
    """

    def extend(self, folders: Iterable[str]) -> None:
        super().extend(folder for folder in folders if folder != os.getcwd())


def let_go(trial: Any) -> None:
    """Empty a Tune trial that is over: Tune keeps each, with its config three times and a result in Ray's memory."""
    for name in ("config", "evaluated_params", "_Trial__unresolved_config"):
        if hasattr(trial, name):
            setattr(trial, name, {})
    if hasattr(trial, "_default_result_or_future"):
        trial._default_result_or_future = None
