"""Stores by their address: sqlite files, servers, other databases. Asked so that a broken one costs seconds at most."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.paths import is_web_address
from atod_sweep.records import layout, ledger
from atod_sweep.records.redaction import HIDDEN, redacted
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
_PAGE = 1000  # runs that a store is asked for at a time


EXPERIMENT = "atod-sweep"


@dataclass(frozen=True)
class Place:
    """Where in MLflow a run is recorded. `said`: what named the store; "" for the one beside the runs."""

    uri: str
    experiment: str
    said: str = ""

    @property
    def is_usual(self) -> bool:
        """Whether nobody asked for this store."""
        return not self.said


def placed(runs: Path, tracking_uri: str | None, experiment: str | None) -> Place:
    """The place of runs in folder `runs`: as given, else as MLflow's own variables say, else beside the runs."""
    from_environment = os.environ.get("MLFLOW_TRACKING_URI")
    experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    if tracking_uri:
        return Place(_whole(tracking_uri), experiment, "--tracking-uri")
    if from_environment:
        return Place(_whole(from_environment), experiment, "MLFLOW_TRACKING_URI")
    return Place(default_uri(runs), experiment)


def place_of(run_dir: Path, tracking_uri: str | None = None, experiment: str | None = None) -> Place:
    """The place of a run that is there: as given, else where it was started to be, else as for a new run.

    UserError where that held a secret, which the run's ledger does not, and the environment does not give it either.
    """
    row = ledger.fold(ledger.read(run_dir)).study
    recorded = dict(row.get("started_with", {})) if row else {}
    if tracking_uri is None:
        kept = recorded.get("tracking_uri")
        tracking_uri = None if is_in_environment(kept) else kept
        if tracking_uri is not None and HIDDEN in tracking_uri:
            raise UserError(f"{run_dir}: was started with --tracking-uri {kept}, and no secret is kept; give it again")
    return placed(run_dir.parent, tracking_uri, experiment or recorded.get("experiment"))


def is_in_environment(recorded: str | None) -> bool:
    """Whether the environment names the store that a ledger names, which holds no secret of it."""
    found = os.environ.get("MLFLOW_TRACKING_URI")
    return bool(found) and redacted(_whole(str(found))) == recorded


def default_uri(runs: Path) -> str:
    """The database beside the studies."""
    return f"sqlite:///{runs.resolve() / layout.MLFLOW}"


def _whole(uri: str) -> str:
    """With the whole path of a sqlite file: a run is also taken up from other folders."""
    path = file_of(uri)
    return uri if path is None else uri.replace(f":///{path}", f":///{path.absolute()}", 1)


def file_of(uri: str) -> Path | None:
    """The file of a sqlite URI; None for other stores, and for sqlite in memory."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(?!:memory:|file:)([^?]+)(?:\?.*)?", uri)
    return Path(found[1]) if found else None


def is_installed() -> bool:
    return find_spec("mlflow") is not None


def check(place: Place) -> None:
    """UserError for an address that MLflow cannot use here; whether the store is well shows when it is used."""
    uri = place.uri
    said = f"{place.said or '--tracking-uri'} {redacted(uri)!r}"
    if not is_installed():
        raise UserError(f"{said}: MLflow is not installed; pip install mlflow")
    if file_of(uri) is not None or is_web_address(uri):
        return
    if re.match("https?:", uri):
        raise UserError(f"{said}: no server can be there; give an address such as http://localhost:5000")
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


def connect(uri: str) -> Any:
    """A client of the store. Raises whatever is wrong with it."""
    client = _client_class()
    path = file_of(uri)
    if path is not None:
        database.ensure(uri, path)
    elif _is_sql(uri):
        from sqlalchemy import create_engine

        create_engine(uri).connect().close()  # MLflow would try for minutes
    return client(tracking_uri=uri)


def search(client: Any, experiment: str, query: str) -> list[Any]:
    """All runs that a query finds, page by page: whole before any is changed, which would shift the pages."""
    page = client.search_runs([experiment], query, max_results=_PAGE)
    found = list(page)
    while page.token:
        page = client.search_runs([experiment], query, max_results=_PAGE, page_token=page.token)
        found += page
    return found


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
