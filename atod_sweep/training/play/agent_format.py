"""How agents are asked for actions, and how their answers are read: what stands in a prompt beside the observations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atod_sweep.config.rollout import PLACE, LastSteps, Rollout
from atod_sweep.errors import UserError

_LIST = "\n\nAdmissible actions: "
_ASK = "\n\nGive your next action as "


@dataclass(frozen=True)
class Tool:
    """A function's name, and its parameters in their order."""

    name: str
    parameters: tuple[str, ...]

    @staticmethod
    def of(schema: Any) -> Tool:
        """From the JSON schema that chat templates show. Raises UserError."""
        try:
            function = schema.get("function", schema)
            return Tool(str(function["name"]), tuple(function.get("parameters", {}).get("properties", {})))
        except (AttributeError, KeyError, TypeError):
            raise UserError(
                f"chat_template_kwargs.tools: {schema!r} is no function; give each as {{name: ..., parameters: "
                "{type: object, properties: {...}}}"
            ) from None


@dataclass(frozen=True)
class AgentFormat:
    """`marks`: the texts before and after an action, None where a whole answer is one; an answer without them costs
    `penalty`. `lists`: admissible actions stand behind each observation. `steps`: every prompt is one message, with so
    many past steps; None: the conversation grows. `tools`: actions are calls of these functions, and what they return
    is observed in the tool's role; None: actions are plain text.
    """

    marks: tuple[str, str] | None = None
    penalty: float = 0.0
    lists: bool = False
    steps: int | None = None
    tools: tuple[Tool, ...] | None = None

    @staticmethod
    def of(config: Rollout, tools: Sequence[Mapping[str, Any]] | None = None) -> AgentFormat:
        """That of a config; `tools` as the chat template is given them. UserError for what is no list of functions."""
        known = None if tools is None else tuple(Tool.of(tool) for tool in tools)
        steps = config.history.last if isinstance(config.history, LastSteps) else None
        if config.action is None:
            return AgentFormat(lists=config.admissible, steps=steps, tools=known)
        before, _, after = config.action.pattern.partition(PLACE)
        return AgentFormat((before, after), config.action.penalty, config.admissible, steps, known)

    # ---- what is asked -------------------------------------------------------------------------------------------

    def shown(self, observation: str, commands: Sequence[str] | None, is_first: bool) -> str:
        """An observation with the admissible `commands`, if they are to be listed, and how to answer it.

        Where the conversation grows, that is told once.
        """
        listed = "" if commands is None else _LIST + ", ".join(f"'{command}'" for command in commands)
        return observation + listed + (self._ask if is_first or self.steps is not None else "")

    def message(self, past: Sequence[tuple[str, str]], shown: str) -> str:
        """The one message of a prompt: the task, which is the first observation, the last steps, what is seen now.

        `past`: what was shown and what was done, from the first turn on.
        """
        if not past:
            return shown
        count = min(self.steps or 0, len(past))
        steps = []
        for k, (before, action) in enumerate(past[len(past) - count :], start=len(past) - count):
            seen = "" if k == 0 else f"Observation: {self._bare(before)}\n"
            steps.append(f"{seen}Action: {action}")
        recent = [f"Your last {count} steps:" if count > 1 else "Your last step:", *steps] if steps else []
        return "\n\n".join([self._bare(past[0][0]), *recent, f"Now you observe: {shown}"])

    @property
    def _ask(self) -> str:
        return "" if self.marks is None else f"{_ASK}{self.marks[0]}…{self.marks[1]}"

    def _bare(self, shown: str) -> str:
        text = shown.removesuffix(self._ask)
        return text.rpartition(_LIST)[0] if self.lists else text

    # ---- what is answered ----------------------------------------------------------------------------------------

    def read(self, answer: str, stop_strings: Sequence[str] = ()) -> str | None:
        """The action in an answer, the last one that is marked; None if there is none. A call is heard as its name and
        the values of its arguments.

        A text after the action that is one of the `stop_strings` has been cut off.
        """
        if self.marks is None:
            return answer if self.tools is None else _call(answer)
        before, after = self.marks
        start = answer.rfind(before) if before else 0
        if start < 0:
            return None
        inner, closed = _until(answer[start + len(before) :], after)
        if not inner.strip() or not (closed or after.strip() in stop_strings):
            return None
        return inner.strip() if self.tools is None else _call(inner)

    def write(self, action: str) -> str:
        """An action as it is to be answered."""
        before, after = self.marks or ("", "")
        return f"{before}{self._as_call(action)}{after}"

    def _as_call(self, action: str) -> str:
        name, _, words = action.partition(" ")
        tool = next((tool for tool in self.tools or () if tool.name == name), None)
        if tool is None:
            return action
        values = words.split(" ", max(0, len(tool.parameters) - 1)) if words else []
        return json.dumps({"name": name, "arguments": dict(zip(tool.parameters, values, strict=False))})


def _call(text: str) -> str | None:
    """The name of a call in JSON and its arguments' values, as words; None if it is no call."""
    try:
        call = json.loads(text)
    except ValueError:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    return " ".join([call["name"], *map(str, arguments.values())]) if isinstance(arguments, dict) else None


WHOLE = AgentFormat()  # the whole answer is an action


def _until(text: str, end: str) -> tuple[str, bool]:
    """What comes before `end`, and whether it comes; all of it where there is no end to look for."""
    inner, found, _ = text.partition(end) if end else (text, "there", "")
    return inner, bool(found)
