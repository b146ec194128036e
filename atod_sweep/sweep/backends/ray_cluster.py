"""Ray itself: a cluster of our own that lets nobody in, or the user's as the user has set it up.

Our own binds to the loopback, asks every caller for a token that this run alone knows, and keeps its sockets and logs
in a folder that nobody else may enter. On a cluster of the user's, the user's settings hold.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from atod_sweep.cores import cpu_cores
from atod_sweep.errors import UserError
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.backends import ray_internals

# How Ray Tune behaves in the driver while it runs our trials, wherever that is. Ray must be told before it is imported.
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


@contextlib.contextmanager
def own() -> Iterator[None]:
    """A cluster of our own on this machine, gone with the block. UserError if it does not start."""
    environment = {_MODE: os.environ.get(_MODE), ray_internals.LOOPBACK: "0"}
    if not any(name in os.environ for name in (_MODE, *_TOKENS)):
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    with (
        _told(),
        tempfile.TemporaryDirectory(prefix="atod-", dir=_place(), ignore_cleanup_errors=True) as folder,
        _environment(environment | {"RAY_TMPDIR": folder}),
        quiet(),
    ):
        import ray

        try:
            try:
                _init_here(ray)
            except UserError:  # Ray gives its processes 30 s, which is short on a busy machine
                ray.shutdown()
                _init_here(ray)
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """The user's cluster, with the user's settings. UserError if it does not answer, or does not let us in."""
    mode = os.environ.get(_MODE)
    with _told(), quiet():
        import ray

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


def _told() -> contextlib.AbstractContextManager[None]:
    """Inside, Ray behaves as our runs need it, where the user has not said otherwise; a later sweep is the user's."""
    return _environment({name: value for name, value in TUNE_ENVIRONMENT.items() if name not in os.environ})


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
