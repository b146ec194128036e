"""Ray itself: a cluster of our own that lets nobody in, or the user's as the user has set it up.

Our own binds to the loopback, asks every caller for a token that this run alone knows, and keeps its sockets and logs
in a folder that nobody else may enter. On a cluster of the user's, the user's settings hold.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from atod_sweep.config.study import Resources
from atod_sweep.cores import cpu_cores
from atod_sweep.errors import UserError
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.backends import ray_internals

# How Ray Tune behaves in the driver, wherever trials run. Ray must be told before it is imported; what a user has set
# stays.
TUNE_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the ledger is what a run resumes from
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_STATE_REFRESH_PERIOD": "1000000000",  # a question that a lost head never answers
}
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_MODE = "RAY_AUTH_MODE"
_SOCKET_PATH = 107  # characters that a socket's path may have
_SESSION = len("/atod-12345678/ray/session_2026-11-30_04-22-59_849056_4194304/sockets/plasma_store")
_LOST = 40.0  # seconds of silence after which the head is gone; Ray gives one that is started again 60
_DEAF = 12.0  # seconds that the main thread gets to end the run
_WAIT = 600.0  # seconds that a cluster gets to grow until one trial fits
_LOOK = 1.0  # seconds between looks at its size
_GROWTH = 5.0  # … while trials run


@contextlib.contextmanager
def own() -> Iterator[None]:
    """A cluster of our own on this machine, gone with the block. UserError if it does not start."""
    prepare()
    import ray

    environment = {_MODE: os.environ.get(_MODE), ray_internals.LOOPBACK: "0"}
    if not any(name in os.environ for name in (_MODE, *_TOKENS)):
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    folder = Path(tempfile.mkdtemp(prefix="atod-", dir=_place()))
    try:
        with _environment(environment | {"RAY_TMPDIR": str(folder)}), quiet():
            try:
                try:
                    _init_here(ray)
                except UserError:  # Ray gives its processes 30 s, which is short on a busy machine
                    ray.shutdown()
                    _init_here(ray)
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """The user's cluster, with the user's settings. UserError if it does not answer, or does not let us in."""
    prepare()
    import ray

    mode = os.environ.get(_MODE)
    with quiet():
        if mode is None and _has_token() and _asks_for_token(ray, address):
            mode = "token"
        with _environment({_MODE: mode}):
            try:
                _init(ray, address)
                yield
            finally:
                ray.shutdown()


def _asks_for_token(ray: Any, address: str) -> bool:
    """Whether the cluster refuses those who send no token. Of one that does not answer yet, that is not known.

    To a cluster without tokens none may be sent: we would ask for one too, and its nodes could not call us back.
    """
    with _environment({_MODE: None}), ray_internals.little_patience():
        try:
            _init(ray, address)
        except TokenWanted:
            return True
        except UserError:
            return False
        finally:
            ray.shutdown()
    return False


def prepare() -> None:
    """Tell Ray how to behave, before it is imported."""
    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _init_here(ray: Any) -> None:
    with ray_internals.on_loopback():
        _init(ray, "local", include_dashboard=False, num_cpus=cpu_cores())


def _init(ray: Any, address: str, **more: Any) -> None:
    with _captured() as said:
        try:
            ray.init(
                address=address,
                job_config=ray_internals.job_config(),
                log_to_driver=False,
                logging_level="CRITICAL",
                **more,
            )
        except (Exception, SystemExit) as error:  # Ray raises just these when it does not come up or answer in time
            exited = isinstance(error, SystemExit)
            reason = "it took too long" if exited else redacted(" ".join(str(error).split()))[:200]
            if address == "local":
                raise UserError(f"Ray did not start: {reason}; try again, or use --backend local") from None
            raise _refusal(redacted(address), reason, f"{error!r} {said()}") from None


class TokenWanted(UserError):
    """A cluster asks for a token that it was not given."""


def _refusal(address: str, reason: str, said: str) -> UserError:
    """Why a cluster of the user's did not take us, and what to set."""
    if not any(sign in said for sign in ("Unauthenticated", "AuthToken", "AuthenticationError")):
        return UserError(f"--address {address!r}: no Ray cluster answers there: {reason}")
    remedy = "set RAY_AUTH_TOKEN, or put a copy of its head node's ~/.ray/auth_token there or at RAY_AUTH_TOKEN_PATH"
    if (mode := os.environ.get(_MODE, "token")) != "token":
        remedy = f"{_MODE}={mode} is set, which sends none: unset it, and {remedy}"
    return TokenWanted(
        f"--address {address!r}: this Ray cluster asks for its token, and ours is missing or another: {remedy}"
    )


