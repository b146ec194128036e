"""Options that several verbs take, each with its name and help once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Dotted overrides of the base config, for example runtime.device=cuda.")
]
RunDir = Annotated[Path, typer.Argument(help="Folder of a run, for example runs/quickstart.")]
Out = Annotated[
    Path, typer.Option("--out", help="Folder to write into: beside other runs, this one gets a folder of its name.")
]
TrackingUri = Annotated[str | None, typer.Option(help="Of MLflow; default: MLFLOW_TRACKING_URI, else runs/mlflow.db.")]
Experiment = Annotated[str | None, typer.Option(help="Of MLflow; default: MLFLOW_EXPERIMENT_NAME, else atod-sweep.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print trials, time and cost from a few timed steps; run nothing.")
]


def _json(asked: bool) -> bool:
    if asked:
        from atod_sweep.sweep.record.progress import reserve_stdout

        reserve_stdout()
    return asked


JsonEvents = Annotated[
    bool, typer.Option("--json", callback=_json, help="One JSON object per event on stdout, instead of text.")
]


@dataclass(frozen=True)
class RunOptions:
    """Where and how far trials run, for all verbs that run some: fields of `sweep.work.Options`."""

    backend: Annotated[
        str | None,
        typer.Option(
            metavar="[ray|local]",
            help="ray, or local: the same trials without Ray; default: ray, or what the run used.",
        ),
    ] = None
    concurrency: Annotated[
        int | None, typer.Option(help="Trials at a time; default: what the resources hold, one if local.")
    ] = None
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to use, for example auto; default: this machine.")
    ] = None
    storage: Annotated[
        str | None,
        typer.Option(
            help="Folder or URI (s3://, gs://) through which nodes that do not see --out give back their files."
        ),
    ] = None
    tracking_uri: TrackingUri = None
    experiment: Experiment = None
    loggers: Annotated[
        list[str] | None,
        typer.Option("--logger", metavar="[wandb|tensorboard]", help="Write to it beside MLflow; may be repeated."),
    ] = None
    max_retries: Annotated[int, typer.Option(min=0, help="Further attempts at a trial whose failure may pass.")] = 1
    time_budget: Annotated[
        float | None,
        typer.Option(help="Seconds after which no trial starts, but those that confirm what a search found."),
    ] = None
    max_trials: Annotated[int | None, typer.Option(min=1, help="Start at most this many trials.")] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print remarks and failed trials only.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every trial and evaluation.")] = False

    def keywords(self) -> dict[str, Any]:
        """As keywords of `api.run`, `api.search` and `api.resume`."""
        return {name: value for name, value in asdict(self).items() if name not in ("quiet", "verbose")}

    def display(self, json_output: bool) -> Any:
        """What shows the run: made before anything heavy is imported, so that the first line comes at once."""
        from atod_sweep.sweep.record.progress import choose

        show = choose(json_output, verbosity=self.verbose - self.quiet)
        show.doing("reading")
        return show

    def place(self) -> dict[str, Any]:
        """What an estimate needs to know of them."""
        return {"backend": self.backend or "ray", "concurrency": self.concurrency}


@dataclass(frozen=True)
class StartOptions(RunOptions):
    """… and into which folder, for the verbs that start a run from a file: keywords of `run_study` and `run_search`."""

    out: Out = Path("runs")
    name: Annotated[str | None, typer.Option(help="Name of the run's folder; default: the name in the file.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False
    extend: Annotated[bool, typer.Option("--extend", help="Add arms, seeds or configurations to a finished run.")] = (
        False
    )
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Move an existing run to .trash and start over.")] = (
        False
    )


def with_run_options(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb` as Typer shall see it: in the place of its parameter `options`, one option for every field."""
    given = inspect.signature(verb, eval_str=True)
    record = given.parameters["options"].annotation
    fields = inspect.signature(record, eval_str=True).parameters
    parameters: list[inspect.Parameter] = []
    for name, parameter in given.parameters.items():
        parameters += fields.values() if name == "options" else [parameter]

    @functools.wraps(verb)
    def called(**values: Any) -> None:
        options = record(**{name: values.pop(name) for name in fields})
        verb(**values, options=options)

    called.__signature__ = given.replace(  # type: ignore[attr-defined]
        parameters=[one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    )
    return called
