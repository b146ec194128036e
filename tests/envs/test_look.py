"""The first look: what is wrong is known before anything is built, and what hangs or dies does so elsewhere."""

from __future__ import annotations

import pytest
from odd_env import BROKEN

from atod_sweep.config.train import Env
from atod_sweep.envs import look as looking
from atod_sweep.envs import registry
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.envs.look import look
from atod_sweep.errors import UserError


def odd(name: str = "Base", **kwargs: str) -> Env:
    return Env(id=f"odd_env:{name}", horizon=3, kwargs=kwargs)


SILENT = "'odd_env:Base' reports no success: an episode counts as solved if its last reward is positive"


def test_what_is_to_be_known_at_the_start() -> None:
    notes = look([odd(), odd(case="half solved"), odd("Helpful"), odd(), Env(id="planner")]).notes
    assert len(notes) == 3
    assert SILENT in notes[0]
    assert notes[1] == "env.id: 'odd_env:Helpful': 3 of 10 doors are painted on"
    assert "'odd_env:Helpful' reports no success" in notes[2]


def test_a_seed_that_is_no_task_is_told() -> None:
    notes = look([odd("Drawn")]).notes
    assert notes[0].startswith("env.id: 'odd_env:Drawn': reset(seed=0) gave 'door 1' and then 'door 2'; seeds compare")
    assert not any("reset(seed" in note for note in look([odd()]).notes)


def test_the_first_that_breaks_the_contract_is_named() -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        look([odd(), odd(case="metric word"), odd(case="old step")])
    assert str(caught.value) == f"env.id: 'odd_env:Base', task seed 0, turn 3: {BROKEN['metric word'][1]}"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("leaves", r"^env.id: 'odd_env:Base': step\('look'\) ended its process \(exit code 7\) so long$"),
        (
            "leaves at reset",
            r"^env.id: 'odd_env:Base': reset\(\) of a train task ended its process \(exit code 0\) so ",
        ),
    ],
)
def test_one_that_ends_its_process_ends_none_of_ours(case: str, message: str) -> None:
    with pytest.raises(EnvironmentFailed, match=message):
        look([odd(), odd(case=case)])


def test_those_that_hang_are_left_alone() -> None:
    notes = look([odd(case="hangs"), odd("AnyWords", case="hangs")], seconds=1.0).notes
    assert notes == [
        f"env.id: 'odd_env:{name}': no two episodes in 1 s; if a step hangs, rollout.step_timeout ends it"
        for name in ("Base", "AnyWords")
    ]


@pytest.mark.parametrize("env_id", ["support_desk", "__main__:Env", "CartPole-v1"])
def test_some_need_or_can_have_no_look(env_id: str, monkeypatch) -> None:
    monkeypatch.setattr(looking, "_in_a_process", None)
    assert look([Env(id=env_id)]) == looking.Seen([], {})


def test_what_it_reports_beside_success_is_seen() -> None:
    silent, measuring = odd(), odd(case="metrics of all sorts")
    seen = look([silent, measuring, odd("AnyWords", case="hangs")], seconds=2.0).metrics
    assert seen == {silent.model_dump_json(): frozenset(), measuring.model_dump_json(): {"n", "ok", "x"}}


def test_it_may_name_what_only_some_episodes_report() -> None:
    named = odd("Naming")
    assert look([named]).metrics[named.model_dump_json()] == {"tidy", "swift"}


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        *((env_id, {}) for env_id in ("code_debug", "planner", "support_desk", "tool_use", "alfworld", "webshop")),
        ("support_desk", {"guarded": True}),
        ("support_desk", {"courtesies": True}),
    ],
)
@pytest.mark.parametrize("solved", [True, False])
def test_shipped_ones_report_what_they_say(env_id: str, kwargs: dict, solved: bool) -> None:
    try:
        game = Checked(Env(id=env_id, horizon=6, kwargs=kwargs))
        game.reset(0, "train")
    except UserError as absent:
        pytest.skip(str(absent))
    while True:
        step = game.step(game.demonstrator_action() if solved else "x")
        if step.terminated or step.truncated:
            break
    assert set(step.info["metrics"]) == set(registry.metric_names(env_id, kwargs))
