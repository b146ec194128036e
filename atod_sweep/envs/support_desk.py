"""Multi-turn customer support: a fixed opening protocol, then decisions that depend on what the customer said."""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

from atod_sweep.envs.game import Game, Turn, words
from atod_sweep.envs.game import f1 as multiset_f1
from atod_sweep.errors import UserError

INTENTS = {
    "refund": "I would like my money back.",
    "exchange": "I would like to exchange my order.",
    "delay": "My order is late.",
    "damage": "My order came damaged.",
    "missing": "A part of my order is missing.",
    "billing": "I have a question about my bill.",
    "cancel": "I would like to cancel.",
    "upgrade": "I would like to upgrade my plan.",
    "login": "I cannot log in.",
    "warranty": "I have a warranty claim.",
}

# Account fact -> (the usual decision, the customer's sentence).
CUES = {
    "sealed": ("repay", "The box is still sealed."),
    "opened": ("credit", "I have opened the box."),
    "lost": ("replace", "The carrier says that the parcel is lost."),
    "transit": ("trace", "The parcel is still in transit."),
    "expired": ("renew", "My contract has expired."),
    "active": ("hold", "My contract is still active."),
    "locked": ("unlock", "My account is locked."),
    "paid": ("trace", "I have already paid."),
    "overdue": ("bill", "My last payment is overdue."),
    "duplicate": ("repay", "I was charged twice."),
    "premium": ("credit", "I am a premium member."),
    "fraud": ("escalate", "Somebody else has used my account."),
}
DECISIONS = ("repay", "credit", "replace", "trace", "renew", "hold", "unlock", "bill", "escalate", "decline")

NAMES = [
    "ana",
    "ben",
    "carl",
    "dina",
    "emil",
    "fay",
    "gus",
    "hana",
    "ivan",
    "jana",
    "kurt",
    "lena",
    "mia",
    "nils",
    "olga",
    "paul",
]
CODES = ("red", "blue", "green", "gold", "grey", "pink", "black", "white")


class Step(NamedTuple):
    """One protocol step: the action that does it, and what the customer says before it in either style."""

    action: str
    compact: str
    natural: str


PROTOCOL = (
    Step("greet", "hello {name}", "Hello, this is {name}."),
    Step("identify", "want {intent}", "{sentence}"),
    Step("verify {code}", "code {code}", "My security word is {code}."),
    Step("consent", "may record", "Is this call recorded?"),
    Step("notify", "team asks", "Does your team know about it?"),
    Step("open", "case next", "Then please start on my case."),
)
INTRODUCTION = (
    "You work at a support desk. Answer every message with one action and nothing else. First follow the protocol, one "
    "step per message: greet, identify, verify and the customer's security word, consent, notify, open (short calls "
    "leave the last ones out). Then decide on each fact that the customer reports, as our policy for the customer's "
    f"request demands. Decisions: {', '.join(DECISIONS)}. A wrong action costs a turn."
)
REFUSED = {"compact": "no", "natural": "No, that is not the right action here."}
UNKNOWN = {"compact": "what", "natural": "That is not an action of this desk."}
SOLVED = {"compact": "thank you", "natural": "Thank you, that is all I needed."}

# Share of the intents for which a cue's usual decision does not hold.
_EXCEPTIONS = 0.3

Policy = dict[tuple[str, str], str]


class Policies(NamedTuple):
    """Decision by (intent, cue): the one in force, and the one in the demonstrator's manual."""

    right: Policy
    manual: Policy


@cache
def policies(table_seed: int, outdated: float) -> Policies:
    """The rule table of `table_seed`: each cue has a usual decision, three of the ten intents make an exception.

    The manual differs from it in round(outdated x 120) pairs, spread evenly over the intents: it does not know some
    exceptions, and still lists some that were withdrawn. A larger `outdated` keeps the differences of a smaller one.
    """
    rng = random.Random(f"support_desk {table_seed}")
    intents = list(INTENTS)
    right = {(intent, cue): usual for cue, (usual, _) in CUES.items() for intent in intents}
    for cue, (usual, _) in CUES.items():
        for intent in rng.sample(intents, round(_EXCEPTIONS * len(intents))):
            right[intent, cue] = rng.choice([d for d in DECISIONS if d != usual])
    manual = dict(right)
    order = {intent: rng.sample(list(CUES), len(CUES)) for intent in rng.sample(intents, len(intents))}
    pairs = [(intent, cues[rank]) for rank in range(len(CUES)) for intent, cues in order.items()]
    for intent, cue in pairs[: round(outdated * len(pairs))]:
        usual = CUES[cue][0]
        withdrawn = rng.choice([d for d in DECISIONS if d != usual])
        manual[intent, cue] = usual if right[intent, cue] != usual else withdrawn
    return Policies(right, manual)


class Task(NamedTuple):
    """One call. `code` is empty where the protocol is too short to ask for it."""

    name: str
    intent: str
    code: str
    cues: tuple[str, ...]


