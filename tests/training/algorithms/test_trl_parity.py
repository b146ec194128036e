"""With distillation off and one epoch, loss and gradient are those of TRL's GRPO on the same rollouts."""

from __future__ import annotations

import pytest
import torch
from small import play, tiny, tokenizer

from atod_sweep.config.models import Pretrained
from atod_sweep.training.algorithms.hybrid import HybridMix
from atod_sweep.training.algorithms.interpolated import InterpolatedMix
from atod_sweep.training.models.load import load_model
from atod_sweep.training.models.policy import Policy

pytestmark = pytest.mark.slow
GROUP = 4
TASKS = [2, 3, 4, 7]


class Seen(Exception):
    """TRL has computed its loss."""


@pytest.mark.parametrize("objective", ["interpolated", "hybrid"])
def test_policy_loss_and_gradient(built, tmp_path, objective):
    datasets = pytest.importorskip("datasets", reason="needs the bench extra")
    trl = pytest.importorskip("trl", reason="needs the bench extra")
    model = load_model(Pretrained(path=built.student.path))
    episodes = play(model, [task for task in TASKS for _ in range(GROUP)], horizon=3)
    rewards = [outcome.total for outcome in episodes.outcomes]
    assert len(set(rewards)) > 2

    settings = {"objective__kind": objective, "objective__distill_weight": 0.0, "teacher__kind": "none"}
    if objective == "hybrid":
        settings["objective__reward_weight"] = 1.0
    config = tiny(rollout__tasks=len(TASKS), rollout__group_size=GROUP, **settings)
    form = HybridMix if objective == "hybrid" else InterpolatedMix
    mix, policy = form(config, None, None), Policy(model)
    batch, _ = mix.prepare(policy, episodes, 0, 1.0, 10**6)
    (term,) = mix.terms(policy(batch.ids_ST, batch.index_N), batch).values()
    loss = term / batch.tokens
    gradient = torch.autograd.grad(loss, list(model.parameters()))

    rows = []
    for e, length in enumerate(episodes.length_S.tolist()):
        ids, columns = episodes.ids_ST[e, :length].tolist(), episodes.column_N[episodes.sequence_N == e].tolist()
        rows.append((ids[: columns[0]], ids[columns[0] :], [int(c in columns) for c in range(columns[0], length)]))

    def rollout(prompts, trainer):
        assert len(prompts) == len(rows)
        prompt_ids, completion_ids, mask = (list(part) for part in zip(*rows, strict=True))
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": completion_ids,
            "logprobs": None,
            "env_mask": mask,
            "env_reward": rewards,
        }

    trainer = trl.GRPOTrainer(
        model,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=len(rows),
            num_generations=GROUP,
            steps_per_generation=1,
            max_completion_length=256,
            max_steps=1,
            beta=0.0,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list([{"prompt": [{"role": "user", "content": f"so {t}"}]} for t in TASKS]),
        processing_class=tokenizer(),
        reward_funcs=[lambda env_reward, **_: env_reward],
        rollout_func=rollout,
    )
    compute = trainer.compute_loss

    def compare(model, inputs, *args, **kwargs):
        advantage_E = torch.zeros(len(rows))
        advantage_E[batch["episode"]] = batch["advantage"]
        shuffled = inputs["advantages"].flatten()  # TRL changes the order of the batch
        assert torch.allclose(shuffled.sort().values, advantage_E.sort().values, rtol=0, atol=1e-5)
        theirs = compute(model, inputs, *args, **kwargs)
        assert theirs.item() == pytest.approx(loss.item(), abs=1e-6)
        their_gradient = torch.autograd.grad(theirs, list(model.parameters()))
        norm = torch.stack([g.norm() for g in their_gradient]).norm()
        difference = torch.stack([(a - b).norm() for a, b in zip(gradient, their_gradient, strict=True)]).norm()
        print(f"loss {loss.item():+.6f}, TRL's {theirs.item():+.6f}, gradients differ by {difference / norm:.1e}")
        assert norm > 1e-3
        assert difference < 1e-4 * norm
        raise Seen

    trainer.compute_loss = compare
    with pytest.raises(Seen):
        trainer.train()
