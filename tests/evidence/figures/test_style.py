"""Colours follow arms, not their order, from report to report."""

from collections.abc import Callable
from pathlib import Path

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.figures.style import CONTROLS, PALETTE, styles

MakeRun = Callable[..., Path]


def colours(run: Path) -> dict[str, str]:
    return {arm: look.color for arm, look in styles(load(run)).items()}


def test_an_arm_has_its_colour_in_every_report(make_run: MakeRun) -> None:
    first = colours(make_run("a", {"linear": 0.5, "cosine": 0.6}, controls={"opd": 0.4, "rl": 0.3}, seeds=1, steps=10))
    second = colours(
        make_run("b", {"exponential": 0.5, "cosine": 0.6, "linear": 0.5}, controls={"rl": 0.3}, seeds=1, steps=10)
    )
    third = colours(make_run("c", {"atod_cosine": 0.5, "warm_start": 0.6}, seeds=1, steps=10))
    assert first["cosine"] == second["cosine"] == third["atod_cosine"] == PALETTE[1]
    assert first["linear"] == second["linear"] == PALETTE[0]
    assert first["rl"] == second["rl"] == CONTROLS["rl"]
    assert first["opd"] == CONTROLS["opd"]
    again = colours(make_run("d", {"warm_start": 0.6, "cosine": 0.5}, seeds=1, steps=10))
    assert again["warm_start"] == third["warm_start"]


def test_no_two_arms_look_the_same(make_run: MakeRun) -> None:
    arms = dict.fromkeys(("linear", "atod_linear", "x", "y", "z", "w", "v"), 0.5)
    looks = styles(load(make_run("many", arms, controls={"opd": 0.4}, seeds=1, steps=10)))
    shown = [(look.color, look.dash) for look in looks.values() if look.shown]
    assert len(shown) == len(set(map(str, shown))) == 8


def test_controls_and_arms_never_share_a_colour() -> None:
    assert not set(CONTROLS.values()) & set(PALETTE)
