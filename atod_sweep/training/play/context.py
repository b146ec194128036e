"""What a model sees of an episode: the ids so far, with the middle left out where they outgrow its context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atod_sweep.training.play.talk import Conversation, Exchange, Growing

KEPT = 0.75  # of the context, after something had to go: room for turns to come


@dataclass
class Context:
    """One episode's conversation with one model. `room`: tokens that it can hold, the action to come included.

    `past`: the turns that are still shown; `ids`: those of the prompt, and after an action that too.
    """

    talk: Conversation
    room: int
    ids: list[int] = field(default_factory=list)
    past: list[Exchange] = field(default_factory=list)
    dropped: int = 0
    observation: str = ""

    def ask(self, observation: str, answer: int) -> bool:
        """Put an observation behind what was said; `answer` tokens must still fit. True if `ids` is a new list.

        Raises TooLong if it does not fit even alone.
        """
        self.observation = observation
        if isinstance(self.talk, Growing):
            piece = self.talk.encode_turn(observation, first=not self.ids)
            if len(self.ids) + len(piece) + answer <= self.room:
                self.ids.extend(piece)
                return False
            ids: list[int] = []
        else:
            ids = self.talk.prompt(self.past, observation)
        if not ids or len(ids) + answer > self.room:
            ids = self._shortened(observation, answer)
        self.ids = ids
        return True

    def answer(self, ids: Sequence[int]) -> None:
        """Put an action, with its end, behind the prompt."""
        self.ids.extend(ids)
        self.past.append(Exchange(self.observation, tuple(ids)))

    def _shortened(self, observation: str, answer: int) -> list[int]:
        """Ids with as few turns left out as make it fit into three quarters of the room.

        The first turn stays, which holds the task, and the next ones go; it goes last of all.
        """

        def without(count: int) -> list[Exchange]:
            return [*self.past[:1], *self.past[1 + count :]]

        def length(past: list[Exchange]) -> int:
            return len(self.talk.prompt(past, observation)) + answer

        middle = max(0, len(self.past) - 1)
        count = _least(middle, lambda n: length(without(n)) <= KEPT * self.room)
        kept = without(count)
        if length(kept) > self.room:
            kept = []
            if length(kept) > self.room:
                raise TooLong(length(kept) - answer)
        self.dropped += len(self.past) - len(kept)
        self.past = kept
        return self.talk.prompt(kept, observation)


class TooLong(Exception):
    """An observation that does not fit, and how many tokens its prompt has."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


def _least(most: int, enough: Callable[[int], bool]) -> int:
    """The least number from 0 to `most` that is enough, by halving; `most` if none is."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
