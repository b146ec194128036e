"""What all figures share: colours that colour-blind readers can tell apart, panels, and files."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as MatplotlibFigure
from PIL import Image

from atod_sweep.evidence.analysis.results import Levels, Results, label

# Okabe and Ito's palette without its yellow, which is lost on white paper, and without the controls' own colours.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9")
CONTROLS = {"opd": "#CC79A7", "rl": "#4D4D4D", "fixed_mix": "#8C6D31"}
KNOWN = {"linear": 0, "cosine": 1, "exponential": 2, "constant": 3}  # places in the palette, also of atod_linear
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)))
GREY = "#9A9A9A"
WIDTH = 6.4  # inches: text stays readable when a phone shrinks the picture to its width
PANELS = 6  # conditions that have a panel each; of more, one panel shows the mean over them all
LINES = 8  # arms that a line chart can carry; the others become grey
FALLBACK = "'DejaVu Sans', Verdana, sans-serif"
CJK = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Droid Sans Fallback")


class Canvas(MatplotlibFigure):
    """A matplotlib figure that a notebook shows by itself; plain ones need `%matplotlib inline`."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


@dataclass(frozen=True)
class Figure:
    """A finished picture: its files, the words that go with it, and the matplotlib figure itself."""

    name: str
    title: str
    caption: str
    svg: Path
    png: Path
    canvas: Canvas


@dataclass(frozen=True)
class Style:
    """How an arm looks in every figure of a report."""

    color: str
    dash: Any
    shown: bool


def styles(results: Results) -> dict[str, Style]:
    """A style per arm, the same in every figure: controls are dashed, arms beyond `LINES` grey (claimed ones last).

    Colours follow names and not the order of arms, so that an arm has the same one in every report, as far as another
    arm of the study does not have it already.
    """
    claimed = [name for c in results.study.claims for name in (c.hypothesis.arm, c.hypothesis.other)]
    arms = results.arms
    first = dict.fromkeys([results.study.reference, *claimed, *arms])
    shown = [arm for arm in first if arm in arms][:LINES]
    places = _places([arm for arm in shown if arm not in results.study.controls or arm not in CONTROLS])
    looks = {
        arm: Style(PALETTE[i % len(PALETTE)], DASHES[(arm in results.study.controls) + 2 * (i // len(PALETTE))], True)
        for arm, i in places.items()
    }
    looks |= {arm: Style(CONTROLS[arm], DASHES[1], True) for arm in shown if arm not in looks}
    return {arm: looks.get(arm, Style(GREY, "-", False)) for arm in arms}


def _places(arms: list[str]) -> dict[str, int]:
    """A place for every arm, none twice: that of its name, or the next free one; a second round has another dash."""
    found: dict[str, int] = {}
    for arm in sorted(arms, key=lambda name: (name not in KNOWN, name)):
        words = [KNOWN[word] for word in re.split(r"[^a-z]+", arm) if word in KNOWN]
        wanted = words[0] if words else zlib.crc32(arm.encode()) % len(PALETTE)
        rounds = [(wanted + i) % len(PALETTE) + len(PALETTE) * j for j in range(2) for i in range(len(PALETTE))]
        found[arm] = next(place for place in rounds if place not in found.values())
    return found


def short(name: str, most: int = 26) -> str:
    """The name, or its two ends around an ellipsis."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def context() -> Any:
    """The settings of every figure, in force inside; SVG text stays text, which a reader can select and search."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    settings = {
        "font.family": ["DejaVu Sans", *(name for name in CJK if name in known)],
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#555555",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E6E6E6",
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "svg.fonttype": "none",
        "svg.hashsalt": "atod-sweep",
    }
    return matplotlib.rc_context(settings)


def panels(
    titles: list[str], height: float = 2.7, sharex: bool = True, sharey: bool = True
) -> tuple[Canvas, list[Axes]]:
    """One panel per title, two in a row, with shared axes, or some of them."""
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    canvas = Canvas(figsize=(WIDTH, height * rows + 0.6), layout="constrained")
    grid = canvas.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[len(titles) :]:
        spare.set_visible(False)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(short(title, 38))
    return canvas, axes[: len(titles)]


def condition_panels(results: Results, height: float = 2.7) -> tuple[Canvas, list[tuple[Axes, Levels]]]:
    """One panel per condition that is shown, titled by its levels."""
    conditions = shown_conditions(results)
    canvas, axes = panels([label(levels) for levels in conditions], height)
    return canvas, list(zip(axes, conditions, strict=True))


def shown_conditions(results: Results) -> list[Levels]:
    """The conditions that have a panel each; of too many `{}`, at which all of them count together."""
    return results.conditions if len(results.conditions) <= PANELS else [{}]


def together(results: Results) -> str:
    """A sentence on conditions that share one panel; empty where each has its own."""
    return f" All {len(results.conditions)} settings together." if len(results.conditions) > PANELS else ""


def hidden(results: Results) -> str:
    """A sentence on the arms that a line chart shows in grey; empty if there are none."""
    grey = sum(not look.shown for look in styles(results).values())
    return f" {grey} further arms are grey." if grey else ""


def label_axes(axes: list[Axes], x: str, y: str) -> None:
    """Name x under the lowest panel of each column and y on the left ones."""
    columns = min(2, len(axes))
    for i, axis in enumerate(axes):
        if i + columns >= len(axes):
            axis.set_xlabel(x)
            axis.tick_params(labelbottom=True)
        if i % columns == 0:
            axis.set_ylabel(y)


def legend_below(canvas: Canvas, axes: list[Axes]) -> None:
    """One legend under all panels, every entry once."""
    entries = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    if entries:
        longest = max(len(name) for name in entries)
        columns = max(1, min(4, len(entries), int(70 / (longest + 8))))
        canvas.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def save(canvas: Canvas, folder: Path, name: str, title: str, caption: str) -> Figure:
    """Write NAME.svg and NAME.png; the same data give the same bytes."""
    FigureCanvasAgg(canvas)
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    with warnings.catch_warnings():
        # A glyph that no installed font has is a box in the PNG; the SVG leaves the choice of font to the reader.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        canvas.savefig(svg, metadata={"Date": None})
        # Verdana has DejaVu's widths and is there where DejaVu is not.
        svg.write_text(svg.read_text(encoding="utf-8").replace("'DejaVu Sans'", FALLBACK), encoding="utf-8")
        canvas.set_layout_engine("none")  # keeps the layout found for the SVG, which takes longer than drawing
        canvas.savefig(png, dpi=160)
        in_palette(png)
    return Figure(name, title, caption, svg, png, canvas)


def in_palette(png: Path) -> None:
    """Store a picture with the 256 colours that suit it best: a third of the bytes, and nobody sees the difference."""
    with Image.open(png) as picture:
        picture.convert("RGB").quantize(256).save(png, optimize=True)
