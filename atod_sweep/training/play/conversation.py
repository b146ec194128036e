"""How to talk to a model: read off its tokenizer and proven on awkward conversations before anything is played.

A template may number the rounds, drop thoughts, write the last turn otherwise than earlier ones, or treat some contents
in a way of its own. So what is read off it, fixed text around the messages, is compared with what `apply_chat_template`
makes of whole conversations, id by id; where it does not hold, each turn is rendered anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from atod_sweep.config.models import Thoughts
from atod_sweep.errors import UserError
from atod_sweep.training.play import thoughts
from atod_sweep.training.play.agent_format import WHOLE, AgentFormat
from atod_sweep.training.play.talk import Conversation, Exchange, Growing, PerTurn, Thinking, encode_all
from atod_sweep.training.play.templates import PLAIN, Message, Template, control_tokens, escaper, template_of
from atod_sweep.training.play.thoughts import Marks

_OBS, _OBS_2, _ACT = "OBSERVATION1", "OBSERVATION2", "ACTION1"
# Contents that templates and tokenizers trip over; a text of control tokens is added to the observations.
OBSERVATIONS = (
    "A door.",
    "",
    " \n two\n\nlines \n",
    "{{ x }} {% if y %} {z} %s",
    "Ü 漢字 🚪 e\u0301",
    "<b>\t[a](b)</b>",
)
ACTIONS = ("go north", "", "look {x} 漢", "take lamp\nand <go>", "4")
TURNS = 4


@dataclass(frozen=True)
class Manner:
    """How a model is to be addressed, beside what its tokenizer says.

    `kwargs`, `system` and `date` are for the template. `thoughts`: their budget and marks. `format`: how
    actions are asked for, and marked. `stop_ids` end an action too.
    """

    kind: Literal["auto", "growing", "per_turn"] = "auto"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    date: str = "2025-01-01"
    thoughts: Thoughts | None = None
    format: AgentFormat = WHOLE
    stop_ids: frozenset[int] = frozenset()

    @property
    def later(self) -> str:
        """The role in which all observations but the first are told."""
        return "user" if self.format.tools is None else "tool"

    def marks_of(self, known: Marks | None, where: str) -> Marks | None:
        """Those of the config, else those that are `known`. Raises UserError if thoughts are wanted and have none."""
        if self.thoughts is None:
            return known
        if self.thoughts.open is not None and self.thoughts.close is not None:
            return Marks.of(self.thoughts.open, self.thoughts.close)
        if known is None:
            raise UserError(
                f"thoughts: {where} marks none; set thoughts.open and thoughts.close, or leave thoughts out"
            )
        return known

    def thinking(self, tokenizer: Any, marks: Marks | None) -> Thinking | None:
        """The budget of thoughts, in the tokenizer's tokens."""
        if self.thoughts is None or marks is None:
            return None
        cut = tuple(tokenizer(marks.cut, add_special_tokens=False)["input_ids"])
        return Thinking(self.thoughts.tokens, cut, self.thoughts.learn)


def conversation_for(
    tokenizer: Any, chat_template: bool, stop_strings: list[str], manner: Manner | None = None
) -> Conversation:
    """A conversation in the tokenizer's chat template, or in plain text if it has none or none is wanted.

    Raises UserError for a template that fails, that has nothing to end an action, or that is not what `manner` wants.
    """
    manner = manner or Manner()
    if not (chat_template and tokenizer.chat_template):
        return _plain(tokenizer, stop_strings, manner)
    template = template_of(tokenizer, manner.kwargs, manner.system, manner.date)
    probe = _Probe.of(template, manner)
    talk: Conversation | None = None
    if manner.kind != "per_turn" and manner.format.steps is None:
        grown = _growing(probe)
        if isinstance(grown, str) and manner.kind == "growing":
            raise UserError(
                f"conversation: 'growing', but {template.name} {grown}, so a turn cannot be appended to what was said; "
                "set conversation: auto, or chat_template: false"
            )
        talk = None if isinstance(grown, str) else grown
    return replace(talk or _per_turn(probe), stop_strings=tuple(stop_strings))


def alike(mine: Conversation, theirs: Conversation) -> bool:
    """Whether two conversations over one vocabulary show a model the same, and end its actions alike."""

    def shown(talk: Conversation) -> list[int]:
        return talk.prompt([Exchange(OBSERVATIONS[0], talk.encode_action(ACTIONS[0]))], OBSERVATIONS[3])

    same_ends = mine.stop_ids == theirs.stop_ids and mine.end_ids == theirs.end_ids
    return type(mine) is type(theirs) and same_ends and shown(mine) == shown(theirs)


