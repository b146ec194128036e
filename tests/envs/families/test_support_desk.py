"""support_desk: rules, flaw, length, wording."""

import random

import pytest

from atod_sweep.envs.families.support_desk import CUES, DECISIONS, INTENTS, SupportDesk, Task, rules
from atod_sweep.errors import UserError


def demonstrate(env: SupportDesk, seed: int) -> float:
    env.reset(seed=seed)
    while True:
        _, reward, terminated, truncated, _ = env.step(env.demonstrator_action())
        if terminated or truncated:
            return reward


def one_call() -> tuple[SupportDesk, list[str]]:
    """A desk at horizon 8 and the right actions of its call."""
    env = SupportDesk(8)
    _, info = env.reset(seed=5)
    task = info["task"]
    right = [env.rules.right[task.intent, cue] for cue in task.cues]
    return env, ["greet", "identify", "verify", *right]


@pytest.mark.parametrize(
    ("horizon", "n_protocol", "n_decisions"),
    [(4, 2, 1), (5, 2, 1), (6, 2, 2), (8, 3, 3), (11, 4, 4), (14, 5, 5), (16, 6, 6)],
)
def test_steps_by_horizon(horizon: int, n_protocol: int, n_decisions: int) -> None:
    env = SupportDesk(horizon)
    assert (env.n_protocol, env.n_decisions) == (n_protocol, n_decisions)


@pytest.mark.parametrize("horizon", [-1, 0, 3, 17])
def test_other_horizons_are_refused(horizon: int) -> None:
    with pytest.raises(UserError, match=rf"4 to 16 turns, got {horizon}$"):
        SupportDesk(horizon)


@pytest.mark.parametrize(("kwargs", "quoted"), [({"outdated": 1.5}, "1.5"), ({"style": "terse"}, "'terse'")])
def test_bad_arguments_are_quoted(kwargs: dict, quoted: str) -> None:
    with pytest.raises(UserError, match=quoted):
        SupportDesk(8, **kwargs)


def test_rule_table_has_three_exceptions_a_cue_and_a_manual_wrong_in_18_pairs() -> None:
    right, manual = rules(0, 0.15)
    assert set(right) == {(intent, cue) for intent in INTENTS for cue in CUES}
    assert set(right.values()) <= set(DECISIONS)
    for cue, (_, usual) in CUES.items():
        assert sum(right[intent, cue] != usual for intent in INTENTS) == 3
    wrong = {pair for pair in right if right[pair] != manual[pair]}
    assert len(wrong) == 18
    by_intent = [sum(intent == i for i, _ in wrong) for intent in INTENTS]
    assert min(by_intent) >= 1  # spread evenly: the flaw is nobody's in particular
    assert max(by_intent) <= 2


def test_a_more_outdated_manual_keeps_the_older_errors_and_rules_stay() -> None:
    some, more = rules(0, 0.15), rules(0, 0.4)
    assert some.right == more.right
    wrong = [{pair for pair in p.right if p.right[pair] != p.manual[pair]} for p in (some, more)]
    assert wrong[0] < wrong[1]
    assert len(wrong[1]) == 48
    assert rules(0, 0.0).manual == rules(0, 0.0).right
    assert rules(1, 0.15).right != some.right


@pytest.mark.parametrize(("horizon", "n_decisions"), [(4, 1), (6, 2), (8, 3), (14, 5), (16, 6)])
def test_demonstrator_ceiling_is_085_per_decision(horizon: int, n_decisions: int) -> None:
    env = SupportDesk(horizon)
    success = sum(demonstrate(env, seed) for seed in range(2000)) / 2000
    assert success == pytest.approx(0.85**n_decisions, abs=0.035)  # three standard errors of 2000 episodes


def test_slack_is_two_wrong_actions_at_horizon_8() -> None:
    env, right = one_call()
    for action in ["decline", "nonsense", *right[:-1]]:
        assert env.step(action)[1:4] == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step(right[-1])
    assert (observation, reward, terminated, truncated) == ("thank you", 1.0, True, False)
    metrics = {"f1": pytest.approx(2 * 6 / (6 + 8))}
    assert info == {"is_admissible": True, "success": 1.0, "metrics": metrics}

    env, right = one_call()
    for action in ["decline", "nonsense", "decline", *right[:-2]]:
        env.step(action)
    observation, reward, terminated, truncated, info = env.step(right[-2])
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, True, 0.0)
    assert info["metrics"]["f1"] == pytest.approx(2 * 5 / (6 + 8))


def test_a_refusal_repeats_the_pending_fact() -> None:
    env, right = one_call()
    for action in right[:3]:
        pending = env.step(action)[0]
    assert pending.startswith("status ")
    wrong = next(d for d in DECISIONS if d != right[3])
    assert env.step(wrong)[0] == f"no {pending}"
    assert env.step("verify me")[0] == f"what {pending}"
    assert env.step(f" {right[3].upper()}!\n")[0].startswith("status ")


