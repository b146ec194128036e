"""A study of many conditions: one panel for all of them, so that a picture of it can be read, and packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atod_sweep.evidence.analysis.curves import complete, seed_curves, stacked
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.figures import style
from atod_sweep.evidence.report.packing import pack
from atod_sweep.evidence.report.write import write

MakeRun = Callable[..., Path]
ARMS, CONTROLS = {"atod_linear": 0.6, "atod_cosine": 0.62, "constant": 0.58}, {"opd": 0.5, "fixed_mix": 0.55}
CLAIMS = [{"arm": "atod_linear", "other": other} for other in ("teacher", "opd", "fixed_mix", "constant")]


def of_levels(levels: int) -> dict[str, dict[str, float]]:
    """Two factors, the first of so many levels, the second of three."""
    return {
        "teacher": {f"t{i}": 0.02 * i for i in range(levels)},
        "student": {f"s{i}": 0.01 * i for i in range(3)},
    }


@pytest.mark.slow
def test_a_study_of_45_cells_fits_into_a_pack(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("many", ARMS, controls=CONTROLS, factors=of_levels(3), hypotheses=CLAIMS, seeds=3, steps=80)
    packed = pack(run, tmp_path / "packed")
    pictures = list((packed.folder / "figures").glob("*.png"))
    assert sum(path.stat().st_size for path in pictures) <= 700_000
    assert packed.size <= 2_000_000


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize(("levels", "panels"), [(2, 6), (3, 1)])
def test_conditions_have_a_panel_each_while_they_are_few(make_run: MakeRun, levels: int, panels: int) -> None:
    run = make_run("some", {"a": 0.6, "b": 0.5}, factors=of_levels(levels), seeds=2, steps=20)
    assert len(style.shown_conditions(load(run))) == panels
    text = write(run, formats=["md"]).markdown.read_text(encoding="utf-8")
    told = [line for line in text.splitlines() if "All 9 settings together." in line]
    firsts = [line.split()[0] for line in told]
    assert firsts == ([] if panels > 1 else ["Each", "How", "Weight", "What", "log", "Norm", "Norm", "Last"])


def test_a_seeds_curve_over_all_conditions_is_the_mean_of_those_at_each(make_run: MakeRun) -> None:
    factors = {"horizon": {"short": 0.0, "long": -0.1}}
    results = load(make_run("two", {"a": 0.6}, factors=factors, seeds=3, steps=20, failed=[("a", 1)]))
    of = {
        name: stacked(complete(results, "a", {"horizon": name}), "eval/success", "eval") for name in ("short", "long")
    }
    step_E, y_SE = seed_curves(results, "a", {}, "eval/success", "eval")
    assert step_E.tolist() == [0, 10, 20]
    np.testing.assert_allclose(y_SE, (of["short"][1] + of["long"][1]) / 2)
    assert len(y_SE) == 2  # the seed that failed is not in it
    _, one_SE = seed_curves(results, "a", {"horizon": "long"}, "eval/success", "eval")
    np.testing.assert_array_equal(one_SE, of["long"][1])
    assert seed_curves(results, "a", {}, "no/such", "eval")[0].size == 0


def test_pictures_are_stored_in_a_palette_without_a_visible_change(make_run: MakeRun, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    canvas, (axis,) = style.panels(["a"])
    for i, color in enumerate(style.PALETTE):
        axis.fill_between([0, 1], [i, i], [i + 1, i + 1], color=color, alpha=0.15)
        axis.plot([0, 1], [i, i + 1], color=color)
    canvas.savefig(path, dpi=160)
    before, size = np.asarray(Image.open(path).convert("RGB"), dtype=int), path.stat().st_size
    style.in_palette(path)
    assert path.stat().st_size < 0.6 * size
    away = np.abs(np.asarray(Image.open(path).convert("RGB"), dtype=int) - before)  # of 255
    assert away.mean() < 0.1
    assert away.max() < 48  # at the edge of a letter
