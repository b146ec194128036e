"""Debugging: run a small program, read the check that fails first, replace the operator, run again.

The programs are straight lines of `operator constant` on one register of three bits. They are interpreted by table
look-up (`RESULT`); no text of a model is ever evaluated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from atod_sweep.envs.families.game import Game, Turn, share, words

SIZE = 8  # values of a register
CONSTANTS = (2, 3)
OPERATORS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, c: a + c,
    "sub": lambda a, c: a - c,
    "mul": lambda a, c: a * c,
    "div": lambda a, c: a // c,
    "max": lambda a, c: max(a, c),
    "min": lambda a, c: min(a, c),
}
RUN = "run"

# RESULT[operator][a, c]: what the machine computes; results wrap around.
RESULT = {op: {(a, c): apply(a, c) % SIZE for a in range(SIZE) for c in CONSTANTS} for op, apply in OPERATORS.items()}
# The release that the demonstrator knows: results stayed at the ends of the range instead.
OLD_RESULT = {
    op: {(a, c): min(max(apply(a, c), 0), SIZE - 1) for a in range(SIZE) for c in CONSTANTS}
    for op, apply in OPERATORS.items()
}


class Line(NamedTuple):
    """One statement: register = register `op` `constant`."""

    op: str
    constant: int


_LINES = [Line(op, constant) for op in OPERATORS for constant in CONSTANTS]


class Failure(NamedTuple):
    """A check that fails at `line`: the register held `before`, rightly; after the line, `want` was due."""

    line: int
    before: int
    want: int


class Task(NamedTuple):
    """A buggy program, what it should be, and the inputs that it is checked on."""

    buggy: tuple[Line, ...]
    intended: tuple[Line, ...]
    inputs: tuple[int, ...]


@cache
def possible_fixes(before: int, constant: int, want: int) -> tuple[str, ...]:
    """Operators that would meet the check."""
    return tuple(op for op in OPERATORS if RESULT[op][before, constant] == want)


def line_failure(number: int, line: Line, due: Line, registers: Sequence[int]) -> Failure | None:
    """The most telling failure of one line: the one that the fewest operators would repair, the first of a tie."""
    failures = [
        Failure(number, before, RESULT[due.op][before, due.constant])
        for before in registers
        if RESULT[line.op][before, line.constant] != RESULT[due.op][before, due.constant]
    ]
    return min(failures, key=lambda f: len(possible_fixes(f.before, line.constant, f.want)), default=None)


def first_failure(program: Sequence[Line], intended: Sequence[Line], inputs: tuple[int, ...]) -> Failure | None:
    """The most telling failure of the first wrong line, or None."""
    registers = inputs
    for number, (line, due) in enumerate(zip(program, intended, strict=True)):
        if line != due and (failure := line_failure(number, line, due, registers)):
            return failure
        registers = _apply(due, registers)
    return None


def _apply(line: Line, registers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([RESULT[line.op][register, line.constant] for register in registers])


def passed_share(program: list[Line], intended: tuple[Line, ...], inputs: tuple[int, ...]) -> float:
    """Share of the inputs for which the program's last register is right."""
    ends = [(value, value) for value in inputs]
    for line, due in zip(program, intended, strict=True):
        ends = [(RESULT[line.op][a, line.constant], RESULT[due.op][b, due.constant]) for a, b in ends]
    return sum(a == b for a, b in ends) / len(ends)


def demonstrated_fix(line: Line, failure: Failure) -> str:
    """The other operator whose result in the old release comes nearest to what was wanted; the first one of a tie."""
    at = failure.before, line.constant
    return min((op for op in OPERATORS if op != line.op), key=lambda op: abs(OLD_RESULT[op][at] - failure.want))


class Bug(NamedTuple):
    """A line, and the same line with a wrong operator."""

    intended: Line
    buggy: Line


@cache
def bugs(registers: tuple[int, ...]) -> dict[bool, list[Bug]]:
    """Bugs for a line before which the inputs' registers are these: those that mislead the demonstrator, and others.

    The failure leaves one operator possible, and the registers still differ after the line, so that later lines can be
    told apart too. Registers at which no bug misleads have honest bugs in both lists (8 of 504).
    """
    found: dict[bool, list[Bug]] = {True: [], False: []}
    for intended in _LINES:
        if len(set(_apply(intended, registers))) == 1:
            continue
        for buggy in (Line(op, intended.constant) for op in OPERATORS if op != intended.op):
            failure = line_failure(0, buggy, intended, registers)
            if failure and len(possible_fixes(failure.before, intended.constant, failure.want)) == 1:
                found[demonstrated_fix(buggy, failure) != intended.op].append(Bug(intended, buggy))
    return {True: found[True] or found[False], False: found[False]}


class Wording(NamedTuple):
    """How a style says things."""

    program: str
    line: str
    failure: str
    edited: str
    run_first: str
    unknown: str
    solved: str


WORDINGS = {
    "compact": Wording(
        program="program {lines}",
        line="{op} {constant}",
        failure="{before} {op} {constant} want {want}",
        edited="edited",
        run_first="run first",
        unknown="what ",
        solved="passed",
    ),
    "natural": Wording(
        program=(
            f"Repair a program. It works on one register that holds 0 to {SIZE - 1}; results wrap around, so {SIZE} is "
            f"0 and -1 is {SIZE - 1}, and div rounds down. Some operators are wrong; the constants are right. Reply "
            f"with one command and nothing else: {RUN} checks the program and stops at the first wrong line; the name "
            f"of an operator ({', '.join(OPERATORS)}) replaces the one on that line. Then {RUN} it again. The program: "
            "{lines}"
        ),
        line="{op} {constant};",
        failure="Line {number} is wrong: {before} {op} {constant} should give {want}.",
        edited="The line is edited.",
        run_first="There is nothing to edit before the program has run.",
        unknown="That is not a command. ",
        solved="All checks pass.",
    ),
}


