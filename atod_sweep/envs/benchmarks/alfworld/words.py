"""ALFWorld's text for small models: words only, and the list of all of them."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

from atod_sweep.envs.benchmarks.alfworld import wheel
from atod_sweep.envs.benchmarks.alfworld.game import own_grammar
from atod_sweep.envs.benchmarks.alfworld.grammar import Part, Value

COMMANDS = "Admissible commands:"  # introduces the list that an observation may end with

# Names are numbered per type; no floor plan has more of one receptacle.
_HIGHEST_NUMBER = 30


def compact(text: str) -> str:
    """Lower-case words and numbers between single spaces."""
    return " ".join(re.findall(r"[\w']+", text.lower()))


def vocabulary(natural: bool) -> list[str]:
    """Every word of generated games, split at white space, with punctuation attached if `natural`. Sorted."""
    grammar, tables = own_grammar(), wheel.affordances()
    phrases = [phrase for template in grammar.commands.values() for phrase in _phrases(template)]
    for alternatives in grammar.rules.values():
        phrases += [phrase for alternative in alternatives for phrase in _phrases(alternative.parts)]
    kinds = {kind.lower() for kind in tables.receptacles.union(*tables.holds.values(), tables.actions["Toggleable"])}
    sentences = " ".join(sentence for task in wheel.task_texts().values() for sentence in task.sentences)
    phrases += [COMMANDS, *kinds, re.sub(r"\{\w+\}", " ", sentences)]
    numbers = [str(n) for n in range(1, _HIGHEST_NUMBER + 1)]
    if not natural:
        return sorted({word for phrase in [*phrases, *numbers] for word in compact(phrase).split()})
    # What a phrase starts with may hang on a name, a type, or a word that stands alone: "1.", "fridge.", "nothing."
    ends = {phrase.split()[0] for phrase in phrases if phrase.strip() and phrase[0] in string.punctuation}
    stems = {*numbers, *(phrase for phrase in phrases if phrase.isalpha())}
    words = {word for phrase in phrases for word in phrase.split()}
    return sorted(words | {stem + end for stem in stems for end in {*ends, ""}})


def _phrases(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Value):
            yield from part.literals
