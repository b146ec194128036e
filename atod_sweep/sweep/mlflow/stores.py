"""Stores by their address: sqlite files, servers, other databases. Asked so that a broken one costs seconds at most."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.mlflow import database

# MLflow must be told before it is imported; what a user has set stays. A store that does not answer must not hold the
# driver up for minutes, a connection must not outlive its file, and nobody asked to be counted.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_SQL = ("postgresql", "mysql", "mssql")  # the databases that MLflow speaks with, beside sqlite


def default_uri(runs: Path) -> str:
    """The database beside the studies."""
    return f"sqlite:///{runs.resolve() / 'mlflow.db'}"


def file_of(uri: str) -> Path | None:
    """The file of a sqlite URI; None for other stores, and for sqlite in memory."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(?!:memory:|file:)([^?]+)(?:\?.*)?", uri)
    return Path(found[1]) if found else None


def is_installed() -> bool:
    """Whether MLflow is on this machine."""
    return find_spec("mlflow") is not None


def check(uri: str) -> None:
    """UserError for an address that MLflow cannot use here; whether the store is well shows when it is used."""
    said = f"--tracking-uri {redacted(uri)!r}"
    if not is_installed():
        raise UserError(f"{said}: MLflow is not installed; pip install mlflow")
    if file_of(uri) is not None or uri.startswith(("http://", "https://")):
        return
    client = _client_class()
    from mlflow import MlflowException

    try:
        if _is_sql(uri):
            from sqlalchemy import create_engine

            create_engine(uri)
        else:
            client(tracking_uri=uri)
    except ModuleNotFoundError as missing:
        raise UserError(f"{said}: needs the package {missing.name}; pip install it") from None
    except MlflowException:
        raise UserError(f"{said}: not a store of this MLflow; give sqlite:///FILE or a server's http://…") from None


def connect(uri: str, say: Callable[[str], None]) -> Any:
    """A client of the store. Raises whatever is wrong with it; `say` gets a line if something was repaired."""
    client = _client_class()
    path = file_of(uri)
    if path is not None:
        database.ensure(uri, path, say)
    elif _is_sql(uri):
        from sqlalchemy import create_engine

        create_engine(uri).connect().close()  # MLflow would try for minutes
    return client(tracking_uri=uri)


def _is_sql(uri: str) -> bool:
    return re.split(r"[+:]", uri)[0] in _SQL


def _client_class() -> Any:
    """MLflow's client, imported in peace: it sets its loggers up when it is imported."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log as an error they also raise
    return MlflowClient
