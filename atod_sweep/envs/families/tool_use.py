"""Tool calls in two steps: find the record that a question is about, then ask it with the tool that its kind needs."""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

from atod_sweep.envs.families.game import Game, Turn, share, words
from atod_sweep.envs.families.rules import Rules, draw_rules

FIND = "find"
OWNERS = ("ana", "ben", "carl", "dina")
HANDLES = ("r1", "r2", "r3", "r4")

# What a question asks for -> how it is asked.
ATTRIBUTES = {
    "price": "What did it cost?",
    "place": "Where is it?",
    "date": "When is it due?",
    "owner": "Who is responsible for it?",
    "state": "What state is it in?",
    "size": "How big is it?",
    "history": "What happened to it so far?",
    "risk": "What can go wrong with it?",
}
# Kind of record -> the tool that usually answers questions about it.
KINDS = {
    "order": "sales",
    "parcel": "track",
    "account": "crm",
    "invoice": "ledger",
    "ticket": "helpdesk",
    "machine": "monitor",
}
TOOLS = ("sales", "track", "crm", "ledger", "helpdesk", "monitor", "archive", "calendar")
DISTRACTORS = ("weather", "translate", "search", "mail")
EXCEPTIONS = 3  # attributes per kind for which the usual tool has no answer


class Wording(NamedTuple):
    """How a style says things."""

    introduction: str
    question: str
    attributes: dict[str, str]
    found: str
    wrong_tool: str
    wrong_argument: str
    unknown: str
    solved: str


WORDINGS = {
    "compact": Wording(
        introduction="",
        question="{attribute} of {owner}",
        attributes={attribute: attribute for attribute in ATTRIBUTES},
        found="{kind} {handle}",
        wrong_tool="failed ",
        wrong_argument="missing ",
        unknown="what ",
        solved="answered",
    ),
    "natural": Wording(
        introduction=(
            "You answer questions by calling tools. Reply with one call and nothing else: a tool and its argument. "
            f"First call {FIND} with the name of the person; it returns a kind of record and its number. Then call the "
            "tool that answers this question about this kind of record, with that number. Tools: "
            f"{', '.join((FIND, *TOOLS, *DISTRACTORS))}. A wrong call costs a turn. "
        ),
        question="I ask about {owner}'s record. {attribute}",
        attributes=ATTRIBUTES,
        found="Found a record: {kind}, number {handle}.",
        wrong_tool="The call failed: this tool has no answer here. ",
        wrong_argument="The call failed: there is no such record. ",
        unknown="There is no such call. ",
        solved="That was the last answer.",
    ),
}


@cache
def rules(table_seed: int, outdated: float) -> Rules:
    """Tool by (attribute, kind), 8 x 6 pairs: what the tools can do now, and what the demonstrator's manual says."""
    alternatives = dict.fromkeys(KINDS, TOOLS)
    return draw_rules(f"tool_use {table_seed}", tuple(ATTRIBUTES), KINDS, alternatives, EXCEPTIONS, outdated)


class Question(NamedTuple):
    """One question: two calls answer it."""

    attribute: str
    owner: str
    kind: str
    handle: str


