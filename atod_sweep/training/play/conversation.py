"""Text of a conversation <-> token ids, turn by turn, for chat templates and plain text alike.

A conversation is `opening obs closing ACTION end between obs closing ACTION end between ...`: every piece except ACTION
is fixed text around the observation, so a turn can be appended to a cached prefix without rendering the whole again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerFast

from atod_sweep.errors import UserError

_OBS, _OBS_2, _ACT = "OBSERVATION1", "OBSERVATION2", "ACTION1"
MAX_CACHED_TEXTS = 100_000


@dataclass
class Conversation:
    """How one tokenizer renders turns. `stop_ids` end an action; `end_ids` are appended when an action was cut off."""

    tokenizer: Any
    opening: str
    between: str
    closing: str
    end_ids: tuple[int, ...]
    stop_ids: frozenset[int]
    stop_strings: tuple[str, ...] = ()
    _encoded: dict[tuple[str, bool], tuple[int, ...]] = field(default_factory=dict, repr=False)
    _decoded: dict[tuple[int, ...], str] = field(default_factory=dict, repr=False)

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
        texts = [(self.opening if first else self.between) + text + self.closing for text, first in new]
        self._encoded.update(zip(new, _encode_all(self.tokenizer, texts), strict=True))

    def encode_action(self, action: str) -> tuple[int, ...]:
        """Ids of a demonstrated action, its end included."""
        return (*self.tokenizer(action, add_special_tokens=False)["input_ids"], *self.end_ids)

    def decode_action(self, ids: tuple[int, ...]) -> str:
        """Text of the generated ids, without stop token and stop string."""
        text = self._decoded.get(ids)
        if text is None:
            kept = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
            text = _decode(self.tokenizer, kept)
            for stop in self.stop_strings:
                text = text.split(stop, 1)[0]
            text = text.strip()
            if len(self._decoded) < MAX_CACHED_TEXTS:
                self._decoded[ids] = text
        return text

    def is_stopped(self, ids: tuple[int, ...]) -> bool:
        """Whether a stop string has been generated (stop tokens are checked by the caller, on ids)."""
        return any(stop in self.tokenizer.decode(ids) for stop in self.stop_strings)


def conversation_for(tokenizer: Any, chat_template: bool, stop_strings: list[str]) -> Conversation:
    """Read turn markers off the tokenizer's chat template, or use plain text if it has none.

    Raises UserError if the template does not render turns as fixed text around the messages.
    """
    if not (chat_template and tokenizer.chat_template):
        if tokenizer.eos_token_id is None:
            raise UserError(f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token; set its eos_token")
        newline = tuple(tokenizer("\n", add_special_tokens=False)["input_ids"])
        if not newline:
            raise UserError(
                f"tokenizer {tokenizer.name_or_path!r} has no token for a line break, which ends plain-text actions; "
                "use a tokenizer with a chat template and chat_template: true"
            )
        return Conversation(
            tokenizer=tokenizer,
            opening="Observation: ",
            between="Observation: ",
            closing="\nAction:",
            end_ids=newline,
            stop_ids=frozenset({newline[-1], tokenizer.eos_token_id}),
            stop_strings=("\n", *stop_strings),
        )
    one = _render(tokenizer, [("user", _OBS)])
    two = _render(tokenizer, [("user", _OBS), ("assistant", _ACT), ("user", _OBS_2)])
    try:
        opening, closing = one.split(_OBS)
        head, rest = two.split(_OBS)
        answer, tail = rest.split(_OBS_2)
        lead, between = answer.split(_ACT)
    except ValueError:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} changes the text of messages; set chat_template: false"
        ) from None
    if (head, lead, tail) != (opening, closing, closing):
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} renders earlier turns differently from the last one; "
            "set chat_template: false"
        )
    end = tokenizer(between.strip(), add_special_tokens=False)["input_ids"][:1]
    special = {*tokenizer.all_special_ids, *(i for i, t in tokenizer.added_tokens_decoder.items() if t.special)}
    if not end or end[0] not in special:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} ends no action with a special token; "
            "set chat_template: false"
        )
    after_end = between.strip()[len(tokenizer.convert_ids_to_tokens(end[0])) :]
    trailing = between[len(between.rstrip()) :]
    return Conversation(
        tokenizer=tokenizer,
        opening=opening,
        between=after_end + trailing,
        closing=closing,
        end_ids=(end[0],),
        stop_ids=frozenset({end[0], tokenizer.eos_token_id} - {None}),
        stop_strings=tuple(stop_strings),
    )


def _encode_all(tokenizer: Any, texts: list[str]) -> list[tuple[int, ...]]:
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


def _render(tokenizer: Any, messages: list[tuple[str, str]]) -> str:
    turns = [{"role": role, "content": content} for role, content in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
