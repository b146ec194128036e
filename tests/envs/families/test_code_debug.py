"""code_debug: the machine, the runner, the demonstrator's release."""

import itertools

import pytest

from atod_sweep.envs.families.code_debug import (
    OLD_RESULT,
    RESULT,
    CodeDebug,
    Failure,
    Line,
    bugs,
    demonstrated_fix,
    first_failure,
    passed_share,
    possible_fixes,
)


@pytest.mark.parametrize(
    ("op", "before", "constant", "now", "then"),
    [
        ("add", 6, 2, 0, 7),  # 8 wraps to 0; the old release stayed at 7
        ("add", 5, 2, 7, 7),
        ("sub", 1, 3, 6, 0),  # -2 wraps to 6
        ("mul", 7, 3, 5, 7),  # 21 = 2 x 8 + 5
        ("div", 7, 2, 3, 3),
        ("max", 2, 3, 3, 3),
        ("min", 2, 3, 2, 2),
    ],
)
def test_the_machine_wraps_and_the_old_one_stayed_in_range(op, before, constant, now, then) -> None:
    assert RESULT[op][before, constant] == now
    assert OLD_RESULT[op][before, constant] == then


def test_the_runner_shows_the_most_telling_failure_of_the_first_wrong_line() -> None:
    intended = [Line("add", 2), Line("mul", 2), Line("sub", 3)]
    program = [Line("add", 2), Line("max", 2), Line("add", 3)]
    # Registers before line 1: 3, 2, 5. Input 3: want 6, which only mul gives (add 5, sub 1, div 1, max 3, min 2).
    # Input 2: want 4 (add and mul give it). Input 5: want 2 (10 wraps; div and min give it too).
    assert first_failure(program, intended, (1, 0, 3)) == Failure(1, 3, 6)
    assert first_failure(program, intended, (0, 3, 1)) == Failure(1, 3, 6)
    assert possible_fixes(2, 2, 4) == ("add", "mul")
    assert possible_fixes(5, 2, 2) == ("mul", "div", "min")
    assert first_failure([intended[0], intended[1], program[2]], intended, (1, 0)) == Failure(2, 6, 3)
    assert first_failure(intended, intended, (1, 0, 3)) is None


def test_passed_share_looks_at_outputs_only() -> None:
    intended = [Line("max", 3), Line("add", 2)]
    assert passed_share([Line("add", 3), Line("add", 2)], intended, (0, 1, 7)) == pytest.approx(
        1 / 3
    )  # 0: 3 either way
    assert passed_share(intended, intended, (0, 1, 7)) == 1.0


def test_the_demonstrator_computes_as_the_old_release_did() -> None:
    assert demonstrated_fix(Line("sub", 2), Failure(0, 3, 6)) == "mul"  # no wrapping: right
    # 6 add 2 gives 0 now; the nearest result of the old release is 2 (min), so add is not thought of.
    assert demonstrated_fix(Line("sub", 2), Failure(0, 6, 0)) == "min"
    assert demonstrated_fix(Line("min", 2), Failure(0, 6, 0)) == "div"


def test_every_bug_leaves_one_operator_and_keeps_inputs_apart() -> None:
    for registers in itertools.permutations(range(8), 3):
        for misleads, listed in bugs(registers).items():
            assert listed
            for intended, buggy in listed:
                failure = first_failure([buggy], [intended], registers)
                assert possible_fixes(failure.before, intended.constant, failure.want) == (intended.op,)
                assert len({RESULT[intended.op][r, intended.constant] for r in registers}) > 1
                if set(registers) != {3, 4, 6} or not misleads:
                    assert (demonstrated_fix(buggy, failure) != intended.op) == misleads


@pytest.mark.parametrize(("horizon", "n_bugs"), [(4, 1), (6, 1), (8, 2), (10, 3), (16, 5), (24, 8)])
def test_bugs_by_horizon_and_the_demonstrators_ceiling(horizon: int, n_bugs: int) -> None:
    env = CodeDebug(horizon)
    assert env.n_bugs == n_bugs
    solved = 0.0
    for seed in range(600):
        _, info = env.reset(seed=seed)
        assert sum(a != b for a, b in zip(info["task"].buggy, info["task"].intended, strict=True)) == n_bugs
        over = False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.demonstrator_action())
            over = terminated or truncated
        solved += reward
    assert 0.75**n_bugs - 0.06 < solved / 600 < 0.75**n_bugs + 0.16


def test_a_session_in_words() -> None:
    env = CodeDebug(8)
    program, info = env.reset(seed=3)
    assert program == "program " + " ".join(f"{op} {constant}" for op, constant in info["task"].buggy)
    assert env.step("add")[0] == "run first"
    assert env.step("eval 1")[0] == "what run first"
    report = env.step("run")[0]
    assert report.split()[3] == "want"
    assert env.step("rm")[0] == f"what {report}"
    right = info["task"].intended[env._failure.line].op
    assert env.step(right)[0] == "edited"
    assert env.step("run")[0].split()[3] == "want"  # the second bug
    *_, truncated, info = (env.step("run"), env.step("run"))[1]
    assert truncated
    assert info["success"] == info["metrics"]["pass@1"] == 0.0


def test_an_edit_can_be_taken_back_before_the_next_run() -> None:
    env = CodeDebug(4)  # one bug, one spare turn
    env.reset(seed=1)
    env.step("run")
    failure = env._failure
    right = env._task.intended[failure.line].op
    env.step(next(op for op in RESULT if op != right))
    assert env._failure == failure
    env.step(right)
    assert env.step("run")[1:4] == (1.0, True, False)
