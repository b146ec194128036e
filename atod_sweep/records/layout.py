"""What lies where: the name of every file and folder that runs and trainings leave, once.

runs/
  mlflow.db  mlartifacts/  .trash/
  NAME/                     the folder of a run
    ledger.jsonl            what happened (see `ledger`), with ledger.lock while somebody writes it
    study.yaml              or search.yaml: the file that it was started from
    trials/TRIAL/           config.yaml, metrics.jsonl, samples/, student/, and checkpoint/ until it has ended
    report.html  report.md  figures/  tables/  best_schedule.yaml  export/
    optuna.journal          of a search
    ray/                    Ray's own files, while it runs
    tensorboard/  wandb/    of --logger, where these libraries write files

DIR/                        what a study publishes of a run (`atod-sweep pack`)
  ledger.jsonl              without places and names of the machine that it was made on
  study.yaml                or search.yaml
  trials.jsonl.gz           configs, evaluations and thinned training rows of all trials (see `packed`)
  report.md  figures/  tables/  best_schedule.yaml
"""

from __future__ import annotations

from pathlib import Path

# In the folder of a run
LEDGER = "ledger.jsonl"
LOCK = "ledger.lock"
STUDY = "study.yaml"
SEARCH = "search.yaml"
DEFINITIONS = (STUDY, SEARCH)  # a run has one of them
TRIALS = "trials"
BEST_SCHEDULE = "best_schedule.yaml"
REPORT_HTML = "report.html"
REPORT_MD = "report.md"
FIGURES = "figures"
TABLES = "tables"
EXPORT = "export"
OPTUNA = "optuna.journal"
RAY = "ray"
TENSORBOARD = "tensorboard"

# In the folder of a packed run, in the place of its trials
PACKED = "trials.jsonl.gz"

# In the folder of a trial, or of a training on its own
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
STUDENT = "student"
CHECKPOINT = "checkpoint"
SAMPLES = "samples"
FOUND = "found.json"  # what pretrained models, and the device's precision, were at its start

# In the folder of a model that was made here (a cached one has a recipe, adapters of a GGUF model its file)
RECIPE = "recipe.json"
BASE = "base.json"

# Beside the runs
TRASH = ".trash"
MLFLOW = "mlflow.db"
MLFLOW_ARTIFACTS = "mlartifacts"


def trial_folder(run_dir: Path, trial: str) -> Path:
    return run_dir / TRIALS / trial


def definition_file(run_dir: Path) -> Path | None:
    """The study or search file in the folder of a run, if it is there."""
    return next((run_dir / name for name in DEFINITIONS if (run_dir / name).is_file()), None)
