"""TRL's GRPO trainer on the workload, by three ways to play several turns.

`environment`: its documented one, `environment_factory`; the history is read anew in every turn. `rollout`: the same
by hand in `rollout_func`, with the teacher in the place of the reference model, which is as near as TRL comes to reward
plus teacher. `cached`: a `rollout_func` with the plain loop's cached rollout, which leaves the trainer's own cost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from benchmarks.trainer import plain, workload
from benchmarks.trainer.clock import Row, Seconds, now
from benchmarks.trainer.workload import Words, Workload

TASKS = range(512)
TASK_OF = {Words(task).text(): task for task in TASKS}


class WordsTool:
    """The environment as TRL wants it: public methods are tools, beside `reset` and `get_reward`."""

    def reset(self, task: int, **_: Any) -> None:
        self._words = Words(task)

    def act(self, words: str) -> str:
        """Say some words.

        Args:
            words: What to say.

        Returns:
            The next observation.
        """
        self._words.act_text(words)
        return self._words.text()

    def get_reward(self) -> float:
        return self._words.reward


def reward(reward_of_episode: list[float], **_: Any) -> list[float]:
    """What the rollout function measured."""
    return reward_of_episode


def _episodes(prompts: list[Any]) -> list[Words]:
    return [Words(TASK_OF[prompt[0]["content"]]) for prompt in prompts]


def generating_rollout(turns: int) -> Callable[[list[Any], Any], dict[str, Any]]:
    """A rollout function that calls `generate` once per turn on the whole history."""

    def rollout(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        model = trainer.accelerator.unwrap_model(trainer.model)
        episodes = _episodes(prompts)
        first = [words.prompt_ids() for words in episodes]
        said: list[list[int]] = [[] for _ in episodes]
        mask: list[list[int]] = [[] for _ in episodes]
        for turn in range(turns):
            for words, ids, kept, action in zip(episodes, said, mask, _generate(model, first, said), strict=True):
                words.act_ids(action)
                seen = words.prompt_ids() if turn + 1 < turns else []
                ids += action + seen
                kept += [1] * len(action) + [0] * len(seen)
        return _as_trl(episodes, first, said, mask)

    return rollout


@torch.no_grad()
def _generate(model: Any, first: list[list[int]], said: list[list[int]]) -> list[list[int]]:
    histories = [a + b for a, b in zip(first, said, strict=True)]
    width = max(map(len, histories))
    ids = [[workload.PAD_ID] * (width - len(history)) + history for history in histories]
    mask = [[0] * (width - len(history)) + [1] * len(history) for history in histories]
    model.eval()
    out = model.generate(
        input_ids=torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=workload.ACTION_TOKENS,
        do_sample=True,
        top_k=0,
        use_cache=True,
    )
    model.train()
    return [_until_end(action) for action in out[:, width:].tolist()]


def _until_end(action: list[int]) -> list[int]:
    return action[: action.index(workload.END_ID) + 1] if workload.END_ID in action else action


def cached_rollout(turns: int) -> Callable[[list[Any], Any], dict[str, Any]]:
    """A rollout function that brings the plain loop's cached generation."""

    def rollout(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        episodes = _episodes(prompts)
        model = trainer.accelerator.unwrap_model(trainer.model)
        played = plain.play(model, episodes, turns)
        kept = zip(played.ids_BT.tolist(), played.real_BT.tolist(), played.generated_BT.tolist(), strict=True)
        rows = [[(i, int(g)) for i, r, g in zip(*row, strict=True) if r] for row in kept]
        prompt = workload.TURN_TOKENS - workload.ACTION_TOKENS
        first = [[i for i, _ in row[:prompt]] for row in rows]
        return _as_trl(
            episodes,
            first,
            [[i for i, _ in row[prompt:]] for row in rows],
            [[g for _, g in row[prompt:]] for row in rows],
        )

    return rollout


def _as_trl(episodes: list[Words], first: Any, said: Any, mask: Any) -> dict[str, Any]:
    rewards = [words.reward for words in episodes]
    return {
        "prompt_ids": first,
        "completion_ids": said,
        "env_mask": mask,
        "logprobs": None,
        "reward_of_episode": rewards,
    }


def make_trainer(kind: str, work: Workload, device: str, teacher_dtype: torch.dtype | None, autocast: bool) -> Any:
    """A `GRPOTrainer` on the workload. TRL's default gradient checkpointing is off: it would only cost time here."""
    arguments = GRPOConfig(
        output_dir=tempfile.mkdtemp(prefix="trainer-benchmark-"),
        use_cpu=device == "cpu",
        bf16=autocast,
        gradient_checkpointing=False,
        per_device_train_batch_size=work.episodes,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_generations=work.group,
        max_steps=1_000_000,  # the benchmark ends it
        learning_rate=workload.LR,
        lr_scheduler_type="constant",
        beta=0.0,
        max_completion_length=work.columns + 32,
        max_tool_calling_iterations=work.turns - 1,
        generation_kwargs={"max_new_tokens": workload.ACTION_TOKENS},
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1_000_000,
        disable_tqdm=True,
    )
    ways: dict[str, dict[str, Any]] = {
        "environment": {"environment_factory": WordsTool},
        "rollout": {"rollout_func": generating_rollout(work.turns), "reward_funcs": [reward]},
        "cached": {"rollout_func": cached_rollout(work.turns), "reward_funcs": [reward]},
    }
    rows = [{"prompt": [{"role": "user", "content": text}], "task": task} for text, task in TASK_OF.items()]
    trainer = GRPOTrainer(
        workload.make_student(work),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=workload.make_tokenizer(work.student.vocabulary),
        **ways[kind],
    )
    if teacher_dtype is not None:
        teacher = workload.make_teacher(work).to(trainer.accelerator.device, teacher_dtype)
        add_fused_lm_head(teacher)
        trainer.beta, trainer.ref_model = 0.1, teacher
    return trainer


class Probe(TrainerCallback):
    """Turns every training step into a `Row`. The update is what is left after rollout and scoring."""

    def __init__(self, trainer: Any, device: str, wait: Callable[[], None], done: Callable[[Row], None]) -> None:
        self.device, self.wait, self.done = device, wait, done
        self.inside = {"_generate": Seconds(0, 0), "_generate_and_score_completions": Seconds(0, 0)}
        for name in self.inside:
            self._time(trainer, name)
        self._count(trainer)

    def _time(self, trainer: Any, name: str) -> None:
        method = getattr(trainer, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = now(self.device)
            result = method(*args, **kwargs)
            self.inside[name] += now(self.device) - start
            return result

        setattr(trainer, name, timed)

    def _count(self, trainer: Any) -> None:
        loss = trainer.compute_loss

        def counted(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            completion = inputs["completion_mask"]
            self.tokens = int(inputs["prompt_mask"].sum() + completion.sum())
            self.generated = int((completion * inputs.get("tool_mask", 1)).sum())
            return loss(model, inputs, *args, **kwargs)

        trainer.compute_loss = counted

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        total = now(self.device) - self.started
        rollout, prepared = self.inside["_generate"], self.inside["_generate_and_score_completions"]
        self.done(Row(self.tokens, self.generated, rollout, prepared - rollout, total - prepared))
        self._start()

    def _start(self) -> None:
        self.wait()
        self.inside = dict.fromkeys(self.inside, Seconds(0, 0))
        self.started = now(self.device)
