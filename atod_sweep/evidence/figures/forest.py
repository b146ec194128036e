"""Every arm's difference to the reference arm, or its result, with its interval."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from atod_sweep.evidence.analysis.comparisons import ArmSummary, Comparison, compare, summaries
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.text import between
from atod_sweep.evidence.figures import reach
from atod_sweep.evidence.figures.style import Figure, condition_panels, save, short, styles

MOST = 20  # arms in the opening picture


def differences(results: Results, comparisons: list[Comparison], folder: Path) -> Figure | None:
    """Arm minus reference: the mean with its 95 % interval, and every seed as a dot."""
    found = [c for c in comparisons if c.values]
    if not found:
        return None
    arms = _worth_showing(results, found)
    canvas, axes = condition_panels(results, height=0.5 + 0.32 * len(arms))
    looks = styles(results)
    drawn = [c for c in found if c.arm in arms]
    where = reach.span([(c.interval, c.values) for c in drawn])
    has_teacher = False
    for axis, levels in axes:
        axis.set_xlim(where.low, where.high)
        axis.axvline(0, color="black", lw=1)
        teacher = compare(results, "teacher", results.study.reference, levels, results.study.metric)
        if teacher.values and where.holds(teacher.interval.estimate):
            axis.axvline(teacher.interval.estimate, color="black", lw=1.4, ls=":")
            at = (teacher.interval.estimate, 1)
            axis.annotate(
                "teacher", at, (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8
            )
            has_teacher = True
        for c in (c for c in drawn if c.levels == levels):
            row, color = arms.index(c.arm), looks[c.arm].color
            reach.bar(axis, where, c.interval, row, color, "D" if c.missing else "o")
            reach.dots(axis, where, c.values, row + 0.26, color)
        _names(axis, arms)
    better = "right" if results.study.sign > 0 else "left"
    what = f"difference in {results.study.measure} to {short(results.study.reference)}"
    canvas.supxlabel(f"{what} ({better} is better)", fontsize=10)
    caption = (
        f"Each arm against {results.study.reference} on the same seeds. Small dots: single seeds; {_bars(results)}. A "
        "bar that crosses the line at 0 leaves open which one is better."
    )
    if has_teacher:
        caption += " The dotted line is the teacher itself."
    if not all(where.holds(x) for c in drawn for x in (*c.values, c.interval.estimate)):
        caption += " An arrow tells a value beyond the axis."
    left_out = len({c.arm for c in found}) - len(arms)
    if left_out:
        caption += f" The {len(arms)} arms with the best means; {left_out} more are in the table."
    if any(c.missing for c in found):
        caption += " Diamonds mark arms with missing seeds."
    return save(canvas, folder, "differences", f"Difference to {short(results.study.reference, 40)}", caption)


def _worth_showing(results: Results, found: list[Comparison]) -> list[str]:
    """All arms in the study's order, or the best of too many, the best first."""
    arms = [arm for arm in results.arms if any(c.arm == arm for c in found)]
    if len(arms) <= MOST:
        return arms
    means = {arm: [c.interval.estimate for c in found if c.arm == arm] for arm in arms}
    return sorted(arms, key=lambda arm: -results.study.sign * sum(means[arm]) / len(means[arm]))[:MOST]


def _bars(results: Results) -> str:
    seeds = between((len(s.scores) for s in summaries(results)), "seed")
    return "large dot: mean" if seeds == "1 seed" else f"large dot and bar: mean and its 95 % interval ({seeds})"


def scores(results: Results, arms: list[ArmSummary], folder: Path) -> Figure | None:
    """Every arm's result with its interval: the opening picture where there is nothing to compare with."""
    found = [s for s in arms if s.scores]
    if not found:
        return None
    names = [arm for arm in results.arms if any(s.arm == arm for s in found)]
    canvas, axes = condition_panels(results, height=0.5 + 0.32 * len(names))
    looks = styles(results)
    for axis, levels in axes:
        _scores(axis, [s for s in found if s.levels == levels], names, {n: looks[n].color for n in names})
    canvas.supxlabel(results.study.measure, fontsize=10)
    caption = f"Every arm. Small dots: single seeds; {_bars(results)}."
    return save(canvas, folder, "scores", "Results", caption)


def _scores(axis: Axes, found: list[ArmSummary], names: list[str], colors: dict[str, str]) -> None:
    for s in found:
        row = names.index(s.arm)
        axis.scatter(list(s.scores.values()), [row + 0.24] * len(s.scores), s=12, color=colors[s.arm], alpha=0.6, lw=0)
        axis.plot([s.interval.low, s.interval.high], [row, row], color=colors[s.arm], lw=2.2)
        axis.scatter([s.interval.estimate], [row], s=40, color=colors[s.arm], zorder=3)
    _names(axis, names)


def _names(axis: Axes, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), [short(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
