"""ALFWorld's wording: a reader and a renderer of its `.twl2` grammar.

A rule of the grammar is a list of alternatives; the first whose condition holds is used. Texts hold `#another rule#`,
`{o.name}` and `[{o.name | inreceptacle(o:object, r:receptacle)}]`: the list of all answers to a query. Conditions and
queries are conjunctions of facts and are answered as textworld does it: depth first over sorted facts, two variables
never standing for the same entity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from atod_sweep.errors import UserError

Tuple = tuple[int, ...]
Facts = Mapping[
    str, Sequence[Tuple]
]  # predicate -> sorted argument tuples; entities are numbered in their sorted order
Scope = dict[str, int]  # variable -> entity
Query = tuple[tuple[str, tuple[str, ...]], ...]  # conjunction of (predicate, variables)


@dataclass(frozen=True)
class Value:
    """`{o.indefinite + ' ' + o.name}` as ("a ", "o"): literals, and variables to be named."""

    literals: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """`#rule#`"""

    rule: str


@dataclass(frozen=True)
class Listing:
    """`[{item | query}]`"""

    item: Value | Call
    query: Query


Part = str | Value | Call | Listing


@dataclass(frozen=True)
class Alternative:
    condition: Query
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Grammar:
    """`commands`: action (in lower case) -> template; `feedback`: action -> rule; `rules`: rule -> alternatives."""

    commands: dict[str, tuple[Part, ...]]
    feedback: dict[str, str]
    rules: dict[str, tuple[Alternative, ...]]

    @property
    def task(self) -> str:
        """The sentence that states the task."""
        return "".join(part for part in self.rules["task"][0].parts if isinstance(part, str))

    def with_task(self, sentence: str) -> Grammar:
        """This grammar with UNKNOWN GOAL replaced."""
        text = self.task.replace("UNKNOWN GOAL", sentence)
        return replace(self, rules={**self.rules, "task": (Alternative((), (text,)),)})


# ---- reading -----------------------------------------------------------------------------------------------------

_ACTION = re.compile(r"action\s+([\w/-]+)\s*\{(.*?)\n\}", re.DOTALL)
_TEMPLATE = re.compile(r'template\s*::\s*"([^"]*)"')
_FEEDBACK = re.compile(r'feedback\s*::\s*"#([^"#]*)#"')
_RULES = re.compile(r'grammar\s*::\s*"""(.*?)"""', re.DOTALL)
_PART = re.compile(
    r"#(?P<call>[^#{}\[\]]+)#"
    r"|\[\{(?P<item>[^{}\[\]|]+)\|(?P<query>[^{}\[\]]+)\}\]"
    r"|\{(?P<value>[^{}\[\]|]+)\}"
    r"|(?P<text>[^#{}\[\]]+)"
)
_TERM = re.compile(r"'([^']*)'|(\w+)\.indefinite|(\w+)(?:\.name(?: or \w+\.id)?)?")
_FACT = re.compile(r"([\w-]+)\(([^()]*)\)")


def read(text: str) -> Grammar:
    """The grammar of a `.twl2` text. Raises UserError where a rule is written in a way that is not known here."""
    commands, feedback = {}, {}
    for name, body in _ACTION.findall(text):
        template, rule = _TEMPLATE.search(body), _FEEDBACK.search(body)
        if template is None or rule is None:
            raise UserError(f"ALFWorld grammar: action {name!r} lacks a template or a feedback rule")
        commands[name.lower()] = _parts(template[1])
        feedback[name.lower()] = rule[1]
    rules = {}
    for block in _RULES.findall(text):
        for rule_name, alternatives in json.loads(block).items():
            rules[rule_name] = tuple(
                Alternative(_query(each.get("condition", "")), _parts(each["rhs"])) for each in alternatives
            )
    return Grammar(commands, feedback, rules)


def check(found: Grammar, actions: Iterable[str]) -> None:
    """UserError for a grammar that lacks words for one of these actions, or a rule that it names."""
    parts = [part for rule in found.rules.values() for each in rule for part in each.parts]
    calls = [part.item if isinstance(part, Listing) else part for part in parts]
    named = ["intro", "task", *found.feedback.values(), *(call.rule for call in calls if isinstance(call, Call))]
    lists = ["list_empty", "list_separator", "list_last_separator"]
    for what, wanted, there in (("action", actions, found.commands), ("rule", [*named, *lists], found.rules)):
        if lost := sorted(set(wanted) - set(there)):
            raise UserError(f"ALFWorld grammar: lacks the {what} {lost[0]!r}; fetch the game again")


def _parts(text: str) -> tuple[Part, ...]:
    """As textworld reads them: white space at the start is lost, and a text ends at a brace without a partner."""
    parts: list[Part] = []
    end = len(text) - len(text.lstrip())
    while match := _PART.match(text, end):
        end = match.end()
        if match["call"]:
            parts.append(Call(match["call"]))
        elif match["item"]:
            item = match["item"].strip()
            parts.append(Listing(Call(item.strip("#")) if item[0] == "#" else _value(item), _query(match["query"])))
        else:
            parts.append(_value(match["value"]) if match["value"] else match["text"])
    return tuple(parts)


def _value(expression: str) -> Value:
    """Every entity's indefinite article is "a"; literals[i] comes before variables[i], the last literal at the end."""
    literals, variables = [""], []
    for term in expression.split(" + "):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise UserError(f"ALFWorld grammar: cannot read the expression {expression!r}")
        literal, article, variable = match.groups()
        if variable:
            variables.append(variable)
            literals.append("")
        else:
            literals[-1] += "a" if article else literal
    return Value(tuple(literals), tuple(variables))


