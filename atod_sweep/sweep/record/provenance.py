"""What a run was made with: definition, command line, package versions, code revision, hardware."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import atod_sweep
from atod_sweep.config.base import content_hash
from atod_sweep.cores import cpu_cores
from atod_sweep.records.ledger_rows import StudyRow
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.trials.jobs import Row

_PACKAGES = ("atod-sweep", "torch", "transformers", "ray", "optuna", "mlflow", "numpy", "gymnasium")


def circumstances(definition: dict[str, Any], argv: Sequence[str]) -> Row:
    """The fields of a study row that say how the run was made."""
    from atod_sweep.training import NUMERICS

    return {
        "definition": definition,
        "definition_hash": content_hash(definition),
        "argv": [redacted(word) for word in argv],
        "versions": versions(),
        "numerics": NUMERICS,
        "git": git_revision(),
        "hardware": hardware(),
    }


def is_news(old: StudyRow | None, row: Mapping[str, Any]) -> bool:
    """True if more than the command line and the models' whereabouts differ, or what the run itself decided since."""
    keys = ("definition_hash", "question", "reference", "file_sha256", "versions", "numerics", "git", "hardware")
    return old is None or any(old.get(key) != row[key] for key in keys)


def are_others(old: StudyRow | None, pairs: Mapping[str, Row]) -> bool:
    """True if these pairs of models, by their key, are not all on record."""
    known = old.get("pairs", {}) if old else {}
    return any(key not in known or _digests(known[key]) != _digests(pair) for key, pair in pairs.items())


def _digests(pair: Row) -> dict[str, str | None]:
    return {role: ref and ref["digest"] for role, ref in pair.items()}


def versions() -> dict[str, str]:
    """Package -> version, Python included."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """Commit of the code (of this folder if the package is installed), with '-dirty' on uncommitted changes."""
    for folder in (Path(atod_sweep.__file__).parent, Path.cwd()):
        revision = _run(["git", "-C", str(folder), "rev-parse", "HEAD"])
        if revision:
            quiet = ["-c", "core.fsmonitor=false"]  # a program that the folder's own settings may name
            dirty = _run(["git", *quiet, "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
            return revision + ("-dirty" if dirty else "")
    return None


def hardware() -> dict[str, Any]:
    """The driver's machine; memory in GB (10^9 bytes)."""
    gpus = _run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return {
        "cpu": _cpu_name(),
        "cores": cpu_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": gpus.splitlines()[0] if gpus else None,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _run(command: list[str]) -> str:
    """Output of a command; empty if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
