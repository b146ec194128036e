"""What each target can carry, what it refuses, and what an export holds: no target's own code is needed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kind_examples import ADVANTAGES, PENALTIES, SIGNALS

from atod_sweep.errors import UserError
from atod_sweep.export import manifest
from atod_sweep.export.schedule import bundle
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.verify import verify
from atod_sweep.export.targets import parts, registry
from atod_sweep.export.targets.documented import DOCUMENTED

MakeRun = Callable[..., Path]
HYBRID = {"objective": {"kind": "hybrid"}, "steps": 10, "env.horizon": 4}
FULL = {"objective": {"kind": "interpolated", "distill": {"kind": "jsd", "top_k": 8}}, "steps": 10}


def schedule_of(**objective: Any) -> ScheduleFile:
    others = {name: objective.pop(name) for name in ("temperature", "takeover", "depth") if name in objective}
    return ScheduleFile.model_validate(
        {"steps": 10, "horizon": 4, "objective": {"kind": "hybrid", **objective}, **others}
    )


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ({}, ["teacher", "mix", "sampled_reverse_kl", "group_relative"]),
        ({"reward_weight": 0.0}, ["teacher", "sampled_reverse_kl"]),
        ({"distill_weight": 0.0}, ["group_relative"]),
        ({"turns": {"kind": "thresholds"}}, ["teacher", "turns", "mix", "sampled_reverse_kl", "group_relative"]),
        ({"turns": {"kind": "t_dur"}}, ["teacher", "mix", "t_dur", "sampled_reverse_kl", "group_relative"]),
        ({"turns": {"kind": "product"}}, ["teacher", "turns", "mix", "t_dur", "sampled_reverse_kl", "group_relative"]),
        ({"distill_weight": {"kind": "adaptive"}}, ["teacher", "mix", "gap", "sampled_reverse_kl", "group_relative"]),
        (
            {"kind": "interpolated", "distill": {"kind": "reverse_kl", "top_k": 5}, "turns": {"kind": "t_dur"}},
            ["teacher", "mix", "t_dur_full", "reverse_kl", "top_k", "group_relative"],
        ),
        (
            {"kind": "interpolated", "advantage": {"kind": "gae"}, "kl_penalty": {"kind": "k1"}},
            ["teacher", "mix", "forward_kl", "gae_turn", "k1"],
        ),
        (
            {"kl_penalty": {"kind": "k3", "coef": {"kind": "target_kl"}}, "entropy_coef": 0.01},
            ["teacher", "mix", "sampled_reverse_kl", "group_relative", "k3", "target_kl", "entropy"],
        ),
        ({"kind": "interpolated", "distill_weight": 1.0}, ["teacher", "forward_kl"]),
        (
            {"kind": "interpolated", "distill_weight": 1.0, "turns": {"kind": "t_dur"}},
            ["teacher", "t_dur_full", "forward_kl"],
        ),
        (
            {"kind": "interpolated", "distill_weight": 1.0, "turns": {"kind": "uniform", "value": 0.5}},
            ["teacher", "mix", "forward_kl", "group_relative"],
        ),
        (
            {"temperature": {"kind": "linear"}},
            ["teacher", "mix", "sampled_reverse_kl", "group_relative", "temperature"],
        ),
    ],
)
def test_needed_parts(objective: dict[str, Any], expected: list[str]) -> None:
    assert parts.needed(schedule_of(**objective)) == expected


def test_every_target_answers_for_every_part_but_what_nobody_can_know() -> None:
    for target in registry.TARGETS.values():
        assert parts.PARTS.keys() - target.carries.keys() <= {"custom", "relabel", "stand_in"}
        assert target.carries.keys() <= parts.PARTS.keys()
        assert all(carried.note for carried in target.carries.values() if carried.how == "no")


def test_every_part_is_needed_by_some_schedule() -> None:
    """A row of the table that no schedule can ask for would promise something for nothing."""
    schedules = [
        *({"kind": "interpolated", "distill": data, "turns": {"kind": "t_dur"}} for data in SIGNALS),
        *({"kind": "interpolated", "advantage": data} for data in ADVANTAGES),
        *({"kl_penalty": data} for data in PENALTIES if data["kind"] != "k1"),
        {
            "kind": "interpolated",
            "advantage": {"kind": "gae"},
            "kl_penalty": {"kind": "k1", "coef": {"kind": "target_kl"}},
        },
        {"distill_weight": {"kind": "adaptive"}, "turns": {"kind": "product"}, "entropy_coef": 0.1},
        {"temperature": {"kind": "linear"}},
        {"stand_in": {"kind": "shuffled_teacher"}},
        {"takeover": {}, "depth": {"from": "end"}},
    ]
    asked = {part for objective in schedules for part in parts.needed(schedule_of(**objective))}
    assert asked == parts.PARTS.keys()


def test_what_a_target_does_not_list_it_does_not_carry() -> None:
    """Not even with --allow-lossy: nobody has said what would take its place."""
    own = schedule_of(kind="interpolated", distill={"kind": "custom", "path": "own_weights:total_variation"})
    trl = registry.find("trl")
    assert registry.losses(trl, own) == ["a signal of your own: this target does not know it"]
    for allow_lossy in (False, True):
        with pytest.raises(UserError, match="trl does not know 'a signal of your own', which this schedule needs"):
            registry.check(trl, own, allow_lossy)
        assert registry.chosen("all", own, allow_lossy) == ["pytorch"]


@pytest.mark.parametrize(
    ("name", "objective", "lost"),
    [
        ("trl", {}, []),
        (
            "trl",
            {"kl_penalty": {"kind": "k2"}},
            ["KL penalty k2 in the loss, by step: its own k3 in the loss takes its place"],
        ),
        (
            "trl-distillation",
            {"reward_weight": 0.0, "turns": {"kind": "product"}, "temperature": {"kind": "linear"}},
            [],
        ),
        (
            "trl-distillation",
            {},
            [
                "reward and teacher on one token, each with its weight: left out: there is no reward",
                "group-relative advantage: left out: there is no reward",
            ],
        ),
        ("verl", {"kl_penalty": {"kind": "k2"}, "turns": {"kind": "t_dur"}}, []),
        ("areal", {"turns": {"kind": "product"}}, []),
        ("tinker-cookbook", {"entropy_coef": 0.1}, ["entropy bonus: left out"]),
        ("openrlhf", {"distill_weight": 0.0, "kl_penalty": {"kind": "k3"}}, []),
        ("pytorch", {"distill_weight": {"kind": "adaptive"}, "temperature": {"kind": "linear"}}, []),
    ],
)
def test_losses(name: str, objective: dict[str, Any], lost: list[str]) -> None:
    assert registry.losses(registry.find(name), schedule_of(**objective)) == lost


def test_refuses_to_pretend(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"best": (HYBRID, {0: 0.6})})
    with pytest.raises(
        UserError, match=r"openrlhf cannot carry 3 parts of this schedule .*there is no teacher.*--allow-lossy"
    ):
        bundle.write(run, tmp_path / "out", target="openrlhf")
    assert not (tmp_path / "out").exists()
    out = bundle.write(run, tmp_path / "out", target="openrlhf", allow_lossy=True)
    text = (out / "README.openrlhf.md").read_text(encoding="utf-8")
    assert "**Lossy export**: 3 of 4 parts" in text
    assert "| teacher's weight by step | no: left out: there is no teacher |" in text


@pytest.mark.parametrize("name", list(registry.TARGETS))
@pytest.mark.parametrize("overrides", [HYBRID, FULL], ids=["hybrid", "full"])
def test_export_is_complete_and_verifiable(
    make_run: MakeRun, tmp_path: Path, name: str, overrides: dict[str, Any]
) -> None:
    run = make_run({"best": (overrides, {0: 0.6, 1: 0.7})})
    out = bundle.write(run, tmp_path / "out", target=name, allow_lossy=True)
    verify(out)
    target = registry.find(name)
    text = (out / f"README.{name}.md").read_text(encoding="utf-8")
    assert target.package in text
    for path in out.glob("*.py"):
        compile(path.read_text(encoding="utf-8"), path.name, "exec")
    shim = next(path for path in out.glob("scheduled_*.py"))
    shim.write_text(shim.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=shim.name):
        verify(out)


def test_all_targets_in_one_folder(make_run: MakeRun, tmp_path: Path) -> None:
    """Those that carry the schedule are written, the others are named; a later export leaves nothing of an earlier."""
    run = make_run({"best": (HYBRID, {0: 0.6})})
    out = bundle.write(run, tmp_path / "out", target="all", allow_lossy=True)
    verify(out)
    assert {path.name for path in out.glob("README.*.md")} == {f"README.{name}.md" for name in registry.TARGETS}
    assert "openrlhf         README.openrlhf.md: 3 of 4 parts not carried" in bundle.lines(out)
    out = bundle.write(run, tmp_path / "out", target="all")
    verify(out)
    assert not list(out.glob("*openrlhf*"))
    assert not list(out.glob("*trl*distillation*"))
    assert [line.split()[0] for line in bundle.lines(out)] == ["bundle", "sha256", *registry.TARGETS]
    assert "openrlhf         not written (--allow-lossy): 3 of 4 parts not carried" in bundle.lines(out)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "| trl | everything carried | `README.trl.md` |" in text
    assert "| openrlhf | **3 of 4 parts not carried** | not written (`--allow-lossy`) |" in text
    assert "| teacher's weight by step | yes | yes | yes | yes | no | yes | yes |" in text
    assert "### slime" in (out / "MAPPINGS.md").read_text(encoding="utf-8")
    bundle.write(run, tmp_path / "out")
    assert len(list(out.iterdir())) == 8
    assert bundle.lines(out) == [f"bundle           {out}", f"sha256           {manifest.digest_of(out)}"]


def test_the_parts_of_all_do_not_clash(make_run: MakeRun, tmp_path: Path) -> None:
    """A file that two targets write is the same for both, so that one folder serves all."""
    schedule = schedule_of(distill_weight={"kind": "cosine"}, kl_penalty={"kind": "k3"})
    record: dict[str, Any] = {"rollout": {"tasks": 8, "group_size": 8}}
    found: dict[str, str] = {}
    for target in registry.TARGETS.values():
        for name, text in target.files(schedule, record).items():
            assert found.setdefault(name, text) == text


def test_exports_are_small_and_hold_no_local_paths(make_run: MakeRun, tmp_path: Path) -> None:
    """400 steps of 8 turns for every target: what a repository can hold."""
    data = str(tmp_path / "private" / "catalogue.json")
    overrides = {"objective": {"kind": "hybrid"}, "env.kwargs": {"data": data}}
    run = make_run({"best": (overrides, {0: 0.6})})
    out = bundle.write(run, tmp_path / "out", target="all", allow_lossy=True)
    assert sum(path.stat().st_size for path in out.iterdir()) < 500_000
    for path in out.iterdir():
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "/home/me" not in text, path.name  # where the study's models lay
    assert '"data": "catalogue.json"' in (out / "provenance.json").read_text(encoding="utf-8")


def test_open_loop_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(
        {"best": ({**HYBRID, "objective": {"kind": "hybrid", "distill_weight": {"kind": "adaptive"}}}, {0: 0.6})},
        record=lambda seed, step: {"weight/distill": 1.0 - step / 10},
    )
    out = bundle.write(run, tmp_path / "out", target="verl")
    text = (out / "README.verl.md").read_text(encoding="utf-8")
    assert "| teacher's weight that follows the measured gap | table: replayed open loop |" in text
    assert "Parts marked `table` replay what the run recorded" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tlr", "unknown target 'tlr'; did you mean 'trl'"),
        ("zzz", "known: bundle, all, pytorch"),
        ("slime", "documented mapping"),
    ],
)
def test_unknown_target(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.find(name)


def test_tables_for_documents() -> None:
    table = registry.capability_table().splitlines()
    assert table[0] == "| part | pytorch | trl | trl-distillation | verl | openrlhf | areal | tinker-cookbook |"
    assert len(table) == 2 + len(parts.PARTS)
    assert "| teacher's weight by turn | yes | yes | yes | yes | no | yes | yes |" in table
    text = registry.documented_mappings()
    assert all(f"### {mapping.name}" in text and mapping.revision in text for mapping in DOCUMENTED)
