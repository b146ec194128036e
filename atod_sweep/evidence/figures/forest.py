"""Every arm's difference to the reference arm, or its result, with its interval."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

from atod_sweep.evidence.analysis.comparisons import Comparison, compare, level_interval, summaries
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.scores import known_scores
from atod_sweep.evidence.analysis.text import between
from atod_sweep.evidence.figures import reach
from atod_sweep.evidence.figures.style import Figure, condition_panels, save, short, shown_conditions, styles, together
from atod_sweep.evidence.stats.intervals import Interval

MOST = 20  # arms in the opening picture


def differences(results: Results, folder: Path) -> Figure | None:
    """Arm minus reference: the mean with its 95 % interval, and every seed as a dot."""
    reference, metric = results.study.reference, results.study.metric
    cells = [(arm, at) for at in shown_conditions(results) for arm in results.arms if arm != reference]
    found = [c for arm, at in cells if (c := compare(results, arm, reference, at, metric)).values]
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
    title = f"Difference to {short(results.study.reference, 40)}"
    return save(canvas, folder, "differences", title, caption + together(results))


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


def scores(results: Results, folder: Path) -> Figure | None:
    """Every arm's result with its interval: the opening picture where there is nothing to compare with."""
    names = [s.arm for s in summaries(results) if s.scores]
    names = [arm for arm in results.arms if arm in names]
    if not names:
        return None
    canvas, axes = condition_panels(results, height=0.5 + 0.32 * len(names))
    looks = styles(results)
    for axis, at in axes:
        for row, arm in enumerate(names):
            by_seed = known_scores(results, arm, at, results.seeds, results.study.metric)
            _score(axis, row, list(by_seed.values()), level_interval(results, arm, at, by_seed), looks[arm].color)
        _names(axis, names)
    canvas.supxlabel(results.study.measure, fontsize=10)
    caption = f"Every arm. Small dots: single seeds; {_bars(results)}."
    return save(canvas, folder, "scores", "Results", caption + together(results))


def _score(axis: Axes, row: int, values: list[float], interval: Interval, color: str) -> None:
    axis.scatter(values, [row + 0.24] * len(values), s=12, color=color, alpha=0.6, lw=0)
    axis.plot([interval.low, interval.high], [row, row], color=color, lw=2.2)
    axis.scatter([interval.estimate], [row], s=40, color=color, zorder=3)


def _names(axis: Axes, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), [short(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
