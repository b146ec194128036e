"""The first lines of a run: what it is, what its trials need of this machine, and how long it will take."""

from __future__ import annotations

from atod_sweep.config.base import content_hash
from atod_sweep.config.shipped import time_of
from atod_sweep.cores import cpu_cores
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep import preflight
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.took import Pace, in_words
from atod_sweep.sweep.work import Site, Work


def announce(show: Progress, work: Work, site: Site, at_a_time: int, workers: int) -> None:
    """Its name, size and place. `workers`: processes of the local backend; 0: this one."""
    where = f"{at_a_time} at a time on {cpu_cores()} CPUs"
    if site.backend == "local" and at_a_time == 1:
        where = "one at a time in a worker process" if workers else "in this process"
    elif site.address:
        where = f"on the Ray cluster at {redacted(site.address)}"
    envs = sorted({config["env"]["id"] for config in work.configs})
    horizons = sorted({config["env"]["horizon"] for config in work.configs})
    show.note(
        f"{work.document.name} · {work.document.title} · {', '.join(envs)}, horizon {', '.join(map(str, horizons))} · "
        f"{work.total} trials, {where}",
        event="begin",
        name=work.document.name,
        trials=work.total,
        definition_hash=content_hash(work.definition),
    )
    if site.address is None:
        for line in preflight.of_compact(work.configs, work.resources, at_a_time):
            show.note(line, event="memory", said=line)


def tell_time(show: Progress, pace: Pace, ahead: int, at_a_time: int, work: Work | None = None) -> None:
    """How long the trials that are ahead will take; with `work`, also where that is to be learned."""
    mean, text = pace.mean, ""
    if mean is not None:
        text = in_words(ahead, mean, at_a_time)
    elif work is not None:
        said = time_of(work.document.text)
        text = f"its file says: {said}" if said else "told after the first steps; --dry-run times some before"
    if text and ahead:
        show.note(f"time: {text}", event="time", said=text, seconds=mean)