def _query(text: str) -> Query:
    facts = _FACT.findall(text)
    return tuple((name.lower(), tuple(v.split(":")[0].strip() for v in args.split(","))) for name, args in facts)


# ---- rendering ---------------------------------------------------------------------------------------------------


def render(grammar: Grammar, rule: str, scope: Scope, facts: Facts, names: Sequence[str]) -> str:
    """The text of a rule in the state that `facts` describe; `names[entity]` is an entity's name."""
    for alternative in grammar.rules[rule]:
        if not alternative.condition or next(solve(alternative.condition, scope, facts), None) is not None:
            return render_parts(grammar, alternative.parts, scope, facts, names)
    raise UserError(f"ALFWorld grammar: no alternative of {rule!r} applies")


def render_parts(grammar: Grammar, parts: tuple[Part, ...], scope: Scope, facts: Facts, names: Sequence[str]) -> str:
    return "".join([_render_part(grammar, part, scope, facts, names) for part in parts])


def _render_part(grammar: Grammar, part: Part, scope: Scope, facts: Facts, names: Sequence[str]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Value):
        text = part.literals[0]
        for variable, literal in zip(part.variables, part.literals[1:], strict=True):
            text += names[scope[variable]] + literal
        return text
    if isinstance(part, Call):
        return render(grammar, part.rule, scope, facts, names)
    items = [_render_part(grammar, part.item, found, facts, names) for found in solve(part.query, scope, facts)]
    if len(items) < 2:
        return items[0] if items else render(grammar, "list_empty", scope, facts, names)
    comma = render(grammar, "list_separator", scope, facts, names)
    last = render(grammar, "list_last_separator", scope, facts, names)
    return comma.join(items[:-1]) + last + items[-1]


def solve(query: Query, scope: Scope, facts: Facts) -> Iterator[Scope]:
    """All ways to make a conjunction true, each as `scope` with the variables that were free filled in."""
    if not query:
        yield scope
        return
    (predicate, variables), rest = query[0], query[1:]
    rows = facts.get(predicate, ())
    for i, variable in enumerate(variables):
        if variable in scope:
            entity = scope[variable]
            rows = [row for row in rows if row[i] == entity]
    for row in rows:
        new = {variable: entity for variable, entity in zip(variables, row, strict=True) if variable not in scope}
        if len(set(new.values())) == len(new) and set(scope.values()).isdisjoint(new.values()):
            yield from solve(rest, {**scope, **new}, facts)
