"""The best student as a plain Hugging Face directory: chosen without flattery, with its origin, and verifiable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from math import sqrt
from pathlib import Path

from atod_sweep.config.base import validate
from atod_sweep.config.custom import check_sources
from atod_sweep.config.study import Metric
from atod_sweep.config.train import Train
from atod_sweep.envs.registry import names
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Trial
from atod_sweep.export import attestation, manifest
from atod_sweep.export.record import PROVENANCE, complete, dump, read, read_text, vouched
from atod_sweep.export.schedule.best import choose
from atod_sweep.export.schedule.provenance import portable, provenance
from atod_sweep.export.student.model_card import model_card
from atod_sweep.records import layout, packed
from atod_sweep.records import manifest as own

Save = Callable[[Train, Path, Path], None]
Evaluate = Callable[[Train, Path], Mapping[str, float]]
CARD = "README.md"
SUCCESS = "eval/success"


def write(run_dir: Path, out: Path, save: Save, at: Mapping[str, str] | None = None) -> Path:
    """Write the student of the best arm's median seed into folder `out`; return `out`.

    `save(config, student, out)` writes weights and tokenizer. An earlier export at `out` is replaced. UserError if the
    run does not hold the student any more, or if `out` holds something else.
    """
    packed.refuse(run_dir, "exported as a model")
    results = load(run_dir)
    best = choose(results, at)
    trial, chosen = median_trial(best.trials, results.study.metric)
    student = trial.folder / layout.STUDENT
    again = f"train it again: atod-sweep train {trial.folder / layout.CONFIG}"
    if not student.is_dir():
        raise UserError(f"{student}: the trained student is not there; {again}")
    if (student / own.NAME).is_file():  # those of the first versions have none
        try:
            own.check(student)
        except ValueError as error:
            raise UserError(f"{student}: damaged, {error}; {again}") from None
    config = validate(Train, trial.config, str(trial.folder / layout.CONFIG))
    _make_room(out)
    save(config, student, out)
    generation = json.loads((out / "generation_config.json").read_text(encoding="utf-8"))
    record = provenance(results, best)
    record["model"] = {
        "trial": trial.id,
        "seed": trial.seed,
        "chosen": chosen,
        "score": trial.score(results.study.metric),
        SUCCESS: trial.metrics.get(SUCCESS),
        "config": portable(config.model_dump(mode="json")),
        "stop_strings": generation.get("stop_strings", []),
        "files": _digests(out),
    }
    (out / PROVENANCE).write_bytes(dump(record).encode())
    (out / CARD).write_bytes(model_card(record).encode())
    attestation.write(out, record, sorted(path.name for path in out.iterdir()))
    manifest.record(run_dir, out, manifest.write(out, (path.name for path in out.iterdir())))
    return out


def median_trial(trials: tuple[Trial, ...], metric: Metric) -> tuple[Trial, str]:
    """The trial with the median score, and how it was chosen in words.

    The best seed would flatter; of the two in the middle the lower one is taken, of equal ones the first seed.
    """
    order = sorted(trials, key=lambda trial: (trial.score(metric) or 0.0, trial.seed))
    which = "the median" if len(order) % 2 else "the lower of the two in the middle"
    return order[(len(order) - 1) // 2], f"{which} of {len(order)} seeds by {metric.name}, not the best one"


def is_model(folder: Path) -> bool:
    """Whether the folder is the export of a student."""
    try:
        record = json.loads((folder / PROVENANCE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and isinstance(record.get("model"), dict)


def verify(folder: Path, evaluate: Evaluate, trust: bool = False, digest: str | None = None) -> list[str]:
    """What was checked, one line each; UserError at the first difference.

    Every file is what was written; `evaluate(config, folder)` plays the held-out tasks again, in environments that are
    not shipped only with `trust`, for it runs their code. On another machine, which rounds differently, sampled
    episodes differ too: there the success may differ as two samples do. `digest`: what the export said of itself.
    """
    record = read(folder)
    model = record["model"]
    found = _digests(folder)
    with complete(folder):
        for name in sorted(found.keys() | model["files"].keys()):
            if found.get(name) != model["files"].get(name):
                raise UserError(
                    f"{folder / name}: is not the file that {PROVENANCE} vouches for; export the model again"
                )
        then, expected = float(model[SUCCESS]), model_card(record)
    if read_text(folder / CARD) != expected:
        raise UserError(f"{folder / CARD}: differs from what {PROVENANCE} gives; export the model again")
    attestation.check(folder, record, [*found, PROVENANCE, CARD])
    said = vouched(folder, digest)
    check_sources(model.get("config"), str(folder / PROVENANCE))
    config = validate(Train, model.get("config"), str(folder / PROVENANCE))
    if not trust and config.env.id not in names():
        raise UserError(
            f"{folder}: its {len(found)} files are what was exported, but it plays {config.env.id!r}, which is not "
            "shipped: look at that code, then play it with --trust"
        )
    now, tasks = evaluate(config, folder)[SUCCESS], config.evaluation.tasks
    if not abs(now - then) <= allowed(then, tasks):
        raise UserError(f"{folder}: plays to a success of {now:.4f} on {tasks} tasks, recorded was {then:.4f}")
    same = "as recorded" if now == then else f"recorded {then:.4f}: no more apart than two samples of an equal are"
    return [
        f"{len(found)} files and the card are what was exported",
        f"success {now:.4f} on {tasks} tasks, {same}",
        said,
    ]


def allowed(success: float, tasks: int) -> float:
    """How far a second sample may be off: 4 standard errors of a difference of two proportions, of one task at least.

    Two samples of an equal policy differ by more in about 1 of 16,000 checks.
    """
    return max(4 * sqrt(2 * success * (1 - success) / tasks), 1 / tasks)


def _digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file of the model itself."""
    ours = (PROVENANCE, CARD, attestation.FILE_NAME, manifest.FILE_NAME, manifest.SIGNATURE)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in ours)
    return {path.name: manifest.sha256(path) for path in files}


def _make_room(out: Path) -> None:
    if not out.exists():
        return
    if any(out.iterdir()) and not is_model(out):
        raise UserError(f"{out}: exists and is no exported model; choose another folder with --out")
    shutil.rmtree(out)
