"""What a chat template makes of messages: rendered as `apply_chat_template` does, with its date held still.

A template is foreign code that runs on foreign text. What it raises becomes one line; the control tokens that messages
spell are taken apart, so that only the template itself writes any.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atod_sweep.errors import UserError, in_a_line

Message = Mapping[str, str]
# What a date is made of, in the directives that templates use.
_DIRECTIVES = ("-d", "-m", "A", "B", "H", "M", "S", "Y", "a", "b", "d", "e", "j", "m", "y")


# How conversations are written down without a chat template, as one; a line break ends an action.
PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }}\n"
    "{% else %}Observation: {{ m['content'] }}\nAction:{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Template:
    """A tokenizer's chat template, and what it is given beside the messages."""

    tokenizer: Any
    source: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None

    @property
    def name(self) -> str:
        """What to call it in messages to the user."""
        return f"the chat template of {self.tokenizer.name_or_path!r}"

    def render(self, messages: Sequence[Message], prompt: bool = True) -> str:
        """The text of the messages, the system's first."""
        said = [{"role": "system", "content": self.system}] if self.system is not None else []
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [*said, *messages],
                    chat_template=self.source,
                    tokenize=False,
                    add_generation_prompt=prompt,
                    **self.kwargs,
                )
            )
        except Exception as error:  # whatever a template raises
            line = getattr(error, "lineno", None)
            place = f" (line {line - self.source.startswith(_CLOCK)})" if line else ""
            remedy = f"try it with{'out its' if said else ' a'} system message (system: ...)"
            if line:  # it cannot be read
                remedy = "mend it"
            raise UserError(
                f"{self.name} fails with {in_a_line(error)}{place}; {remedy}, or set chat_template: false"
            ) from error


_CLOCK = "{% macro strftime_now(format) %}"


def template_of(
    tokenizer: Any, kwargs: Mapping[str, Any] | None = None, system: str | None = None, date: str = "2025-01-01"
) -> Template:
    """The tokenizer's template, in which it is always `date` (YYYY-MM-DD). Raises UserError if it has several."""
    try:
        source = str(tokenizer.get_chat_template())
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"tokenizer {tokenizer.name_or_path!r}: {reason}; or set chat_template: false") from None
    return Template(tokenizer, dated(source, date), dict(kwargs or {}), system)


def dated(source: str, date: str) -> str:
    """A template that asks for the time, with a macro before it that answers with `date`, at midnight."""
    if "strftime_now" not in source:
        return source
    day = datetime.date.fromisoformat(date)
    answers = "".join(f" | replace('%{d}', {_strftime(day, d)!r})" for d in _DIRECTIVES)
    return f"{_CLOCK}{{{{ format{answers} }}}}{{% endmacro %}}\n{source}"


def _strftime(day: datetime.date, directive: str) -> str:
    match directive:
        case "-d":
            return str(day.day)
        case "-m":
            return str(day.month)
        case _:
            return day.strftime(f"%{directive}")


def with_defaults(source: str, kwargs: Mapping[str, Any], system: str | None) -> str:
    """A template that acts as if it were given `kwargs`, and a `system` message, where it is given none of its own."""
    lines = [
        f"{{% if {name} is not defined or {name} is none %}}{{% set {name} = {value!r} %}}{{% endif %}}\n"
        for name, value in kwargs.items()  # Jinja writes plain values as Python does
    ]
    if system is not None:
        message = {"role": "system", "content": system}
        lines.append(
            "{% if not messages or messages[0]['role'] != 'system' %}"
            f"{{% set messages = [{message!r}] + messages %}}{{% endif %}}\n"
        )
    return "".join(lines) + source


# ---- control tokens ----------------------------------------------------------------------------------------------


def control_tokens(tokenizer: Any, written: str) -> list[str]:
    """The texts of the special tokens, and of the added ones that a template has `written` as its frame; longest first.

    Some frames are made of tokens that are not marked as special. Words and white space are not meant.
    """
    added = tokenizer.added_tokens_decoder.values()
    found = {*tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}
    found |= {str(token) for token in added if str(token) in written and not str(token).strip().isalnum()}
    return sorted((text for text in found if text.strip()), key=lambda text: (-len(text), text))


def escaper(tokenizer: Any, tokens: Iterable[str]) -> Callable[[str], str]:
    """What takes apart the control tokens that a text spells: `<|end|>` becomes `< |end|>`."""
    texts = list(tokens)
    if not texts:
        return lambda text: text
    ids = set(tokenizer.convert_tokens_to_ids(texts))
    swapped = tokenizer(" ".join(t.swapcase() for t in texts if t.swapcase() != t), add_special_tokens=False)
    either_case = re.IGNORECASE if ids & set(swapped["input_ids"]) else 0
    pattern = re.compile("|".join(map(re.escape, texts)), either_case)

    def apart(match: re.Match[str]) -> str:
        text = match.group()
        return f"{text[0]} {text[1:]}" if len(text) > 1 and text[1] != " " else ""

    def escape(text: str) -> str:
        while pattern.search(text):
            text = pattern.sub(apart, text)
        return text

    return escape
