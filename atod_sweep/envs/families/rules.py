"""Rule tables that a small model can learn, and the out-of-date manual of the demonstrator."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

RuleTable = dict[tuple[str, str], str]


class Rules(NamedTuple):
    """What to do by (context, cue): the rules in force, and the demonstrator's manual."""

    right: RuleTable
    manual: RuleTable

    def wrong_share(self) -> float:
        """Share of the pairs that the manual gets wrong."""
        return sum(self.manual[pair] != self.right[pair] for pair in self.right) / len(self.right)


def draw_rules(
    seed: str,
    contexts: Sequence[str],
    usual: Mapping[str, str],
    alternatives: Mapping[str, Sequence[str]],
    exceptions: int,
    outdated: float,
) -> Rules:
    """The rule table of `seed`: each cue has its `usual` choice, and `exceptions` of the contexts make an exception.

    An exception is one of the cue's `alternatives` (the usual choice, if among them, is left out). The manual differs
    from the rules in round(outdated x pairs) pairs, spread evenly over the contexts: it does not know some exceptions
    and still lists some that were withdrawn. A larger `outdated` keeps the differences of a smaller one, and the rules
    do not depend on it.
    """
    rng = random.Random(seed)
    others = {cue: [choice for choice in alternatives[cue] if choice != usual[cue]] for cue in usual}
    right = {(context, cue): usual[cue] for cue in usual for context in contexts}
    for cue in usual:
        for context in rng.sample(list(contexts), exceptions):
            right[context, cue] = rng.choice(others[cue])
    manual = dict(right)
    order = {context: rng.sample(list(usual), len(usual)) for context in rng.sample(list(contexts), len(contexts))}
    pairs = [(context, cues[rank]) for rank in range(len(usual)) for context, cues in order.items()]
    for context, cue in pairs[: round(outdated * len(pairs))]:
        withdrawn = rng.choice(others[cue])
        manual[context, cue] = usual[cue] if right[context, cue] != usual[cue] else withdrawn
    return Rules(right, manual)
