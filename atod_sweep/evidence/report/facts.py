"""How a run was made, line by line: the appendix of its report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atod_sweep.config.base import dump_yaml
from atod_sweep.evidence.analysis.results import Results, trainers
from atod_sweep.evidence.analysis.text import number, plural
from atod_sweep.records import layout
from atod_sweep.records.redaction import redacted
from atod_sweep.records.study_file import read


def facts(results: Results) -> dict[str, str]:
    """Seeds, command, machine, versions, code, models."""
    row = results.study.latest
    hardware = row["hardware"]
    memory = f"{hardware['memory_gb']:g} GB memory"
    machine = [hardware["cpu"], plural(hardware["cores"], "core"), memory, f"GPU: {hardware['gpu'] or 'none'}"]
    commands = dict.fromkeys(redacted(" ".join([Path(r["argv"][0]).name, *r["argv"][1:]])) for r in results.study.rows)
    started = datetime.fromtimestamp(results.study.rows[0]["time"], UTC)
    found = {
        "Seeds": ", ".join(map(str, results.seeds)),
        "Started": f"{started:%Y-%m-%d %H:%M} UTC",
        "Command": "; ".join(commands),
        "Hardware": ", ".join(machine),
        "Versions": ", ".join(f"{name} {version}" for name, version in row["versions"].items()),
        "Numerics version": str(row["numerics"]),
        "Code": f"git {row['git']}" if row["git"] else "not from a git checkout",
        "Definition": row["definition_hash"],
    }
    if {*(kinds := trainers(results))} - {"atod"}:
        found["Trainer"] = "; ".join(f"{kind}: {', '.join(arms)}" for kind, arms in kinds.items())
    if results.files.packed:
        found["Records"] = f"packed: {_kept(results, results.files.packed.every)}"
    pairs = list(row.get("pairs", {}).values()) or [row["models"]]
    told = {role: list(dict.fromkeys(_model(pair[role]) for pair in pairs if pair[role])) for role in row["models"]}
    return found | {f"{role.capitalize()} model": "; ".join(refs) for role, refs in told.items() if refs}


def _kept(results: Results, every: int) -> str:
    """What a packed run holds of its trials' records, and of how many there were none to be packed."""
    kept = f"evaluations in full, training at every {every}th step"
    trained = [trial for trial in (*results.trials, *results.explored) if trial.is_trained]
    lost = sum(not trial.rows for trial in trained)
    if lost == len(trained):
        return "the ledger alone, without the trials' own"
    return f"{kept}; none of {plural(lost, 'trial')}" if lost else kept


def _model(ref: dict[str, Any]) -> str:
    success = ref.get("success")
    return f"digest {ref['digest']}" + ("" if success is None else f", success {number(success, 3)}")


def study_file(results: Results) -> str:
    """The YAML that the run was started from, or what the ledger holds of it. UserError if the file is damaged."""
    if path := layout.definition_file(results.folder):
        return read(path, results.ledger)
    return dump_yaml(results.study.latest["definition"])
