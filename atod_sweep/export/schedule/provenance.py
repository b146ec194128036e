"""Where a schedule comes from, as data: the study, its evidence, and what made it."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atod_sweep import __version__
from atod_sweep.config.teachers import Served
from atod_sweep.config.train import Train, model_key
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.export.record import FORMAT
from atod_sweep.export.schedule.best import BestSchedule
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.paths import expanded
from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import StudyRow
from atod_sweep.records.rows import whole

LICENCE = "MIT (schedule and generated code)"


def provenance(results: Results, best: BestSchedule, exported: ScheduleFile | None = None) -> dict[str, Any]:
    """Plain JSON data without local paths; numbers that do not exist (an interval from one seed) are null.

    `exported`: the schedule, where it is one that is exported.
    """
    study, rival = results.study, best.runner_up
    latest, run = study.latest, {"steps": best.config.steps, "horizon": best.config.env.horizon}
    return {
        "format": FORMAT,
        "study": study.name,
        "question": study.question,
        "verdicts": [{"claim": v.claim, "outcome": v.outcome, "sentence": v.sentence()} for v in judge(results)],
        "arm": best.arm,
        "compared_at": best.at,
        "config_of": best.levels,
        "metric": study.metric.model_dump(mode="json"),
        "scores": {str(seed): score for seed, score in best.scores.items()},
        "result": _interval(best.interval),
        "start": _start(results, best),
        "runner_up": {"arm": rival.other, "paired_difference": _interval(rival.interval)} if rival else None,
        "notes": best.notes(),
        "trials": [{"id": t.id, "seed": t.seed, "config_hash": t.config_hash} for t in best.trials],
        "env": portable(best.config.env.model_dump(mode="json")),
        "run": run,
        "rollout": {"tasks": best.config.rollout.tasks, "group_size": best.config.rollout.group_size},
        "exported": {"steps": exported.steps, "horizon": exported.horizon} if exported else run,
        "models": _models(latest, best),
        "versions": latest["versions"],
        "numerics": latest["numerics"],
        "git": latest["git"],
        "hardware": latest["hardware"],
        "definition_hash": latest["definition_hash"],
        "run_id": latest["id"],
        "config": portable(best.config.model_dump(mode="json")),
        "ledger": _ledger(results.folder / layout.LEDGER),
        "data": _data(best.config),
        "run_date": datetime.fromtimestamp(latest["time"], UTC).date().isoformat(),
        "export_date": datetime.now(UTC).date().isoformat(),
        "exported_by": f"atod-sweep {__version__}",
        "licence": LICENCE,
    }


def _ledger(path: Path) -> dict[str, Any]:
    """The ledger as it was at the export: all of it, and its last row, which later ones follow."""
    data = path.read_bytes()
    rows = whole(data).split(b"\n")[:-1]
    return {"sha256": hashlib.sha256(data).hexdigest(), "rows": len(rows), "head": hashlib.sha256(rows[-1]).hexdigest()}


def _data(config: Train) -> dict[str, str]:
    """SHA-256 of the files of texts that students were asked about, where they are still here."""
    files = [expanded(kept.texts) for kept in config.evaluation.retention if kept.texts is not None]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def _interval(interval: Interval) -> dict[str, float | int | None]:
    ends = {"mean": interval.estimate, "low": interval.low, "high": interval.high}
    found = {name: value if math.isfinite(value) else None for name, value in ends.items()}
    return found | {"level": interval.level, "n": interval.n}


def portable(value: Any) -> Any:
    """Plain data with local paths cut down to their last name."""
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [portable(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~", "./", "../")) else value


def _models(latest: StudyRow, best: BestSchedule) -> dict[str, Any]:
    """Those of the exported config; none where the ledger does not name them, for another setting's would be wrong.

    Ledgers of the first versions know the study's first pair alone.
    """
    key = model_key(best.config.model_dump(mode="json"))
    pair = latest["pairs"].get(key, {}) if "pairs" in latest else latest["models"]
    found = {  # without their places on the machine that built them
        name: {key: model[key] for key in ("digest", "success") if key in model}
        for name, model in pair.items()
        if model
    }
    if isinstance(teacher := best.config.teacher, Served):  # of which nobody knows more than its name
        found["teacher"] = {"api": teacher.kind, "model": teacher.model}
    return found


def _start(results: Results, best: BestSchedule) -> float | None:
    """Mean of the metric before training."""
    name = results.study.metric.name
    found = [trial.start_metrics[name] for trial in best.trials if name in trial.start_metrics]
    return sum(found) / len(found) if found else None