class SupportDesk(Game):
    """Support calls of 4 to 16 turns; see `card`.

    `outdated`: share of (intent, cue) pairs, 0 to 1, that the demonstrator's manual gets wrong. `table_seed`: which
    company's policy. `style`: "compact" (1 to 3 words an observation) or "natural" (English sentences).
    """

    name = "support_desk"
    horizons = range(4, 17)

    def __init__(self, horizon: int = 8, style: str = "compact", outdated: float = 0.15, table_seed: int = 0) -> None:
        super().__init__(horizon, style)
        if not 0 <= outdated <= 1:
            raise UserError(f"env.kwargs.outdated: a share from 0 to 1, got {outdated!r}")
        self.outdated = outdated
        self.n_protocol = max(2, 3 * horizon // 8)
        self.n_decisions = max(1, 3 * horizon // 8)
        self.policies = policies(table_seed, outdated)
        self._legal = frozenset(self.actions())
        self._cues = list(CUES)
        self._intents = list(INTENTS)

    # ---- the game ----------------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Task:
        code = rng.choice(CODES) if self.n_protocol > 2 else ""
        return Task(
            rng.choice(NAMES), rng.choice(self._intents), code, tuple(rng.choices(self._cues, k=self.n_decisions))
        )

    def deal(self, task: Task) -> str:
        self._task = task
        self._required = [step.action.format(code=task.code) for step in PROTOCOL[: self.n_protocol]]
        self._required += [self.policies.right[task.intent, cue] for cue in task.cues]
        self._performed: list[str] = []
        self._done = 0
        first = self._prompt()
        return first if self.style == "compact" else f"{INTRODUCTION} {first}"

    def play(self, action: str) -> Turn:
        self._performed.append(action)
        if action == self._required[self._done]:
            self._done += 1
            if self._done == len(self._required):
                return Turn(SOLVED[self.style], solved=True)
            return Turn(self._prompt())
        refusal = REFUSED if action in self._legal else UNKNOWN
        return Turn(f"{refusal[self.style]} {self._prompt()}")

    def metrics(self, solved: bool) -> dict[str, float]:
        """`f1` of required against performed actions."""
        return {"f1": multiset_f1(self._required, self._performed)}

    def _prompt(self) -> str:
        task, compact = self._task, self.style == "compact"
        if self._done >= self.n_protocol:
            cue = task.cues[self._done - self.n_protocol]
            return f"status {cue}" if compact else CUES[cue][1]
        step = PROTOCOL[self._done]
        if compact:
            return step.compact.format(name=task.name, intent=task.intent, code=task.code)
        return step.natural.format(name=task.name.capitalize(), sentence=INTENTS[task.intent], code=task.code)

    # ---- for teachers and reports ------------------------------------------------------------------------------

    def demonstrator_action(self) -> str:
        """What the manual says; right in the protocol, out of date for some decisions."""
        if self._done < self.n_protocol:
            return self._required[self._done]
        return self.policies.manual[self._task.intent, self._task.cues[self._done - self.n_protocol]]

    def actions(self) -> list[str]:
        verify = [f"verify {code}" for code in CODES]
        return [step.action for step in PROTOCOL if "{" not in step.action] + verify + list(DECISIONS)

    def vocabulary(self) -> list[str]:
        said = [REFUSED[self.style], UNKNOWN[self.style], SOLVED[self.style]]
        if self.style == "compact":
            said += [*NAMES, *INTENTS, *CODES, "status", *CUES]
            said += [step.compact.split()[0] for step in PROTOCOL] + ["record", "asks", "next"]
        else:
            said += [INTRODUCTION, *INTENTS.values(), *(sentence for _, sentence in CUES.values())]
            said += [PROTOCOL[0].natural.format(name=name.capitalize()) for name in NAMES]
            said += [PROTOCOL[2].natural.format(code=code) for code in CODES]
            said += [PROTOCOL[i].natural for i in (3, 4, 5)]
        return words([*said, *self.actions()])

    def card(self) -> str:
        right, manual = self.policies
        wrong = sum(manual[pair] != right[pair] for pair in right) / len(right)
        return f"""# support_desk

A customer calls; the agent answers each message with one action. Horizon {self.horizon} (4 to 16 turns).

**Rules.** {self.n_protocol} protocol steps in fixed order ({", ".join(s.action for s in PROTOCOL[: self.n_protocol])}),
then {self.n_decisions} decisions. The customer states an intent (10 of them) before the second step and one account
fact (12) before each decision; the right decision (10) is a function of the intent and the current fact. Each fact has
a usual decision, and 3 of the 10 intents make an exception to it. A wrong action costs a turn and is refused in words;
the pending step stays. Spare turns: {self.horizon - self.n_protocol - self.n_decisions}.

**Reward.** 1 if all steps are done within the horizon, else 0, at the end only. `f1`: multiset F1 of required against
performed actions.

**Demonstrator.** Plays the protocol without fault and decides by a manual that is out of date: it is wrong for
{wrong:.0%} of the (intent, fact) pairs, and repeats a wrong decision until time is up. Expected success: about
{1 - wrong:.2f}^{self.n_decisions} = {(1 - wrong) ** self.n_decisions:.2f}. The reward knows the right decision.

**Limits.** The policy is small enough to be learned by heart, facts are drawn independently of each other, and a
customer never lies or changes the subject. Train and evaluation calls differ in content; the (intent, fact) pairs that
they are made of are the same.
"""
