"""How agents are asked for actions, and how their answers are read: what stands in a prompt beside the observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atod_sweep.config.rollout import PLACE, LastSteps, Rollout

_LIST = "\n\nAdmissible actions: "
_ASK = "\n\nGive your next action as "


@dataclass(frozen=True)
class AgentFormat:
    """`marks`: the texts before and after an action, None where a whole answer is one; an answer without them costs
    `penalty`. `lists`: admissible actions stand behind each observation. `steps`: every prompt is one message, with so
    many past steps; None: the conversation grows.
    """

    marks: tuple[str, str] | None = None
    penalty: float = 0.0
    lists: bool = False
    steps: int | None = None

    @staticmethod
    def of(config: Rollout) -> AgentFormat:
        """That of a config."""
        steps = config.history.last if isinstance(config.history, LastSteps) else None
        if config.action is None:
            return AgentFormat(lists=config.admissible, steps=steps)
        before, _, after = config.action.pattern.partition(PLACE)
        return AgentFormat((before, after), config.action.penalty, config.admissible, steps)

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
        """The observation alone."""
        text = shown.removesuffix(self._ask)
        return text.rpartition(_LIST)[0] if self.lists else text

    # ---- what is answered ----------------------------------------------------------------------------------------

    def read(self, answer: str, stop_strings: Sequence[str] = ()) -> str | None:
        """The action in an answer, the last one that is marked; None if there is none.

        A text after the action that is one of the `stop_strings` has been cut off.
        """
        if self.marks is None:
            return answer
        before, after = self.marks
        start = answer.rfind(before) if before else 0
        if start < 0:
            return None
        inner, closed = _until(answer[start + len(before) :], after)
        return inner.strip() if inner.strip() and (closed or after.strip() in stop_strings) else None

    def write(self, action: str) -> str:
        """An action as it is to be answered."""
        return action if self.marks is None else f"{self.marks[0]}{action}{self.marks[1]}"


WHOLE = AgentFormat()  # the whole answer is an action


def _until(text: str, end: str) -> tuple[str, bool]:
    """What comes before `end`, and whether it comes; all of it where there is no end to look for."""
    inner, found, _ = text.partition(end) if end else (text, "there", "")
    return inner, bool(found)
