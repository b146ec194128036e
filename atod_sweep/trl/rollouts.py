"""Episodes that TRL's engine speaks: transformers or vLLM generates, everything else is as in our own rollouts."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from typing import Any

from accelerate.utils import gather_object

from atod_sweep.envs.contract import Split
from atod_sweep.training.algorithms.stage import Stage
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player, Sampling
from atod_sweep.training.play.evaluate import habits, summary
from atod_sweep.training.play.outcomes import EpisodeBook, Episodes
from atod_sweep.training.play.talk import Growing

# Ids of prompts -> the ids of an answer to each, and their log-probs if the engine tells them.
Engine = Callable[[list[list[int]]], tuple[list[list[int]], list[list[float]] | None]]


def engine_of(trainer: Any) -> Engine:
    """How TRL's trainer generates, whatever with."""
    return lambda prompts: trainer._generate_single_turn(prompts, None, {}, 1)


class EnginePlayer(Player):
    """Plays with an engine. It samples at the temperature of its own settings, with a generator of its own."""

    engine: Engine

    def _play(
        self, policy: Policy, table: EpisodeBook, episodes: range, split: Split, sampling: Sampling, bootstrap: bool
    ) -> None:
        seeds = [table.outcomes[episode].seed for episode in episodes]
        observations = dict(zip(episodes, self.batch.reset(seeds, split), strict=True))
        rows, is_first = list(episodes), True
        while rows:
            self.show(observations, rows, episodes.start, is_first)
            if isinstance(self.conversation, Growing):
                self.conversation.encode_turns((observations[e], is_first) for e in rows)
            for e in rows:
                table.append_turn(e, observations[e])
            self._speak(table, rows)
            texts: dict[int, str] = {}
            for e in rows:
                first, count, _ = table.current[e].spans[-1]
                texts[e] = self.conversation.decode_action(tuple(table.current[e].ids[first : first + count]))
                table.outcomes[e].transcript.append((observations[e], texts[e]))
            answers = zip(episodes, self.batch.step([texts.get(e) for e in episodes]), strict=True)
            steps = {e: step for e, step in answers if step is not None}
            for e in rows:
                observations[e] = steps[e].observation
            rows = [e for e in rows if not table.record(e, steps[e])]
            is_first = False

    def _speak(self, table: EpisodeBook, rows: list[int]) -> None:
        """An answer to each, cut where the conversation says that it ends."""
        answers, logps = self.engine([list(table.current[e].ids) for e in rows])
        for i, (e, ids) in enumerate(zip(rows, answers, strict=True)):
            said = self._until_end(ids)
            logp = [math.nan] * len(said) if logps is None else logps[i][: len(said)]
            table.append_action(e, said, logp)

    def _until_end(self, ids: list[int]) -> list[int]:
        talk = self.conversation
        for n, token in enumerate(ids, 1):
            if token in talk.stop_ids or (talk.stop_strings and talk.is_stopped(tuple(ids[:n]))):
                return ids[:n]
        return ids


def rollout_function(stage: Stage, measured: dict[str, Any]) -> Callable[[list[str], Any], dict[str, Any]]:
    """TRL's rollout function: prompts are seeds of tasks; what the episodes came to goes into `measured`."""

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        started = time.perf_counter()
        episodes = stage.play(stage.policy, trainer.state.global_step, [int(task) for task in prompts])
        stage.policy.model.train()  # by which TRL tells training from evaluation, and a policy that played is not
        sampled = not bool(episodes.logp_N.isnan().any())
        played = summary(episodes.outcomes) | habits(episodes.outcomes, sampled)
        measured.update({f"rollout/{name}": value for name, value in played.items()})
        measured.update({"teacher_tokens": episodes.tokens, "seconds/rollout": time.perf_counter() - started})
        found = as_trl(episodes)
        owners = found.pop("episode")
        each = len(prompts) // trainer.args.steps_per_generation  # episodes of a pass
        if trainer.accelerator.num_processes > 1:  # they gather rows, pass by pass
            counts = Counter(episode // each for episode in owners)
            filled_up(
                found, owners, each, max(gather_object(list(counts.values()))), trainer.processing_class.pad_token_id
            )
        trainer.episode_of_row = owners
        return found

    return rollout


def as_trl(episodes: Episodes) -> dict[str, Any]:
    """What a rollout function returns: prompts, completions with a mask of what was generated, rewards of episodes.

    And the `episode` of every row.
    """
    found: dict[str, Any] = {"prompt_ids": [], "completion_ids": [], "env_mask": [], "logprobs": []}
    for s, length in enumerate(episodes.length_S.tolist()):
        mine = episodes.sequence_N == s
        logp = dict(zip(episodes.column_N[mine].tolist(), episodes.logp_N[mine].tolist(), strict=True))
        ids, first = episodes.ids_ST[s, :length].tolist(), min(logp)
        found["prompt_ids"].append(ids[:first])
        found["completion_ids"].append(ids[first:])
        found["env_mask"].append([int(column in logp) for column in range(first, length)])
        found["logprobs"].append([logp.get(column, 0.0) for column in range(first, length)])
    if episodes.logp_N.isnan().any():  # the engine told none
        found["logprobs"] = None
    rewards = [outcome.total for outcome in episodes.outcomes]
    return {**found, "episode": episodes.episode_S.tolist(), "total_reward": rewards}


def filled_up(found: dict[str, Any], owners: list[int], each: int, rows: int, pad: int) -> None:
    """Give every pass of `each` episodes so many `rows`: those that are added hold no generated token."""
    empty: dict[str, Any] = {"prompt_ids": [pad], "completion_ids": [pad], "env_mask": [0], "logprobs": [0.0]}
    for last in range(each - 1, owners[-1] + 1, each):
        there = sum(last - each < owner <= last for owner in owners)
        end = bisect_right(owners, last)
        for name, row in empty.items():
            if found[name] is not None:
                found[name][end:end] = [row] * (rows - there)
        owners[end:end] = [last] * (rows - there)


def total_reward(total_reward: list[float], **_: Any) -> list[float]:
    """TRL's reward function: what the episodes came to."""
    return total_reward
