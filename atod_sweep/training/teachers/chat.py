"""A teacher behind a chat API, of any vocabulary: it is told the conversation, and says what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from atod_sweep.config import teachers as config
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.teachers.client import BadAnswer, Json
from atod_sweep.training.teachers.remote import Remote
from atod_sweep.training.teachers.teacher import Action, State

MOST_TOKENS = 256  # of an answer, unless `options` say otherwise


class Chat(Remote[config.ChatTeacher]):
    """It gives no log-probs of what others said, so it is asked for actions alone."""

    def __init__(self, config: config.ChatTeacher, pupil: Player, device: torch.device) -> None:
        super().__init__(config, pupil, device, f"chat {config.url} {config.model}")

    def act(self, states: Sequence[State], temperature: float, generator: torch.Generator) -> list[Action]:
        draws = self.draws(len(states), temperature, generator)
        how = {"model": self.config.model, "max_tokens": MOST_TOKENS, "temperature": temperature, **self.config.options}
        questions = [
            {"chat": self.messages(state), "how": how, "draw": draw} for state, draw in zip(states, draws, strict=True)
        ]
        return [
            self._action(answer)
            for answer in self.answered(questions, f"{self.config.url}/chat/completions", _asking, _read)
        ]

    def messages(self, state: State) -> list[dict[str, str]]:
        """The conversation so far, as text: what the student was shown, and what it was heard to say."""
        talk = self.pupil.conversation
        done = [(turn.observation, talk.decode_action(turn.ids)) for turn in state.past]
        told = [{"role": "system", "content": self.config.system}] if self.config.system else []
        if talk.format.steps is not None:
            return [*told, {"role": "user", "content": talk.format.message(done, state.observation)}]
        for observation, action in done:
            told += [{"role": "user", "content": observation}]
            told += [{"role": "assistant", "content": talk.format.write(action)}]
        return [*told, {"role": "user", "content": state.observation}]

    def _action(self, answer: Json) -> Action:
        talk = self.pupil.conversation
        heard = talk.format.read(talk.before_stop(answer["text"].strip()), talk.stop_strings)
        ids = talk.encode_action(heard or "")
        marked = None if talk.format.marks is None else heard is not None
        return Action(heard or "", ids, answer["tokens"], answer["cut"], marked)


def _asking(questions: Sequence[Json]) -> Json:
    (question,) = questions
    how = {name: value for name, value in question["how"].items() if value is not None}
    return {"messages": question["chat"], **how}


def _read(questions: Sequence[Json], answer: Any) -> list[Any]:
    if len(answer["choices"]) != 1:
        raise BadAnswer(f"asked for one answer, got {len(answer['choices'])}")
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    text = choice["message"].get("content")
    if not isinstance(text, str | None):
        raise BadAnswer(f"{text!r} is no text")
    tokens = usage.get("completion_tokens")
    cut = choice.get("finish_reason") == "length"
    return [{"text": text or "", "tokens": tokens if isinstance(tokens, int) else 0, "cut": cut}]