def _n_bugs(horizon: int) -> int:
    return max(1, 3 * (horizon - 1) // 8)


class CodeDebug(Game):
    """Debugging sessions of 4 to 24 turns; see `card`.

    `outdated`: share of the bugs, 0 to 1, at which the demonstrator is misled by the old release. `style`: "compact" (1
    to 6 words an observation after the program) or "natural".
    """

    name = "code_debug"
    metric_names = ("pass@1", "checks")
    horizons = range(4, 25)

    def __init__(self, horizon: int = 8, style: str = "compact", outdated: float = 0.25) -> None:
        super().__init__(horizon, style)
        self.outdated = share("outdated", outdated)
        self.n_bugs = _n_bugs(horizon)
        self.n_lines = self.n_bugs + 2
        self.wording = WORDINGS[style]

    # ---- the game ----------------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Task:
        inputs = registers = tuple(rng.sample(range(SIZE), 3))
        bug_lines = set(rng.sample(range(self.n_lines), self.n_bugs))
        program: list[Bug] = []
        for number in range(self.n_lines):
            if number in bug_lines:
                program.append(rng.choice(bugs(registers)[rng.random() < self.outdated]))
            else:
                line = rng.choice(_LINES)
                while len(set(_apply(line, registers))) == 1:
                    line = rng.choice(_LINES)
                program.append(Bug(line, line))
            registers = _apply(program[-1].intended, registers)
        return Task(tuple(line.buggy for line in program), tuple(line.intended for line in program), inputs)

    def deal(self, task: Task) -> str:
        self._task = task
        self._program = list(task.buggy)
        self._failure: Failure | None = None
        self._prompt = self.wording.run_first
        lines = [self.wording.line.format(op=line.op, constant=line.constant) for line in task.buggy]
        return self.wording.program.format(lines=" ".join(lines))

    def respond(self, action: str) -> Turn:
        if action == RUN:
            self._failure = first_failure(self._program, self._task.intended, self._task.inputs)
            if self._failure is None:
                return Turn(self.wording.solved, solved=True)
            number, before, want = self._failure
            op, constant = self._program[number]
            self._prompt = self.wording.failure.format(
                number=number + 1, before=before, op=op, constant=constant, want=want
            )
        elif action not in OPERATORS:
            return Turn(self.wording.unknown + self._prompt)
        elif self._failure is not None:
            number = self._failure.line
            self._program[number] = Line(action, self._program[number].constant)
            self._prompt = self.wording.edited
        return Turn(self._prompt)

    def metrics(self, solved: bool) -> dict[str, float]:
        """`pass@1` is success under its usual name; `checks` the share of the inputs with the right output."""
        task = self._task
        return {"pass@1": float(solved), "checks": passed_share(self._program, task.intended, task.inputs)}

    # ---- for teachers and reports ------------------------------------------------------------------------------

    def demonstrator_action(self) -> str:
        """Run, read, repair; it computes as the old release did."""
        if self._failure is None or self._prompt == self.wording.edited:
            return RUN
        return demonstrated_fix(self._program[self._failure.line], self._failure)

    def actions(self) -> list[str]:
        return [RUN, *OPERATORS]

    def vocabulary(self) -> list[str]:
        w = self.wording
        said = [w.program.format(lines=""), w.edited, w.run_first, w.unknown, w.solved]
        said += [w.line.format(op=line.op, constant=line.constant) for line in _LINES]
        for i in range(_n_bugs(self.horizons[-1]) + 2):
            said.append(w.failure.format(number=i + 1, before=i % SIZE, op="", constant="", want=i % SIZE))
        return words([*said, *self.actions()])

    def card(self) -> str:
        return f"""# code_debug

A program of {self.n_lines} lines `operator constant` works on one register of three bits; {self.n_bugs} operators are
wrong. Horizon {self.horizon} (4 to 24 turns).

**Rules.** `{RUN}` checks the program line by line on three inputs and shows the first failure: the register before the
line, the line, and what it should give; the name of an operator ({", ".join(OPERATORS)}) replaces the one on that line.
The failure shown for an unedited line leaves one operator possible. Results wrap around modulo {SIZE}. Programs are
interpreted by table look-up; no text is evaluated. A repair takes two turns. Spare turns:
{self.horizon - 1 - 2 * self.n_bugs}.

**Reward.** 1 if a run within the horizon finds no failure, else 0, at the end only. `pass@1` is the same number;
`evaluation.attempts: 10` adds pass@10. `checks`: share of the three inputs with the right output at the end.

**Demonstrator.** Runs, reads, and takes the operator whose result comes nearest to the wanted one, but computes as an
older release did, whose results stayed at 0 and {SIZE - 1} instead of wrapping around. That misleads it at
{self.outdated:.0%} of the bugs. Expected success: about 0.1 above {1 - self.outdated:.2f}^{self.n_bugs} =
{(1 - self.outdated) ** self.n_bugs:.2f}, because a wrong repair sometimes brings a more honest failure to light.

**Limits.** One register, no branches, one repair per line, and the runner says which line is wrong. The share of
misleading bugs belongs to the tasks, so another `outdated` means other tasks. Train and evaluation programs differ.
"""
