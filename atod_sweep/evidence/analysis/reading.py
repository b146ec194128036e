"""From a run's folder to the records of `results`. What single trials left is read when somebody asks for it."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from atod_sweep.config.search import Objective
from atod_sweep.config.study import Bars, Hypothesis, Metric
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.results import Claim, Results, Study, Trial, is_finite, sign_of
from atod_sweep.evidence.analysis.trial_files import TrialFiles
from atod_sweep.records import layout, ledger
from atod_sweep.records.ledger_rows import Row, StudyRow, TrialRow


def load(run_dir: Path) -> Results:
    """Read a run's ledger. UserError if the folder has none, if it names no study, or if a row is damaged."""
    path = run_dir / layout.LEDGER
    if not path.is_file():
        raise ledger.nothing_in(run_dir)
    rows = ledger.read(run_dir)
    history = ledger.fold(rows)
    studies = history.studies
    if not studies:
        raise UserError(f"{path}: names no study; its run stopped before it began")
    if "search" in studies[-1] and not studies[-1]["arms"] and not _is_fruitless(rows):
        raise UserError(f"{path}: the search has not selected anything yet; finish it: atod-sweep resume {run_dir}")
    # What something was selected on is optimistic: only the fresh seeds that confirm the choice are evidence.
    explored = [row for row in history.trials.values() if row.get("phase") == "search"]
    trials = [row for row in history.trials.values() if row.get("phase") != "search"]
    spent: dict[str, float] = defaultdict(float)
    for row in rows:
        if row["event"] == "trial":
            spent[row["trial"]] += row.get("seconds") or 0.0
    files = TrialFiles(run_dir)
    return Results(
        folder=run_dir,
        study=_study(studies, _metric(studies[-1], trials)),
        trials=tuple(_trial(row, files, studies[-1], spent[row["trial"]]) for row in trials),
        explored=tuple(_trial(row, files, studies[-1], spent[row["trial"]]) for row in explored),
        ledger=tuple(rows),
        files=files,
    )


def _is_fruitless(rows: list[Row]) -> bool:
    """True if every configuration of a search has ended and none completed."""
    told = {row["arm"]: row["state"] for row in rows if row["event"] == "told"}
    proposed = sum(row["event"] == "configuration" for row in rows)
    return bool(told) and "COMPLETE" not in told.values() and len(told) == proposed


def _metric(study: StudyRow, confirmed: list[TrialRow]) -> Metric:
    """What trials are judged by. A search never saw the final sets: where they are played, they judge its choice."""
    metric = Metric.model_validate(study["metric"])
    final = metric.model_copy(update={"name": f"final/{metric.name.removeprefix('eval/')}", "last": 1})
    done = [row.get("metrics") or {} for row in confirmed if row["state"] == "COMPLETE"]
    return final if "search" in study and done and all(final.name in metrics for metrics in done) else metric


def _study(rows: tuple[StudyRow, ...], metric: Metric) -> Study:
    latest = rows[-1]
    first = {_claim_key(h) for h in rows[0]["hypotheses"]}
    return Study(
        name=latest["name"],
        question=latest["question"],
        reference=latest["reference"],
        metric=metric,
        sign=_sign(latest),
        claims=tuple(Claim(_hypothesis(h), _claim_key(h) in first) for h in latest["hypotheses"]),
        arms=tuple(latest["arms"]),
        controls=tuple(latest["controls"]),
        factors={factor: list(levels) for factor, levels in latest["factors"].items()},
        seeds=tuple(latest["seeds"]),
        sequential=any(row.get("sequential") for row in rows),
        bars=Bars.model_validate(latest.get("bars", {})),
        rows=rows,
    )


def _sign(latest: StudyRow) -> float:
    """A search says whether it minimises; of a study the metric's name does."""
    if "search" in latest:
        return Objective.model_validate(latest["search"].get("metric", {})).sign
    return sign_of(latest["metric"]["name"])


def _hypothesis(row: dict[str, Any]) -> Hypothesis:
    return Hypothesis.model_validate({key: value for key, value in row.items() if key != "sentence"})


def _claim_key(row: dict[str, Any]) -> str:
    return _hypothesis(row).model_dump_json()


def _trial(row: TrialRow, files: TrialFiles, study: StudyRow, spent: float) -> Trial:
    cost = row.get("cost") or {}
    seconds = cost.get("seconds") or row.get("seconds") or math.nan
    scores = [(row.get("score"), study["metric"]), (row.get("second"), study.get("search", {}).get("second"))]
    return Trial(
        id=row["trial"],
        arm=row["arm"],
        role=row["role"],
        levels=row["levels"],
        seed=row["seed"],
        state=row["state"],
        attempt=row["attempt"],
        config_hash=row["config_hash"],
        metrics=row.get("metrics") or {},
        start_metrics=row.get("start_metrics") or {},
        cost=cost,
        seconds=seconds,
        spent=max(seconds, spent) if spent else seconds,
        error={key: str(value) for key, value in error.items()} if (error := row.get("error")) else None,
        files=files,
        recorded={
            Metric(name=metric["name"], last=metric["last"]): score
            for score, metric in scores
            if metric and is_finite(score)
        },
    )
