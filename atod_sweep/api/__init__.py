"""atod-sweep from Python: one function per verb of the command line, each doing the whole job.

`run`, `search` and `resume` train, record, report and export the best schedule, and return a `Run`; `load` opens a run
that is there already. The names are also those of the package itself: `import atod_sweep as atod; atod.run(…)`.
"""

from __future__ import annotations

from atod_sweep.api.exports import export_model, export_schedule, pack, publish, verify
from atod_sweep.api.handle import Run, load
from atod_sweep.api.pricing import cost
from atod_sweep.api.verbs import check, compare, report, resume, run, search, sync, train, transfer

__all__ = [
    "Run",
    "check",
    "compare",
    "cost",
    "export_model",
    "export_schedule",
    "load",
    "pack",
    "publish",
    "report",
    "resume",
    "run",
    "search",
    "sync",
    "train",
    "transfer",
    "verify",
]
