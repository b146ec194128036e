"""A few conversations of every evaluation, with the teacher's opinion of each turn: for people to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from atod_sweep.records import layout
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.play.outcomes import Act, Episodes
from atod_sweep.training.teachers.teacher import Teacher

COUNT = 2  # conversations: the first tasks, which are the same ones at every evaluation
LONGEST = 2000  # characters of a text


def of(played: Episodes, teacher: Teacher | None, temperature: float, tokens: int) -> list[dict[str, Any]]:
    """Plain data of the first conversations. `logp` and `teacher_logp`: nats per token of an action, under either.

    `teacher`: asked where it can score them. `tokens` bounds the padded ids of one of its passes.
    """
    theirs = {} if teacher is None or not teacher.judges else _teacher_logp(played, teacher, temperature, tokens)
    found = []
    for e, outcome in enumerate(played.outcomes[:COUNT]):
        turns = [
            _turn(said, act, theirs.get((e, k)))
            for k, (said, act) in enumerate(zip(outcome.transcript, outcome.acts, strict=True))
        ]
        facts = {"task": outcome.seed, "success": outcome.success, "reward": outcome.reward}
        found.append({**facts, "dropped_turns": outcome.dropped_turns, "turns": turns})
    return found


def write(directory: Path, step: int, conversations: list[dict[str, Any]]) -> None:
    """Into the folder of a trial, one file per evaluation."""
    folder = directory / layout.SAMPLES
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(conversations, ensure_ascii=False, indent=1)
    (folder / f"step-{step:06d}.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _turn(said: tuple[str, str], act: Act, theirs: float | None) -> dict[str, Any]:
    observation, action = (_short(text) for text in said)
    turn: dict[str, Any] = {"observation": observation, "action": action, "tokens": act.tokens}
    if act.tokens and act.surprisal is not None:
        turn["logp"] = round(-act.surprisal / act.tokens, 4)
    if theirs is not None:
        turn["teacher_logp"] = round(theirs, 4)
    if act.thought:
        turn["thought"] = _short(act.thought)
    if act.marked is False:
        turn |= {"unmarked": True, "answer": _short(act.answer)}
    if act.admissible is not None:
        turn["admissible"] = act.admissible
    return turn | ({"cut_off": True} if act.cut else {})


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _teacher_logp(played: Episodes, teacher: Teacher, temperature: float, tokens: int) -> dict[tuple[int, int], float]:
    """Per token of each (episode, turn), the mean."""
    batch = TokenBatch.of(played)
    batch = batch.take((played.episode_S < COUNT).nonzero()[:, 0])
    scored = teacher.score(batch, temperature, None, tokens)
    sums: dict[tuple[int, int], list[float]] = {}
    places = torch.stack([scored["episode"], scored["turn"]], 1).tolist()
    for (episode, turn), logp in zip(places, scored["teacher_logp"].tolist(), strict=True):
        sums.setdefault((episode, turn), []).append(logp)
    return {place: sum(values) / len(values) for place, values in sums.items()}
