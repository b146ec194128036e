"""What backends share, and trials on Ray. A backend takes attempts from a source and tells a recorder (the sink)."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from atod_sweep.config.study import Resources
from atod_sweep.cores import cpu_cores
from atod_sweep.errors import UserError
from atod_sweep.sweep.backends.ray_files import pack_models
from atod_sweep.sweep.trials.attempt import ray_trainable
from atod_sweep.sweep.trials.interrupts import stoppable
from atod_sweep.sweep.trials.jobs import Attempt, Job, Row
from atod_sweep.sweep.trials.source import Source

# Ray must be told before it is imported. What a user has set stays.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # a cluster of our own on this machine
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the ledger is what a run resumes from
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}


class Sink(Protocol):
    """Who is told what happens (the recorder)."""

    def started(self, job: Job) -> None:
        """An attempt has begun."""

    def rows(self, job: Job, rows: list[Row]) -> None:
        """An attempt reported."""

    def ended(self, job: Job, attempt: Attempt) -> None:
        """An attempt is over."""


@dataclass(frozen=True)
class RayOptions:
    """Where Ray is and where it may write.

    `scratch`: folder for Tune's own state, removed in the end. `storage`: folder or URI through which nodes that do not
    share the run's folder give back their files. `models`: folders that trials need, shipped to nodes of a cluster.
    """

    scratch: str
    address: str | None = None
    storage: str | None = None
    models: tuple[str, ...] = ()


def check(backend: str, concurrency: int | None) -> None:
    """UserError for a backend that does not exist, or not here, and for fewer than one trial at a time."""
    if concurrency is not None and concurrency < 1:
        raise UserError(f"--concurrency {concurrency}: at least one trial must run at a time; use 1 or more")
    if backend not in ("ray", "local"):
        raise UserError(f"--backend {backend!r}: no such backend; use ray or local")
    if backend == "ray" and find_spec("ray") is None:
        raise UserError(f"--backend {backend!r}: Ray is not installed; use local, or pip install 'ray[tune]'")


def capacity(resources: Resources, cores: float | None = None, gpus: float | None = None) -> int:
    """Trials that fit on `cores` and `gpus` (None: those of this machine) at a time."""
    fit = int((cores or cpu_cores()) // resources.cpu)
    if resources.gpu > 0:
        gpus = gpu_count() if gpus is None else gpus
        share = resources.gpu
        fit = min(fit, int(gpus) * int(1 / share + 1e-9) if share < 1 else int(gpus // share))
    return max(1, fit)


def gpu_count() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


# ---- Ray ----------------------------------------------------------------------------------------------------------


def run_ray(source: Source, sink: Sink, resources: Resources, concurrency: int | None, options: RayOptions) -> None:
    """Attempts as Ray Tune trials: on this machine, or on the cluster at `options.address`."""
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    from atod_sweep.sweep.backends.ray_bridge import quiet

    with quiet():
        _connect(options.address)
        try:
            cluster = ray.cluster_resources()
            for kind, need in (("CPU", resources.cpu), ("GPU", resources.gpu)):
                if need > cluster.get(kind, 0):
                    raise UserError(
                        f"resources.{kind.lower()}: a trial needs {need:g} but Ray has {cluster.get(kind, 0):g}; "
                        "ask for less, or join a larger cluster with --address"
                    )
            concurrency = concurrency or capacity(resources, cluster["CPU"], cluster.get("GPU", 0.0))
            with stoppable():  # after Ray's start, which takes the signal for itself
                _tune(source, sink, resources, concurrency, options)
        finally:
            ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    local: dict[str, Any] = {} if address else {"include_dashboard": False, "num_cpus": cpu_cores()}
    job = ray.job_config.JobConfig()
    job._py_driver_sys_path = _NotFirst()
    try:
        ray.init(address=address or "local", job_config=job, log_to_driver=False, logging_level="CRITICAL", **local)
    except Exception as error:  # Ray raises just that when a node of its own does not come up in time
        reason = " ".join(str(error).split())[:200]
        if address is None:
            raise UserError(f"Ray did not start: {reason}; try again, or use --backend local") from None
        raise UserError(f"--address {address!r}: no Ray cluster answers there: {reason}") from None


class _NotFirst(list[str]):
    """The folders that Ray puts first on every worker's path, before our code is there: all but the current one.

    Ray adds it by `extend`. The workers get it from `attempt.ray_trainable`, in the driver's order.
    """

    def extend(self, folders: Iterable[str]) -> None:
        super().extend(folder for folder in folders if folder != os.getcwd())


def _tune(source: Source, sink: Sink, resources: Resources, concurrency: int, options: RayOptions) -> None:
    from ray import tune

    from atod_sweep.sweep.backends.ray_bridge import Bridge, Stopper, searcher

    bridge = Bridge(source, sink, options.storage)
    cargo = pack_models(list(options.models)) if options.address else {}
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(ray_trainable, cargo=cargo), {"cpu": resources.cpu, "gpu": resources.gpu}
        ),
        param_space={
            "cwd": os.getcwd(),
            "sys_path": [entry or os.getcwd() for entry in sys.path],
            "storage": options.storage,
        },
        tune_config=tune.TuneConfig(
            search_alg=searcher(bridge),
            scheduler=Stopper(bridge),
            num_samples=-1,
            max_concurrent_trials=concurrency,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=options.scratch,
            verbose=0,
            callbacks=[bridge],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
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
        shutil.rmtree(options.scratch, ignore_errors=True)  # also what killed drivers left: runs resume from the ledger
    bridge.check()


def _name(trial: Any) -> str:
    return f"trial-{trial.trial_id}"