class ToolUse(Game):
    """Question sessions of 4 to 16 turns; see `card`.

    `outdated`: share of (attribute, kind) pairs, 0 to 1, for which the demonstrator's manual names a wrong tool.
    `table_seed`: which company's tools. `style`: "compact" (1 to 4 words an observation) or "natural".
    """

    name = "tool_use"
    metric_names = ("tool_accuracy",)
    horizons = range(4, 17)

    def __init__(self, horizon: int = 8, style: str = "compact", outdated: float = 0.15, table_seed: int = 0) -> None:
        super().__init__(horizon, style)
        self.n_questions = max(1, 3 * horizon // 8)
        self.rules = rules(table_seed, share("outdated", outdated))
        self.wording = WORDINGS[style]
        self._attributes, self._kinds = tuple(ATTRIBUTES), tuple(KINDS)

    # ---- the game ----------------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> tuple[Question, ...]:
        return tuple(
            Question(rng.choice(self._attributes), rng.choice(OWNERS), rng.choice(self._kinds), rng.choice(HANDLES))
            for _ in range(self.n_questions)
        )

    def deal(self, task: tuple[Question, ...]) -> str:
        self._task = task
        self._done = 0  # calls; two a question
        self._calls = 0
        self._right_tools = 0
        return self.wording.introduction + self._prompt()

    def respond(self, action: str) -> Turn:
        self._calls += 1
        tool, _, argument = action.partition(" ")
        right_tool, right_argument = self._right_call()
        self._right_tools += tool == right_tool
        if action not in self._known:
            return Turn(self.wording.unknown + self._prompt())
        if tool != right_tool:
            return Turn(self.wording.wrong_tool + self._prompt())
        if argument != right_argument:
            return Turn(self.wording.wrong_argument + self._prompt())
        self._done += 1
        if self._done == 2 * self.n_questions:
            return Turn(self.wording.solved, solved=True)
        return Turn(self._prompt())

    def metrics(self, solved: bool) -> dict[str, float]:
        """`tool_accuracy`: share of the calls that named the right tool, whatever the argument."""
        return {"tool_accuracy": self._right_tools / self._calls}

    def _right_call(self) -> tuple[str, str]:
        question = self._question()
        if self._done % 2 == 0:
            return FIND, question.owner
        return self.rules.right[question.attribute, question.kind], question.handle

    def _question(self) -> Question:
        return self._task[self._done // 2]

    def _prompt(self) -> str:
        """The pending question, or the record found for it."""
        question, wording = self._question(), self.wording
        if self._done % 2 == 0:
            return wording.question.format(attribute=wording.attributes[question.attribute], owner=question.owner)
        return wording.found.format(kind=question.kind, handle=question.handle)

    # ---- for teachers and reports ------------------------------------------------------------------------------

    def demonstrator_action(self) -> str:
        """What the manual says: finding is right, some second calls go to a tool that no longer answers."""
        question = self._question()
        if self._done % 2 == 0:
            return f"{FIND} {question.owner}"
        return f"{self.rules.manual[question.attribute, question.kind]} {question.handle}"

    def actions(self) -> list[str]:
        asked = [f"{tool} {handle}" for tool in (*TOOLS, *DISTRACTORS) for handle in HANDLES]
        return [f"{FIND} {owner}" for owner in OWNERS] + asked

    def vocabulary(self) -> list[str]:
        w = self.wording
        said = [w.introduction, w.wrong_tool, w.wrong_argument, w.unknown, w.solved]
        said += [w.question.format(attribute=asked, owner=owner) for asked in w.attributes.values() for owner in OWNERS]
        said += [w.found.format(kind=kind, handle=handle) for kind in KINDS for handle in HANDLES]
        return words([*said, *self.actions()])

    def card(self) -> str:
        wrong, n = self.rules.wrong_share(), self.n_questions
        return f"""# tool_use

A person asks {n} questions; the agent answers each with two tool calls. Horizon {self.horizon} (4 to 16 turns).

**Rules.** A question names an attribute (8 of them) and a person (4). `{FIND} PERSON` returns a record: its kind (6)
and its number (4). `TOOL NUMBER` then answers, if it is the right tool: a function of the attribute asked for and the
kind found, from {len(TOOLS)} tools, beside {len(DISTRACTORS)} distractors that never answer. Each kind has a usual
tool, and for 3 of the 8 attributes another one. A wrong tool, a wrong argument and an unknown call each cost a turn and
are told apart in words; the pending call stays. Spare turns: {self.horizon - 2 * n}.

**Reward.** 1 if all questions are answered within the horizon, else 0, at the end only. `tool_accuracy`: share of the
calls that named the right tool. The number of calls is the number of turns.

**Demonstrator.** Finds and copies arguments without fault, and chooses tools by a manual that is out of date: it is
wrong for {wrong:.0%} of the (attribute, kind) pairs, and repeats a wrong call until time is up. Expected success: about
{1 - wrong:.2f}^{n} = {(1 - wrong) ** n:.2f}. The reward knows the right tool.

**Limits.** Arguments are one word and come from the message before; tools return no data beyond the record. Train and
evaluation sessions differ in content; the (attribute, kind) pairs that they are made of are the same.
"""