def _has_token() -> bool:
    return any(name in os.environ for name in _TOKENS) or (Path.home() / ".ray" / "auth_token").is_file()


def _place() -> str:
    """Where our own Ray's folder goes. UserError if the path of a socket would be too long everywhere."""
    asked = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    for folder in (asked, "/tmp"):
        if len(folder) + _SESSION <= _SOCKET_PATH and os.access(folder, os.W_OK):
            return folder
    raise UserError(
        f"{asked}: too long a path for Ray's sockets ({len(asked)} characters, at most {_SOCKET_PATH - _SESSION}); "
        "set RAY_TMPDIR to a short folder that you can write, or use --backend local"
    )


@contextlib.contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Variables set inside (None: absent), and put back as they were; Ray sets some of them itself."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    ray_internals.read_authentication_anew()
    try:
        yield
    finally:
        _set(before)
        ray_internals.read_authentication_anew()


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _captured() -> Iterator[Callable[[], str]]:
    """Keep what Ray's own C++ writes on stderr off the console; yields a function that reads it."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:

            def said() -> str:
                file.seek(0)
                return file.read().decode(errors="replace")

            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray off the console: its loggers, its warnings, and the raylet's remarks on workers that died.

    What matters of them is in the ledger, and with --json every other line would break the output.
    """
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train", "ray.tune.tune")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), ray_internals.silent_worker_logs():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# ---- whether it is there still --------------------------------------------------------------------------------------


@contextlib.contextmanager
def watched(address: str | None, remedy: str) -> Iterator[Callable[[], bool]]:
    """UserError, with the remedy, if the cluster's head goes away inside: Ray itself would end this process, a minute
    later and without a word.

    Yields a function that says whether the head was heard just now: while it is not, whoever asks Ray for something
    may wait for ever. Needs `interrupts.stoppable` around it.
    """
    import ray

    where = "on this machine" if address is None else f"at {redacted(address)}"
    words = f"the Ray cluster {where} is gone: its head process answers no more; {remedy}"
    watch = _Watch(ray.get_runtime_context().gcs_address, words)
    watch.start()
    try:
        yield watch.is_heard
    except (KeyboardInterrupt, Exception) as error:
        if watch.lost or (isinstance(error, Exception) and not isinstance(error, UserError) and not watch.answers()):
            raise UserError(words) from error
        raise
    finally:
        watch.over.set()


class _Watch(threading.Thread):
    """Knocks at the head's port, and interrupts the main thread once it has been silent for long.

    A main thread that waits for Ray in vain does not hear that: then the words are said here, and this is the end.
    """

    def __init__(self, head: str, words: str) -> None:
        super().__init__(name="ray-head", daemon=True)
        self._words, self._heard = words, time.monotonic()
        host, _, port = head.rpartition(":")
        self._head = host.strip("[]"), int(port)
        self.lost, self.over = False, threading.Event()

    def answers(self) -> bool:
        """Whether somebody listens there."""
        try:
            socket.create_connection(self._head, timeout=5).close()
        except OSError:
            return False
        return True

    def is_heard(self) -> bool:
        """Whether it answered when it was last asked."""
        return time.monotonic() - self._heard < 2 * _LOOK

    def run(self) -> None:
        """Until `over`."""
        while not self.over.wait(_LOOK / 2):
            if self.answers():
                self._heard = time.monotonic()
            elif time.monotonic() - self._heard > _LOST and not self.over.is_set():
                break
        else:
            return
        self.lost = True
        if callable(signal.getsignal(signal.SIGTERM)):  # `stoppable` has it: it raises, out of any sleep
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if not self.over.wait(_DEAF):
            sys.stderr.write(f"{self._words}\n")
            sys.stderr.flush()
            os._exit(1)


# ---- size -----------------------------------------------------------------------------------------------------------


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
        """Until Ray is shut down."""
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
