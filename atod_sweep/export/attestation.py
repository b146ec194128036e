"""attestation.intoto.json: what an export was made of, in a form that tools other than ours read.

An in-toto statement (https://in-toto.io/Statement/v1) about every other file of the export but its manifest, with the
SLSA provenance predicate (https://slsa.dev/provenance/v1). All of it follows from provenance.json and the files, so
`verify` derives it again; `signing` puts a key behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.export import manifest
from atod_sweep.export.record import complete, read_text

FILE_NAME = "attestation.intoto.json"
BUILD_TYPE = "https://pypi.org/project/atod-sweep/export/v1"
OURS = "atodSweepContent"  # the name of the package's own hashes: 16 hex digits of what a model or a config is made of


def attested(record: Mapping[str, Any]) -> bool:
    """Whether an export with this record has a statement: those of the first versions have none."""
    return "ledger" in record


def statement(record: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """The text of the file, from an export's record and the SHA-256 of its files by name."""
    ledger = record["ledger"]
    made_of = [
        _resource("ledger", {"sha256": ledger["sha256"]}, rows=ledger["rows"], head=ledger["head"]),
        *(_resource(role, {OURS: model["digest"]}) for role, model in record["models"].items() if "digest" in model),
        *(_resource(f"data:{name}", {"sha256": digest}) for name, digest in record["data"].items()),
        *([_resource("code", {"gitCommit": record["git"]})] if record["git"] else []),
    ]
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "study": record["study"],
            "arm": record["arm"],
            "config": record["config"],
            "seeds": [trial["seed"] for trial in record["trials"]],
            "trials": record["trials"],
        },
        "internalParameters": {"definition": record["definition_hash"], "numerics": record["numerics"]},
        "resolvedDependencies": made_of,
    }
    details = {
        "builder": {"id": record["exported_by"], "version": record["versions"]},
        "metadata": {"invocationId": record["run_id"], "startedOn": f"{record['run_date']}T00:00:00Z"},
    }
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": definition, "runDetails": details},
    }
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path, record: Mapping[str, Any], names: list[str]) -> None:
    """Attest to these files of `folder`."""
    text = statement(record, {name: manifest.sha256(folder / name) for name in names})
    (folder / FILE_NAME).write_bytes(text.encode())


def check(folder: Path, record: Mapping[str, Any], names: list[str]) -> None:
    """UserError for other files than these, and unless the statement is what the record and these files give."""
    attests = [FILE_NAME] if attested(record) else []
    manifest.refuse_strangers(folder, [*names, *attests, manifest.FILE_NAME])
    if not attests:
        return
    with complete(folder):
        expected = statement(record, {name: manifest.sha256(folder / name) for name in names})
    if read_text(folder / FILE_NAME) != expected:
        raise UserError(f"{folder / FILE_NAME}: differs from what the record and the files give; export again")


def _resource(name: str, digest: Mapping[str, Any], **annotations: Any) -> dict[str, Any]:
    return {"name": name, "digest": dict(digest)} | ({"annotations": annotations} if annotations else {})
