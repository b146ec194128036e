"""Text of a conversation <-> token ids, in the two ways of talking to a model. `conversation` finds out which is right.

Growing: `opening obs closing ACTION end between obs closing ACTION end between ...`. Every piece except ACTION is fixed
text around the observation, so a turn is appended to a cached prefix without rendering the whole again.

Per turn: every prompt is rendered anew from the messages so far, as whoever serves the model will do, because earlier
turns look otherwise than the last one, or depend on their number. A turn is then a token sequence of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerFast

from atod_sweep.training.play import thoughts
from atod_sweep.training.play.agent_format import WHOLE, AgentFormat
from atod_sweep.training.play.templates import Message, Template
from atod_sweep.training.play.thoughts import Marks, Said

MAX_CACHED_TEXTS = 100_000


@dataclass(frozen=True)
class Exchange:
    """A turn that has been played: what was observed, and the ids of the action, its end included."""

    observation: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Thinking:
    """Thoughts that have a budget: of `tokens`, after which `cut_ids` close them. `learn`: they carry loss."""

    tokens: int
    cut_ids: tuple[int, ...]
    learn: bool


def unchanged(text: str) -> str:
    return text


@dataclass
class Conversation(ABC):
    """`stop_ids` end an action; `end_ids` are appended when an action was cut off and the conversation grows behind it.

    `escape` takes control tokens apart that a text spells. `marks` are those of thoughts, if the model has any, and
    `opened` tells that its prompts end inside one; `thinking`: how long they may be, None where they are part of the
    action. `format`: how actions are asked for, and marked.
    """

    tokenizer: Any
    end_ids: tuple[int, ...]
    stop_ids: frozenset[int]
    stop_strings: tuple[str, ...] = ()
    escape: Callable[[str], str] = unchanged
    marks: Marks | None = None
    opened: bool = False
    format: AgentFormat = WHOLE
    thinking: Thinking | None = None
    _said: dict[tuple[int, ...], Said] = field(init=False, default_factory=dict, repr=False)
    _written: dict[str, tuple[int, ...]] = field(init=False, default_factory=dict, repr=False)

    @abstractmethod
    def prompt(self, past: Sequence[Exchange], observation: str) -> list[int]:
        """Ids of the whole conversation, up to the first token of the next action."""

    def encode_action(self, action: str) -> tuple[int, ...]:
        """Ids of a demonstrated action behind a prompt: what a template writes before it, and its end, included."""
        ids = self._written.get(action)
        if ids is None:
            ids = self._write(self.escape(self.format.write(action)))
            if len(self._written) < MAX_CACHED_TEXTS:
                self._written[action] = ids
        return ids

    @abstractmethod
    def _write(self, text: str) -> tuple[int, ...]:
        """Ids of an action that is marked as one."""

    def decode_action(self, ids: tuple[int, ...]) -> str:
        """What the environment hears of the generated ids: neither stop token nor stop string nor thought."""
        return self.heard(ids) or ""

    def heard(self, ids: tuple[int, ...]) -> str | None:
        """The action; None if the answer has none where it should."""
        return self.format.read(self.said(ids).action, self.stop_strings)

    def said(self, ids: tuple[int, ...]) -> Said:
        """The generated ids as text, thought and action apart."""
        said = self._said.get(ids)
        if said is None:
            said = self._read(ids[:-1] if ids and ids[-1] in self.stop_ids else ids)
            if len(self._said) < MAX_CACHED_TEXTS:
                self._said[ids] = said
        return said

    def _read(self, ids: tuple[int, ...]) -> Said:
        if self.marks is None:
            return thoughts.split(self.before_stop(_decode(self.tokenizer, ids)), None, False)
        # Marks may be special tokens, so they stay until the text has been taken apart.
        before, close, action = str(self.tokenizer.decode(ids)).rpartition(self.marks.close)
        text = before + close + self.before_stop(action)
        for token in {*self.tokenizer.all_special_tokens} - {self.marks.open, self.marks.close}:
            text = text.replace(token, "")
        return thoughts.split(text, self.marks, self.opened)

    def before_stop(self, text: str) -> str:
        for stop in self.stop_strings:
            text = text.split(stop, 1)[0]
        return text

    def answer_tokens(self, action_tokens: int) -> int:
        """The longest answer with an action of at most `action_tokens`."""
        thought = self.thinking.tokens + len(self.thinking.cut_ids) if self.thinking else 0
        return thought + action_tokens

    def is_stopped(self, ids: tuple[int, ...]) -> bool:
        """Whether a stop string has been generated (stop tokens are checked by the caller, on ids)."""
        return any(stop in self.tokenizer.decode(ids) for stop in self.stop_strings)


# ---- growing -----------------------------------------------------------------------------------------------------


@dataclass
class Growing(Conversation):
    """Fixed text around the observations. `first_ids` go before everything; `strips`: observations lose outer space."""

    opening: str = ""
    between: str = ""
    closing: str = ""
    later_closing: str = ""  # behind all observations but the first
    first_ids: tuple[int, ...] = ()
    strips: bool = False
    _encoded: dict[tuple[str, bool], tuple[int, ...]] = field(init=False, default_factory=dict, repr=False)

    def prompt(self, past: Sequence[Exchange], observation: str) -> list[int]:
        ids: list[int] = []
        for turn in past:
            ids += self.encode_turn(turn.observation, first=not ids)
            ids += turn.ids
        return [*ids, *self.encode_turn(observation, first=not ids)]

    def encode_turn(self, observation: str, first: bool) -> tuple[int, ...]:
        """Ids that lead from the end of the last action (or from nothing) to the first token of the next action."""
        key = (observation, first)
        if key not in self._encoded:
            self.encode_turns([key])
        return self._encoded[key]

    def encode_turns(self, turns: Iterable[tuple[str, bool]]) -> None:
        """Encode many (observation, first) in one call of the tokenizer, for `encode_turn` to find."""
        new = [turn for turn in dict.fromkeys(turns) if turn not in self._encoded]
        if not new:
            return
        if len(self._encoded) + len(new) > MAX_CACHED_TEXTS:
            self._encoded.clear()
        frames = {True: (self.opening, self.closing), False: (self.between, self.later_closing)}
        texts = [frames[first][0] + self._plain(text) + frames[first][1] for text, first in new]
        for (text, first), ids in zip(new, encode_all(self.tokenizer, texts), strict=True):
            self._encoded[text, first] = self.first_ids + ids if first else ids

    def _plain(self, observation: str) -> str:
        text = self.escape(observation)
        return text.strip() if self.strips else text

    def _write(self, text: str) -> tuple[int, ...]:
        return (*self.tokenizer(text, add_special_tokens=False)["input_ids"], *self.end_ids)


# ---- per turn ----------------------------------------------------------------------------------------------------


@dataclass
class PerTurn(Conversation):
    """Prompts rendered anew. `lead` stands between a prompt and a demonstrated action, `close_ids` behind it.

    `apart`: the template wants thoughts in a field of their own.
    """

    renderer: Template | None = None
    lead: str = ""
    close_ids: tuple[int, ...] = ()
    first_ids: tuple[int, ...] = ()
    apart: bool = False

    def prompt(self, past: Sequence[Exchange], observation: str) -> list[int]:
        """The messages so far, or the one that sums them up, rendered and encoded as one text."""
        return [*self.first_ids, *encode_all(self.tokenizer, [self.text(past, observation)])[0]]

    def text(self, past: Sequence[Exchange], observation: str) -> str:
        """The prompt before it is encoded."""
        assert self.renderer is not None
        if self.format.steps is not None:
            done = [(turn.observation, self.decode_action(turn.ids)) for turn in past]
            return self.renderer.render([self._observed(self.format.message(done, observation))])
        messages: list[Message] = []
        for turn in past:
            messages += [self._observed(turn.observation, not messages), self._answered(turn.ids)]
        return self.renderer.render([*messages, self._observed(observation, not messages)])

    def _observed(self, observation: str, is_first: bool = True) -> Message:
        role = "user" if is_first or self.format.tools is None else "tool"
        return {"role": role, "content": self.escape(observation)}

    def _answered(self, ids: tuple[int, ...]) -> Message:
        said = self.said(ids)
        message = thoughts.message(said, self.apart)
        return {key: value if key == "role" else self.escape(value) for key, value in message.items()}

    def _write(self, text: str) -> tuple[int, ...]:
        return (*self.tokenizer(self.lead + text, add_special_tokens=False)["input_ids"], *self.close_ids)


# ---- ids ---------------------------------------------------------------------------------------------------------


def encode_all(tokenizer: Any, texts: list[str]) -> list[tuple[int, ...]]:
    """`tokenizer(text, add_special_tokens=False)` of every text, at half the cost where Rust does it all."""
    if not _is_thin(tokenizer):
        return [tuple(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    core = tokenizer.backend_tokenizer
    core.no_truncation()  # as a call of the wrapper would: tokenizer files may say otherwise
    core.no_padding()
    return [tuple(encoding.ids) for encoding in core.encode_batch_fast(texts, add_special_tokens=False)]


def _decode(tokenizer: Any, ids: tuple[int, ...]) -> str:
    """`tokenizer.decode(ids, skip_special_tokens=True)`, at a fraction of the cost where Rust does it all."""
    thin = _is_thin(tokenizer) and not tokenizer.clean_up_tokenization_spaces
    return str((tokenizer.backend_tokenizer if thin else tokenizer).decode(ids, skip_special_tokens=True))


def _is_thin(tokenizer: Any) -> bool:
    """Whether `tokenizer` is the plain wrapper of a Rust tokenizer, which adds nothing to its ids and texts."""
    kind = PreTrainedTokenizerFast
    return (
        isinstance(tokenizer, kind)
        and type(tokenizer)._encode_plus is kind._encode_plus
        and type(tokenizer).decode is kind.decode
        and type(tokenizer)._decode is kind._decode
        and not tokenizer.split_special_tokens
    )
