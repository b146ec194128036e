"""The benchmark's contenders do the same work, and its arithmetic is right."""

from __future__ import annotations

import pytest
import torch

from benchmarks.trainer import plain, workload
from benchmarks.trainer.clock import Row, Seconds
from benchmarks.trainer.ours import Ours
from benchmarks.trainer.table import quartiles, ratio
from benchmarks.trainer.workload import Shape, Words, Workload

TINY = Workload(Shape(16, 1, heads=2), Shape(32, 1, heads=2), tasks=2, group=2, turns=3)


def test_the_floor_counts_every_matrix_product() -> None:
    # Hidden 16, one layer: 4 x 16 x 16 for attention's projections, 3 x 16 x 48 for the MLP, 2 FLOPs per multiply-add.
    # 4 episodes of 36 columns, each column attending to 18.5 on average, twice (scores, values); 48 head positions.
    assert TINY.columns == 36
    student = 2 * (4 * 16 * 16 + 3 * 16 * 48) * 4 * 36 + 2 * 2 * 16 * 4 * 36 * 18.5 + 2 * 16 * 256 * 48
    assert workload.step_flops(TINY, teacher=False) == 4 * student
    assert workload.step_flops(TINY, teacher=True) > 4 * student


@pytest.mark.parametrize(
    "shape", [TINY.student, Shape(16, 2, shared=2, vocabulary=300), Shape(32, 2, shared=1, kind="qwen3")], ids=str
)
def test_parameters_are_those_of_the_model(shape: Shape) -> None:
    model = workload.make_model(shape, 0)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.layer == sum(p.numel() for name, p in model.model.layers[0].named_parameters() if "_proj" in name)


@pytest.mark.parametrize("teacher", [None, torch.float32])
def test_both_trainers_play_turns_of_twelve_tokens(teacher: torch.dtype | None) -> None:
    for trainer in (Ours(TINY, teacher, "cpu"), plain.Plain(TINY, teacher is not None, "cpu")):
        row = trainer.step()
        # 8 tokens per observation beside what was generated: at most 4 per turn, fewer where an action ended early.
        assert row.tokens == 4 * 3 * 8 + row.generated
        assert 40 <= row.generated <= 48


def test_the_plain_loop_reads_over_the_holes_of_short_actions() -> None:
    torch.manual_seed(0)
    model = workload.make_student(TINY)
    with torch.no_grad():
        model.lm_head.weight.mul_(50)  # a peaked policy, that ends about half of its actions early
        model.lm_head.weight[workload.END_ID].mul_(3)
        rollout = plain.play(model, [Words(task) for task in range(4)], turns=3)
        assert 5 < (~rollout.real_BT).sum() < 36
        whole = []
        for ids, real, generated in zip(rollout.ids_BT, rollout.real_BT, rollout.generated_BT, strict=True):
            logp_TV = model(input_ids=ids[real][None]).logits[0].log_softmax(-1)
            chosen = generated[real][1:]
            whole.append(logp_TV[:-1][chosen].gather(1, ids[real][1:][chosen][:, None])[:, 0])
        torch.testing.assert_close(plain.logp(model, rollout), torch.cat(whole), atol=1e-5, rtol=0)


def test_ratios_are_paired() -> None:
    def rows(*totals: float) -> list[Row]:
        return [Row(1, 1, Seconds(0.0, t), Seconds(0.0, 0.0), Seconds(0.0, 0.0)) for t in totals]

    # Step by step 2, 2, 2, 10, though the ratio of medians is 4 / 2.
    assert ratio(rows(2.0, 4.0, 8.0, 10.0), rows(1.0, 2.0, 4.0, 1.0), "cpu") == "2.00 [2.00, 4.00]"
    assert quartiles([3.0]) == "3.00"
