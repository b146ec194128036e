"""tool_use: two calls a question, three kinds of error, the manual's flaw."""

import pytest

from atod_sweep.envs.families.tool_use import DISTRACTORS, HANDLES, KINDS, OWNERS, TOOLS, ToolUse, rules


def test_three_exceptions_a_kind_and_a_manual_wrong_in_seven_pairs() -> None:
    right, manual = rules(0, 0.15)
    assert len(right) == 48
    assert all(sum(right[a, kind] != usual for a, k in right if k == kind) == 3 for kind, usual in KINDS.items())
    assert sum(right[pair] != manual[pair] for pair in right) == 7  # 0.15 x 48 = 7.2
    assert not set(right.values()) & set(DISTRACTORS)


@pytest.mark.parametrize(("horizon", "questions"), [(4, 1), (6, 2), (8, 3), (16, 6)])
def test_questions_by_horizon_and_the_demonstrators_ceiling(horizon: int, questions: int) -> None:
    env = ToolUse(horizon)
    assert env.n_questions == questions
    solved = 0.0
    for seed in range(2000):
        env.reset(seed=seed)
        over = False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.demonstrator_action())
            over = terminated or truncated
        solved += reward
    assert solved / 2000 == pytest.approx((41 / 48) ** questions, abs=0.035)


def test_errors_are_told_apart_and_leave_the_call_pending() -> None:
    env = ToolUse(8)
    asked, info = env.reset(seed=4)
    question = info["task"][0]
    assert asked == f"{question.attribute} of {question.owner}"
    other = next(owner for owner in OWNERS if owner != question.owner)
    assert env.step(f"find {other}")[0] == f"missing {asked}"
    found = env.step(f"FIND {question.owner}.")[0]
    assert found == f"{question.kind} {question.handle}"
    right = env.rules.right[question.attribute, question.kind]
    wrong = next(tool for tool in TOOLS if tool != right)
    handle = next(handle for handle in HANDLES if handle != question.handle)
    assert env.step(f"{wrong} {question.handle}")[0] == f"failed {found}"
    assert env.step(f"{right} {handle}")[0] == f"missing {found}"
    assert env.step(f"{right} r9")[0] == f"what {found}"
    assert " of " in env.step(f"{right} {question.handle}")[0]


def test_tool_accuracy_counts_tools_not_arguments() -> None:
    env = ToolUse(4)
    _, info = env.reset(seed=4)
    question = info["task"][0]
    right = env.rules.right[question.attribute, question.kind]
    env.step(f"find {question.owner}")
    env.step("weather r1")
    env.step(f"{right} r9")
    *_, info = env.step(f"{right} {question.handle}")
    assert info == {"is_admissible": True, "success": 1.0, "metrics": {"tool_accuracy": 3 / 4}}
