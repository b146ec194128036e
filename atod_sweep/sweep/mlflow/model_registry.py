"""Exported students in MLflow's model registry, each version tied to the run of the trial that trained it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.problems import explain
from atod_sweep.sweep.mlflow.stores import Place, check


def register(run_dir: Path, model: Path, name: str, place: Place) -> str:
    """Enter the exported student in folder `model` as a version of `name`; the version's number.

    The folder becomes an artifact of the trial's run; entering the same files twice gives the same version. UserError
    if the store does not answer, does not know the trial, or refuses the name.
    """
    record = json.loads((model / "provenance.json").read_text(encoding="utf-8"))
    history = ledger.fold(ledger.read(run_dir))
    check(place)
    try:
        return _Registry(place, run_dir, history.studies[0], lambda line: None).enter(model, name, record)
    except UserError:
        raise
    except Exception as error:  # whatever a store raises
        again = f"atod-sweep export {run_dir} --model --register {name!r}"
        raise UserError(f"{explain(error, place.uri)}; then again: {again}") from error


class _Registry(Mirror):
    def enter(self, folder: Path, name: str, record: dict[str, Any]) -> str:
        from mlflow import MlflowException

        self.connect()
        run_id = self._trained_in(record["model"]["trial"])
        try:
            self._ensure_name(name)
            source = self._upload(run_id, folder, record)
            for version in self._client.search_model_versions(f"run_id = '{run_id}'"):  # a name may hold quotes
                if (version.name, version.source) == (name, source):
                    return str(version.version)
            version = self._client.create_model_version(
                name,
                source,
                run_id,
                tags=_tags(folder, record),
                description=f"{record['question']} Seed {record['model']['seed']}: {record['model']['chosen']}.",
                await_creation_for=None,
            )
        except MlflowException as error:
            raise UserError(f"--register {name!r}: MLflow says: {' '.join(str(error).split())[:300]}") from None
        return str(version.version)

    def _trained_in(self, trial: str) -> str:
        wanted = f"tags.`atod.run` = '{self._study['id']}'"
        for parent in self._client.search_runs([self._experiment], wanted, max_results=1):
            for run in self._search(parent.info.run_id):
                if run.data.tags["atod.trial"] == trial:
                    return str(run.info.run_id)
        raise UserError(
            f"--tracking-uri {redacted(self.uri)!r}: holds no run of trial {trial}; bring it up to date: "
            f"atod-sweep sync {self._run_dir}"
        )

    def _ensure_name(self, name: str) -> None:
        from mlflow import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _upload(self, run_id: str, folder: Path, record: dict[str, Any]) -> str:
        """The artifact's address; its name holds a hash of the files, so that no version changes later."""
        path = f"student-{content_hash(record['model']['files'])}"
        self._client.log_artifacts(run_id, str(folder), path)
        return f"{self._client.get_run(run_id).info.artifact_uri}/{path}"


def _tags(folder: Path, record: dict[str, Any]) -> dict[str, str]:
    model = record["model"]
    found = {key: record[key] for key in ("study", "arm", "git")}
    found |= {"metric": record["metric"]["name"], **{key: model[key] for key in ("seed", "score", "trial")}}
    found["sha256"] = hashlib.sha256((folder / "manifest.sha256").read_bytes()).hexdigest()  # as the export printed it
    return {key: str(value) for key, value in found.items()}