def test_the_current_observation_and_the_intent_decide() -> None:
    """No other state: equal (intent, observation) never calls for two different decisions."""
    env, seen = SupportDesk(16), {}
    for seed in range(300):
        observation, info = env.reset(seed=seed)
        intent = info["task"].intent
        for _ in range(16):
            action = env._required[env._done]
            assert seen.setdefault((intent, observation), action) == action
            observation, _, terminated, _, _ = env.step(action)
            if terminated:
                break
    assert len(seen) > 120


def test_compact_turns_fit_into_eight_tokens() -> None:
    """Marker, observation, marker, action, end: at most 64 tokens at horizon 8."""
    env, rng = SupportDesk(16), random.Random(0)
    for seed in range(50):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            assert len(observation.split()) + 1 + 3 <= 8
            action = rng.choice([*env.actions(), "verify me", env._required[env._done]])
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
    assert all(len(action.split()) == 1 for action in env.actions())


def test_natural_style_explains_the_role_once_and_plays_the_same_game() -> None:
    compact, natural = SupportDesk(8), SupportDesk(8, style="natural")
    _, info = compact.reset(seed=5)
    first, same = natural.reset(seed=5)
    assert info == same
    assert all(decision in first for decision in DECISIONS)
    assert natural.step("Greet.")[0] == INTENTS[info["task"].intent]
    assert natural.step("hold")[0] == f"No, that is not the right action here. {INTENTS[info['task'].intent]}"


def test_vocabulary_and_actions_do_not_depend_on_the_horizon() -> None:
    assert SupportDesk(4).vocabulary() == SupportDesk(16).vocabulary()
    assert SupportDesk(4).actions() == SupportDesk(16).actions()


# ---- rules that the reward ignores, and words that it may like -------------------------------------------------------


def said(env: SupportDesk, actions: list[str]) -> dict:
    """The info of the last of some actions."""
    for action in actions:
        *_, info = env.step(action)
    return info


def guarded_call(cues: tuple[str, ...], intent: str = "refund") -> SupportDesk:
    """A guarded desk at horizon 8 that is about to be greeted by a customer with these facts."""
    env = SupportDesk(8, guarded=True)
    env.reset(seed=5)
    env.deal(Task("ana", intent, cues))
    return env


def pairs(decision: str) -> tuple[str, str, str]:
    """An intent with two facts that ask for the same decision, both known to the manual."""
    right, manual = rules(0, 0.15)
    for intent in INTENTS:
        cues = [c for c in CUES if right[intent, c] == decision == manual[intent, c]]
        if len(cues) >= 2:
            return intent, cues[0], cues[1]
    raise AssertionError(decision)


INTENT, FIRST, SECOND = pairs("repay")
OPEN = ["greet", "identify", "verify"]


@pytest.mark.parametrize(
    ("actions", "broken"),
    [
        ([*OPEN, "repay", "escalate", "escalate"], {}),
        ([*OPEN, "repay", "repay", "escalate"], {"limit": 1}),
        ([*OPEN, "repay", "repay", "repay"], {"limit": 2}),
        (["greet", "verify", "repay", "escalate", "escalate"], {"identity": 1}),
        ([*OPEN, "override", "repay", "escalate"], {"forbidden": 1}),
        (["greet", "verify", "override", "repay", "repay"], {"identity": 1, "forbidden": 1, "limit": 1}),
    ],
)
def test_broken_rules_are_counted_and_cost_nothing(actions: list[str], broken: dict[str, int]) -> None:
    info = said(guarded_call((FIRST, SECOND, FIRST), INTENT), actions)
    assert info["success"] == 1.0
    assert info["violations"] == {"identity": 0, "limit": 0, "forbidden": 0} | broken


def test_the_demonstrator_keeps_every_rule_and_without_them_nothing_is_accepted() -> None:
    env = guarded_call((FIRST, SECOND, FIRST), INTENT)
    actions = []
    for _ in range(6):
        actions.append(env.demonstrator_action())
        env.step(actions[-1])
    assert actions == [*OPEN, "repay", "escalate", "escalate"]
    plain = SupportDesk(8)
    plain.reset(seed=5)
    plain.deal(Task("ana", INTENT, (FIRST, SECOND, FIRST)))
    assert "override" not in plain.actions()
    info = said(plain, ["greet", "verify", "identify", "verify", "override", "repay", "escalate", "repay"])
    assert info["success"] == 0.0
    assert "violations" not in info
    assert info["metrics"].keys() == {"f1"}


def test_courtesies_cost_a_turn_and_do_nothing() -> None:
    env = SupportDesk(8, courtesies=True)
    env.reset(seed=5)
    env.deal(Task("ana", INTENT, (FIRST, FIRST, FIRST)))
    assert env.demonstrator_action() == "thanks"
    assert env.step("thanks")[0] == "nice hello ana"
    assert env.demonstrator_action() == "greet"
    info = said(env, [*OPEN, "sorry", "repay", "repay", "repay"])
    assert (info["success"], info["metrics"]["courtesies"]) == (1.0, 2.0)
    assert "thanks" not in SupportDesk(8).vocabulary()
    assert {"nice", "gladly"} <= set(env.vocabulary())
