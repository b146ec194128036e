"""F1 and pass@k, by hand."""

import pytest

from atod_sweep.envs.families.measures import f1, pass_at_k


@pytest.mark.parametrize(
    ("required", "performed", "expected"),
    [
        (["a", "b"], ["a", "b"], 1.0),
        (["a", "b"], ["a", "x"], 0.5),
        (["a", "a", "b"], ["a", "b", "b", "c"], 4 / 7),  # one a, one b in common: 2 * 2 / (3 + 4)
        (["a"], [], 0.0),
        (["a"], ["b"], 0.0),
    ],
)
def test_f1_counts_repeated_actions(required: list[str], performed: list[str], expected: float) -> None:
    assert f1(required, performed) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("attempts", "passed", "k", "expected"),
    [
        (10, 3, 1, 0.3),
        (10, 3, 10, 1.0),
        (10, 0, 10, 0.0),
        (4, 1, 2, 0.5),  # C(3,2)/C(4,2) = 3/6
        (5, 2, 2, 0.7),  # 1 - C(3,2)/C(5,2) = 1 - 3/10; the biased 1 - (3/5)^2 is 0.64
        (5, 4, 2, 1.0),
    ],
)
def test_pass_at_k(attempts: int, passed: int, k: int, expected: float) -> None:
    assert pass_at_k(attempts, passed, k) == pytest.approx(expected)


@pytest.mark.parametrize(("attempts", "passed", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_pass_at_k_refuses_the_impossible(attempts: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"passed={passed}, attempts={attempts}, k={k}"):
        pass_at_k(attempts, passed, k)
