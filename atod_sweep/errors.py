"""What everybody may raise: the mistake of a user, and the end of what is under way."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence


class UserError(ValueError):
    """The user can fix this: the CLI prints it and exits with code 2.

    The message is one line that quotes the offending value and names the fix.
    """


class Mistakes(UserError):
    """All that is wrong with one thing: `where: mistake` on one line, or a header and a line for every mistake."""

    def __init__(self, where: str, lines: Sequence[str]) -> None:
        super().__init__(where, tuple(lines))
        self.where, self.lines = where, tuple(dict.fromkeys(lines))

    def __str__(self) -> str:
        if len(self.lines) == 1:
            return f"{self.where}: {self.lines[0]}"
        return "\n  ".join([f"{self.where}: {len(self.lines)} mistakes", *self.lines])


class Gathered:
    """Goes on after a mistake, so that all mistakes in `where` are told at once.

    mistakes = Gathered("study.yaml")
    for name in names:
        with mistakes.noted():
            check(name)
    mistakes.check()
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._lines: list[str] = []

    @contextlib.contextmanager
    def noted(self, part: str = "") -> Iterator[None]:
        """Note the UserError of this block, as one of `part`."""
        try:
            yield
        except UserError as error:
            said = [f"{error.where}: {line}" for line in error.lines] if isinstance(error, Mistakes) else [str(error)]
            self._lines += [part + line.removeprefix(f"{self.where}: ") for line in said]

    def check(self) -> None:
        """Mistakes, if there were any."""
        if self._lines:
            raise Mistakes(self.where, self._lines)


def meant(word: object, known: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """`did you mean 'x'?` for the known word nearest to one that is not; `otherwise` where none is near."""
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else otherwise


def check_list(name: str, given: object) -> None:
    """UserError for what is neither None nor a list of texts; a text alone would be read letter by letter."""
    is_list = isinstance(given, Collection) and not isinstance(given, str) and all(isinstance(x, str) for x in given)
    if given is not None and not is_list:
        fix = [given] if isinstance(given, str) else "a list of texts"
        raise UserError(f"{name}: expected a list of names, got {given!r}; give {fix}")


def in_a_line(error: BaseException, longest: int = 300) -> str:
    """The kind of an error and what it says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:longest]


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class Stopped(BaseException):
    """Ends what is under way, for a reason outside of it: code that expects exceptions of its own must not catch it."""
