"""How much fits on a Ray cluster: before the first trial, and while it grows."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from atod_sweep.config.study import Resources
from atod_sweep.errors import UserError

_WAIT = 600.0  # seconds that a cluster gets to grow until one trial fits
_LOOK = 1.0  # seconds between looks at its size
_GROWTH = 5.0  # … while trials run


def wait_for_room(resources: Resources, address: str | None, say: Callable[[str], None]) -> None:
    """Return once one trial fits. UserError if none ever will: at once here, later on a cluster that may grow."""
    if (lack := _lack(resources)) is None:
        return
    if address is None:
        raise UserError(f"{lack}; ask for less, or join a larger cluster with --address")
    from ray.autoscaler.sdk import request_resources

    say(f"{lack} so far; waiting up to {_WAIT / 60:.0f} minutes for the cluster to grow")
    request_resources(bundles=[{"CPU": resources.cpu, **({"GPU": resources.gpu} if resources.gpu else {})}])
    try:
        began = time.monotonic()
        while time.monotonic() - began < _WAIT:
            time.sleep(_LOOK)
            if (lack := _lack(resources)) is None:
                return
    finally:
        request_resources(bundles=[])
    raise UserError(f"{lack} after {_WAIT / 60:.0f} minutes; ask for less, or add nodes")


class Size(threading.Thread):
    """Counts now and then how much fits on the cluster: a thread, since Ray never answers once its head is gone."""

    def __init__(self, count: Callable[[Mapping[str, float]], int]) -> None:
        super().__init__(name="ray-size", daemon=True)
        self._count = count
        self._look()

    def _look(self) -> None:
        import ray

        self.fits = self._count(ray.cluster_resources())

    def run(self) -> None:
        import ray

        with contextlib.suppress(Exception):  # what Ray raises while it is shut down
            while ray.is_initialized():
                self._look()
                time.sleep(_GROWTH)


def _lack(resources: Resources) -> str | None:
    import ray

    there = ray.cluster_resources()
    for kind, need in (("CPU", resources.cpu), ("GPU", resources.gpu)):
        if need > there.get(kind, 0):
            return f"resources.{kind.lower()}: a trial needs {need:g} but Ray has {there.get(kind, 0):g}"
    return None