# ---- plain text --------------------------------------------------------------------------------------------------


def _plain(tokenizer: Any, stop_strings: list[str], manner: Manner) -> Conversation:
    if tokenizer.eos_token_id is None:
        raise UserError(f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token; set its eos_token")
    newline = tuple(tokenizer("\n", add_special_tokens=False)["input_ids"])
    if not newline:
        raise UserError(
            f"tokenizer {tokenizer.name_or_path!r} has no token for a line break, which ends plain-text actions; "
            "use a tokenizer with a chat template and chat_template: true"
        )
    for key, given in (("system", manner.system), ("chat_template_kwargs", dict(manner.kwargs))):
        if given:
            raise UserError(
                f"{key}: {given!r} is for a chat template, and {tokenizer.name_or_path!r} is talked to in plain text "
                "(it has none, or chat_template: false); leave it out"
            )
    common: dict[str, Any] = {
        "tokenizer": tokenizer,
        "end_ids": newline,
        "stop_ids": frozenset({newline[-1], tokenizer.eos_token_id}) | manner.stop_ids,
        "stop_strings": ("\n", *stop_strings),
        "escape": escaper(tokenizer, control_tokens(tokenizer, "")),
        "marks": (marks := manner.marks_of(None, "plain text")),
        "thinking": manner.thinking(tokenizer, marks),
        "format": manner.format,
        "first_ids": (tokenizer.bos_token_id,) if plain_start(tokenizer) else (),
    }
    if manner.format.steps is not None or manner.kind == "per_turn":
        once = common | {"end_ids": (), "close_ids": newline}
        return PerTurn(**once, renderer=Template(tokenizer, PLAIN), lead=" ")
    return Growing(
        **common, opening="Observation: ", between="Observation: ", closing="\nAction:", later_closing="\nAction:"
    )


def plain_start(tokenizer: Any) -> bool:
    """Whether plain text begins with the token that begins a text: where the tokenizer itself puts it there."""
    own, bare = (tokenizer("a", add_special_tokens=add)["input_ids"] for add in (True, False))
    return tokenizer.bos_token_id is not None and own[:1] == [tokenizer.bos_token_id] and own != bare


# ---- templates ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Probe:
    """A template and what it writes around one and two turns.

    `prompt` ends where an action begins; `closed` is a turn with its action, `two` goes on to the second prompt.
    """

    template: Template
    manner: Manner
    prompt: str
    closed: str
    two: str
    tokens: list[str]
    marks: Marks | None

    @staticmethod
    def of(template: Template, manner: Manner) -> _Probe:
        asked, said = {"role": "user", "content": _OBS}, {"role": "assistant", "content": _ACT}
        prompt = template.render([asked])
        closed = template.render([asked, said], prompt=False)
        two = template.render([asked, said, {"role": manner.later, "content": _OBS_2}])
        marks = manner.marks_of(thoughts.marks_in(template.source), template.name)
        of_thoughts = {marks.open, marks.close} if marks else set()
        tokens = [t for t in control_tokens(template.tokenizer, prompt + closed + two) if t not in of_thoughts]
        return _Probe(template, manner, prompt, closed, two, tokens, marks)

    def common(self, ends: set[int]) -> dict[str, Any]:
        """What both ways of talking are made of. `ends`: ids that the template ends an action with."""
        tokenizer, marks = self.template.tokenizer, self.marks
        stops = ends | self.manner.stop_ids | ({tokenizer.eos_token_id} - {None})
        if not stops:
            raise UserError(
                f"{self.template.name} ends no action with a special token, and the tokenizer has no end of text; "
                "set its eos_token, or chat_template: false"
            )
        opened = marks is not None and marks.open in self.prompt.rpartition(marks.close)[2]
        return {
            "tokenizer": tokenizer,
            "stop_ids": frozenset(stops),
            "escape": escaper(tokenizer, self.tokens),
            "marks": marks,
            "opened": opened,
            "thinking": self.manner.thinking(tokenizer, marks),
            "format": self.manner.format,
        }

    @property
    def apart(self) -> bool:
        """Whether the template reads thoughts from a field of their own."""
        names = ("reasoning_content", ".thinking", "['thinking']", '["thinking"]')
        return any(name in self.template.source for name in names)

    def first_control(self, text: str) -> tuple[str, int] | None:
        """The control token that a text begins with, after white space, and its id."""
        found = next((token for token in self.tokens if text.lstrip().startswith(token)), None)
        return (found, self.template.tokenizer.convert_tokens_to_ids(found)) if found else None


def _growing(probe: _Probe) -> Growing | str:
    """Fixed text around the messages, or why the template is none: what it does."""
    try:
        opening, closing = probe.prompt.split(_OBS)
        head, rest = probe.two.split(_OBS)
        answer, tail = rest.split(_OBS_2)
        lead, between = answer.split(_ACT)
    except ValueError:
        return "changes the text of messages"
    if (head, lead) != (opening, closing) or (tail != closing and probe.manner.format.tools is None):
        return "renders earlier turns differently from the last one"
    end = probe.first_control(between)
    if end is None:
        return "ends no action with a special token"
    plain = Growing(
        **probe.common({end[1]}),
        end_ids=(end[1],),
        opening=opening,
        between=between.lstrip()[len(end[0]) :],
        closing=closing,
        later_closing=tail,
    )
    for candidate in (plain, replace(plain, strips=True)):
        if all(_extends(candidate, probe, turns) for turns in _awkward(probe)):
            return candidate
    return "makes other ids of whole conversations than of their turns"


def _awkward(probe: _Probe) -> Iterator[list[tuple[str, str]]]:
    """Conversations of four turns in which every content stands at several places."""
    observations = [*OBSERVATIONS, " ".join(probe.tokens[:8])]
    answers = list(ACTIONS)
    if (marks := probe.marks) is not None:
        answers[1:1] = [f"{marks.open}\nhm{marks.cut}go on", f"{marks.open}\nhm\n\nno{marks.cut}".strip()]
    for shift in range(len(observations)):
        turns = range(shift, shift + TURNS)
        yield [(observations[i % len(observations)], answers[i % len(answers)]) for i in turns]


def _extends(talk: Growing, probe: _Probe, turns: list[tuple[str, str]]) -> bool:
    """Whether each whole prompt is the one before it, the action, its end, and the piece of the turn."""
    template = probe.template
    messages: list[Message] = []
    before: tuple[int, ...] = ()
    for i, (observation, said) in enumerate(turns):
        content = messages[-1]["content"] if messages else ""
        messages.append({"role": probe.manner.later if i else "user", "content": talk.escape(observation)})
        try:
            whole = encode_all(talk.tokenizer, [template.render(messages)])[0]
        except UserError:  # it refuses this content, which may never come
            return False
        piece = (*(talk.end_ids if i else ()), *talk.encode_turn(observation, first=i == 0))
        action = whole[len(before) : len(whole) - len(piece)]
        if whole != before + action + piece or not _same_text(talk.tokenizer, action, content):
            return False
        before = whole
        messages.append({"role": "assistant", "content": talk.escape(said)})
    return True


def _same_text(tokenizer: Any, ids: tuple[int, ...], text: str) -> bool:
    """Whether ids between two pieces are those of a text, which ids of that text alone may not be."""
    alone = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    return bool(tokenizer.decode(ids) == tokenizer.decode(alone))


def _per_turn(probe: _Probe) -> PerTurn:
    """Prompts rendered anew; actions end as the template ends them."""
    tokenizer = probe.template.tokenizer
    tail = probe.closed.rpartition(_ACT)[2] if _ACT in probe.closed else ""
    later = probe.two.partition(_ACT)[2]
    end = probe.first_control(tail) or probe.first_control(later)
    inside = probe.closed.startswith(probe.prompt) and _ACT in probe.closed
    lead = probe.closed[len(probe.prompt) :].partition(_ACT)[0] if inside else ""
    common = probe.common({end[1]} if end else set())
    last = end[1] if end else tokenizer.eos_token_id
    talk = PerTurn(
        **common,
        end_ids=(),
        renderer=probe.template,
        lead=lead,
        close_ids=() if last is None else (last,),
        apart=probe.apart,
    )
    # What the template refuses whatever the contents, such as a third turn, is told now.
    messages: list[Message] = []
    for i in range(TURNS):
        messages.append({"role": probe.manner.later if i else "user", "content": OBSERVATIONS[0]})
        probe.template.render(messages)
        messages.append({"role": "assistant", "content": ACTIONS[0]})
    return talk
