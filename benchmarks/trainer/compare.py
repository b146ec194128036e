"""Everybody on the same workload, step by step in turns, beside the time that the arithmetic alone would take."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.trainer import contenders as c
from benchmarks.trainer.clock import Gemm, Row
from benchmarks.trainer.contenders import Contender, Job
from benchmarks.trainer.table import COST_HEAD, cost, markdown, quartiles, ratio
from benchmarks.trainer.worker import ContenderFailed, Worker
from benchmarks.trainer.workload import SIZES, Workload, step_flops

WARM_UP = 3
ALL = (
    c.OURS,
    c.PLAIN,
    c.TRL_ENVIRONMENT,
    c.TRL_CACHED,
    c.OURS_FP32,
    c.OURS_BF16,
    c.PLAIN_TEACHER,
    c.TRL_TEACHER,
)
RATIOS = (
    (c.TRL_ENVIRONMENT, c.OURS),
    (c.TRL_CACHED, c.OURS),
    (c.PLAIN, c.OURS),
    (c.TRL_TEACHER, c.OURS_FP32),
    (c.TRL_TEACHER, c.OURS_BF16),
    (c.PLAIN_TEACHER, c.OURS_FP32),
    (c.PLAIN_TEACHER, c.OURS_BF16),
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """Paired rows by contender, and the GEMM speed (FLOP/s) after every round of steps."""

    job: Job
    rows: dict[Contender, list[Row]]
    gemm: list[float]

    def floor(self, teacher: bool) -> list[float]:
        """Seconds that the step's matrix products take at the speed of one big one, round by round."""
        return [step_flops(self.job.work, teacher) / speed for speed in self.gemm]


def measure(job: Job, who: Sequence[Contender], steps: int, say: Say, warm_up: int = WARM_UP) -> Measured:
    """`steps` rounds in which every contender takes one step; one that fails is named and left out."""
    gemm = Gemm(job.device)
    workers = {contender: Worker(contender, job) for contender in who}
    rows: dict[Contender, list[Row]] = {contender: [] for contender in who}
    speeds = []
    try:
        for _ in range(warm_up + steps):
            for contender in list(rows):
                try:
                    rows[contender].append(workers[contender].step())
                except ContenderFailed as failure:
                    say(f"{contender.name}: left out, {failure}")
                    del rows[contender]
            speeds.append(gemm.flops_per_second())
    finally:
        for worker in workers.values():
            worker.close()
    return Measured(job, {contender: found[warm_up:] for contender, found in rows.items()}, speeds[warm_up:])


def participants(who: Sequence[Contender], say: Say) -> list[Contender]:
    """Those who can take part here."""
    if c.has_trl():
        return list(who)
    say(c.TRL_MISSING)
    return [contender for contender in who if contender.trainer != "trl"]


def report(size: str, measured: Measured) -> str:
    """Markdown: costs, and ratios over paired steps."""
    work, device, rows = measured.job.work, measured.job.device, measured.rows
    floors = [
        [f"floor: {name}", "", "", "", quartiles(measured.floor(teacher), 3), "", ""]
        for name, teacher in (("reward", False), ("reward + teacher", True))
    ]
    costs = [cost(contender.name, found, device) for contender, found in rows.items()]
    ratios = [[f"{a.name} / {b.name}", ratio(rows[a], rows[b], device)] for a, b in RATIOS if a in rows and b in rows]
    for contender, found in rows.items():
        if contender.trainer == "ours":
            floor = measured.floor(contender.teacher is not None)
            times = [row.total.on(device) / least for row, least in zip(found, floor, strict=True)]
            ratios.append([f"{contender.name} / floor", quartiles(times)])
    speed = statistics.median(measured.gemm) / 1e9
    return (
        f"### {size}: {_models(work)}, GEMM {speed:,.0f} GFLOP/s\n\n{markdown(COST_HEAD, costs + floors)}\n\n"
        f"{markdown(('ratio over paired steps', 'median [quartiles]'), ratios)}\n"
    )


def _models(work: Workload) -> str:
    return " and ".join(
        f"{role} {shape.hidden} x {shape.layers} ({shape.parameters / 1e6:.2f} M)"
        for role, shape in (("student", work.student), ("teacher", work.teacher))
    )


def run(
    sizes: Sequence[str], device: str, steps: int, say: Say, only: Sequence[str] = ()
) -> Iterator[tuple[str, Measured]]:
    """Measure every size, with all contenders or `only` those of these names, and say its tables."""
    who = participants([contender for contender in ALL if not only or contender.name in only], say)
    for size in sizes:
        measured = measure(Job(SIZES[size], device), who, steps, say)
        say(report(size, measured))
        yield size, measured
