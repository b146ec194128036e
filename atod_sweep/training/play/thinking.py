"""Thoughts with a budget of their own: where in its answer each row is, and what closes a thought when time is up."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

import torch
from torch import Tensor

from atod_sweep.training.play.talk import Conversation, Thinking
from atod_sweep.training.play.thoughts import Marks

TAIL = 24  # tokens at the end of a thought in which its closing mark is looked for


class Phase(Enum):
    """UNDECIDED: too little has been said to tell whether a thought is opened. CUT: it is being closed."""

    UNDECIDED = auto()
    THOUGHT = auto()
    CUT = auto()
    ACTION = auto()


@dataclass
class _Row:
    phase: Phase
    ids: list[int] = field(default_factory=list)
    cut_from: int = 0
    action_from: int = 0


class Pace:
    """One answer of every row, token by token: a thought within its budget, then an action within its own."""

    def __init__(self, talk: Conversation, thinking: Thinking, action_tokens: int, rows: int) -> None:
        assert talk.marks is not None
        self.talk, self.thinking, self.action_tokens = talk, thinking, action_tokens
        self.marks: Marks = talk.marks
        self.rows = [_Row(Phase.THOUGHT if talk.opened else Phase.UNDECIDED) for _ in range(rows)]

    def impose(self, token_B: Tensor) -> Tensor:
        """The sampled tokens, with the next one of the closing mark in rows whose thought is being cut."""
        forced = [(i, row) for i, row in enumerate(self.rows) if row.phase is Phase.CUT]
        if not forced:
            return token_B
        token_B = token_B.clone()
        for i, row in forced:
            token_B[i] = self.thinking.cut_ids[len(row.ids) - row.cut_from]
        return token_B

    def follow(self, token_B: Tensor, going_B: Tensor) -> Tensor:
        """Which of the rows that are `going` go on after these tokens."""
        going = [
            on and self._goes_on(row, token)
            for row, token, on in zip(self.rows, token_B.tolist(), going_B.tolist(), strict=True)
        ]
        return torch.tensor(going, device=going_B.device)

    def _goes_on(self, row: _Row, token: int) -> bool:
        row.ids.append(token)
        said = len(row.ids)
        if row.phase is Phase.CUT:
            if said - row.cut_from == len(self.thinking.cut_ids):
                row.phase, row.action_from = Phase.ACTION, said
            return True
        if token in self.talk.stop_ids:
            return False
        if row.phase is Phase.UNDECIDED:
            self._decide(row)
        if row.phase is Phase.THOUGHT and self.marks.close in self.talk.tokenizer.decode(row.ids[-TAIL:]):
            row.phase, row.action_from = Phase.ACTION, said
        if row.phase is Phase.ACTION:
            action = row.ids[row.action_from :]
            return len(action) < self.action_tokens and not (action and self.talk.is_stopped(tuple(action)))
        if said >= self.thinking.tokens:
            row.phase, row.cut_from = Phase.CUT, said
        return True

    def _decide(self, row: _Row) -> None:
        text = self.talk.tokenizer.decode(row.ids).lstrip()
        if text.startswith(self.marks.open):
            row.phase = Phase.THOUGHT
        elif not self.marks.open.startswith(text):
            row.phase = Phase.ACTION  # it acts without a thought

    def spans(self, index: int) -> list[tuple[int, int]]:
        """(first, count) of the tokens of a row that carry loss: of what the model chose itself, all or the action."""
        row, said = self.rows[index], len(self.rows[index].ids)
        if row.phase is Phase.ACTION:
            thought = row.cut_from or row.action_from
            found = [(0, thought)] if self.thinking.learn else []
            found.append((row.action_from, said - row.action_from))
        else:  # it ended in mid-thought
            found = [(0, said)] if self.thinking.learn else [(said - 1, 1)]
        return [(first, count) for first, count in found if count]
