"""What backends share, and trials on Ray. A backend takes attempts from a source and tells a recorder."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atod_sweep.config.study import Resources
from atod_sweep.cores import cpu_cores, gpu_count
from atod_sweep.errors import UserError
from atod_sweep.paths import located
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.backends import ray_cluster, ray_size, ray_teacher, ray_watch
from atod_sweep.sweep.backends.ray_files import Cargo, pack_models
from atod_sweep.sweep.record.recorder import Recorder
from atod_sweep.sweep.sharing import Holding, left
from atod_sweep.sweep.trials.attempt import ray_trainable
from atod_sweep.sweep.trials.interrupts import stoppable
from atod_sweep.sweep.trials.source import Source

if TYPE_CHECKING:
    from ray import tune

    from atod_sweep.sweep.backends.ray_bridge import Bridge

_MOST = 10_000  # attempts side by side that Tune may ask for: how many there are, the bridge decides


def check(backend: str, concurrency: int | None, address: str | None, storage: str | None) -> None:
    """UserError for a backend that does not exist, or not here, for fewer than one trial at a time, and for what the
    backend would take no notice of."""
    if concurrency is not None and concurrency < 1:
        raise UserError(f"--concurrency {concurrency}: at least one trial must run at a time; use 1 or more")
    if backend not in ("ray", "local"):
        raise UserError(f"--backend {backend!r}: no such backend; use ray or local")
    if backend == "ray" and find_spec("ray") is None:
        raise UserError(f"--backend {backend!r}: Ray is not installed; use local, or pip install 'ray[tune]'")
    if address is not None and backend == "local":
        raise UserError(f"--address {redacted(address)!r}: is a Ray cluster's, and --backend local uses none; drop one")
    if storage is not None and address is None:
        raise UserError(
            f"--storage {redacted(storage)!r}: brings back files from other machines of a cluster; drop it, or name "
            "the cluster with --address"
        )
    if storage is not None:
        located(storage)


def capacity(resources: Resources, cores: float | None = None, gpus: float | None = None) -> int:
    """Trials that fit on `cores` and `gpus` (None: those of this machine) at a time."""
    fit = int((cpu_cores() if cores is None else cores) // resources.cpu)
    if resources.gpu > 0:
        gpus = gpu_count() if gpus is None else gpus
        share = resources.gpu
        fit = min(fit, int(gpus) * int(1 / share + 1e-9) if share < 1 else int(gpus // share))
    return max(1, fit)


# ---- Ray ----------------------------------------------------------------------------------------------------------


@dataclass
class OnRay:
    """Attempts as Ray Tune trials: on this machine, or on the cluster at `address`. Ray is gone with the block.

    `scratch`: folder for Tune's own state, removed in the end. `storage`: folder or URI through which nodes that do not
    share the run's folder give back their files. `say`: gets a line about what is waited for. `held`: teachers that the
    trials of a node share.
    """

    resources: Resources
    concurrency: int | None
    scratch: Path
    address: str | None
    storage: str | None
    say: Callable[[str], None]
    held: Collection[Holding]

    def __post_init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._width: Callable[[], int] | None = None

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def start(self) -> Callable[[], int]:
        """Start or join Ray, once; how many attempts there may be at the moment. May come long before `run`."""
        if self._width is None:
            enter = self._stack.enter_context
            enter(ray_cluster.own() if self.address is None else ray_cluster.joined(self.address))
            remedy = f"atod-sweep resume {self.scratch.parent} continues"
            enter(stoppable())  # after Ray's start, which takes the signals for itself
            is_heard = enter(ray_watch.watched(self.address, remedy))
            ray_size.wait_for_room(self.resources, self.address, self.say)
            width = self._room()
            self._width = lambda: width() if is_heard() else 0
        return self._width

    def _room(self) -> Callable[[], int]:
        """How many attempts there may be at a time: as asked for, else what Ray holds, on a cluster also later."""
        if (asked := self.concurrency) is not None:
            return lambda: asked
        size = ray_size.Size(lambda there: capacity(self.resources, there.get("CPU", 0.0), there.get("GPU", 0.0)))
        if self.address is not None:
            size.start()
        return lambda: size.fits

    def run(
        self, source: Source, sink: Recorder, models: Iterable[str], meanwhile: Callable[[], bool] = lambda: True
    ) -> None:
        """All attempts of the source. `models`: folders that trials need, shipped to nodes of a cluster.

        `meanwhile`: see `Bridge`.
        """
        if source.finished:
            return
        from atod_sweep.sweep.backends.ray_bridge import Bridge

        bridge = Bridge(source, sink, self.storage, self.start(), meanwhile)
        keepers = ray_teacher.start(self.held)
        tuner = self._tuner(bridge, pack_models(sorted(models)) if self.address else {})
        try:
            tuner.fit()
        except KeyboardInterrupt:
            bridge.interrupt()
            raise
        except Exception:
            if bridge.error is not None:
                raise bridge.error from None
            raise
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)  # also what killed drivers left: the ledger resumes runs
        bridge.check()
        keepers.clear()

    def _tuner(self, bridge: Bridge, cargo: Cargo) -> tune.Tuner:
        from ray import tune

        from atod_sweep.sweep.backends.ray_bridge import Stopper, Suggester

        def name(trial: Any) -> str:
            return f"trial-{trial.trial_id}"

        resources = left(self.resources, self.held)
        return tune.Tuner(
            tune.with_resources(
                tune.with_parameters(ray_trainable, cargo=cargo, storage=self.storage),
                {"cpu": resources.cpu, "gpu": resources.gpu},
            ),
            param_space={"cwd": os.getcwd(), "sys_path": [entry or os.getcwd() for entry in sys.path]},
            tune_config=tune.TuneConfig(
                search_alg=Suggester(bridge),
                scheduler=Stopper(bridge),
                num_samples=-1,
                max_concurrent_trials=self.concurrency or _MOST,
                reuse_actors=True,
                trial_name_creator=name,
                trial_dirname_creator=name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self.scratch),
                verbose=0,
                callbacks=[bridge],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
