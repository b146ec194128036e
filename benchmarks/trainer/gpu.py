"""Students of three magnitudes on a GPU: updates under bf16 autocast, the teacher in bf16 and four times as large."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.trainer import contenders as c
from benchmarks.trainer.compare import Measured, Say, measure, participants
from benchmarks.trainer.contenders import Job
from benchmarks.trainer.table import COST_HEAD, cost, markdown, ratio
from benchmarks.trainer.workload import Shape, Workload

SIZES = {
    "0.1 M": Workload(Shape(64, 2), Shape(128, 2)),
    "10 M": Workload(Shape(320, 8, heads=5), Shape(640, 8, heads=10)),
    "100 M": Workload(Shape(768, 13, heads=12), Shape(1536, 13, heads=24)),
}
ALL = (c.OURS, c.OURS_BF16, c.OURS_WITHOUT_GRAPHS, c.TRL_ENVIRONMENT, c.TRL_TEACHER_BF16)
RATIOS = (
    (c.TRL_ENVIRONMENT, c.OURS),
    (c.TRL_TEACHER_BF16, c.OURS_BF16),
    (c.OURS_WITHOUT_GRAPHS, c.OURS_BF16),
)


def report(size: str, measured: Measured) -> str:
    """Markdown: costs, shares of the step, ratios to TRL."""
    work, rows = measured.job.work, measured.rows
    body = []
    for contender, found in rows.items():
        whole = sum(row.total.wall for row in found)
        shares = [sum(getattr(row, phase).wall for row in found) / whole for phase in ("rollout", "score", "update")]
        body.append([*cost(contender.name, found, "cuda"), " / ".join(f"{share:.0%}" for share in shares)])
    ratios = [f"{a.name} / {b.name}: {ratio(rows[a], rows[b], 'cuda')}" for a, b in RATIOS if a in rows and b in rows]
    title = f"### {size}: student {work.student.parameters / 1e6:.2f} M, teacher {work.teacher.parameters / 1e6:.2f} M"
    table = markdown((*COST_HEAD, "rollout / score / update"), body)
    return "\n\n".join([title, table, *ratios]) + "\n"


def run(steps: int, say: Say) -> Iterator[tuple[str, Measured]]:
    """Measure every size and say its table; a contender that fails is named, and the others go on."""
    who = participants(ALL, say)
    for size, work in SIZES.items():
        measured = measure(Job(work, "cuda", autocast=True), who, steps, say)
        say(report(size, measured))
        yield size, measured
