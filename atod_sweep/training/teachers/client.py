"""Questions to a server over HTTP: several at a time, again where that may help, and never twice for one answer."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from atod_sweep.config.teachers import OPENAI_API_KEY, Served
from atod_sweep.errors import UserError
from atod_sweep.training.failures import TeacherFailed, TeacherUnreachable

T = TypeVar("T")
Json = dict[str, Any]

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a question is asked again; doubled from one to the other
NOTICED = 10.0  # seconds without an answer, after which that is worth a line
MOST_BAD = 8  # answers in a row that are none, before that is taken for the server's last word
BILLED = ("teacher_requests", "teacher_hits", "teacher_read", "teacher_written")
QUOTED = 200  # characters of a server's message that are told

log = logging.getLogger(__name__)


class BadAnswer(Exception):
    """An answer that is not what was asked for: cut off, miscounted, no numbers."""


class Refused(Exception):
    """The server will not answer this question, however often it is asked."""


@dataclass
class Client:
    """One server, as one trial asks it. `bill` counts since it was last taken."""

    config: Served
    bill: Counter[str] = field(default_factory=Counter)
    pause: Callable[[float], Any] | None = None  # None: until it is over, or somebody gives up
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _money: float = 0.0
    _noticed: bool = False
    _turn: float = 0.0  # when the next request may begin
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        name = self.config.key_env
        self._key = os.environ.get(name, "").strip()
        if not self._key and name != OPENAI_API_KEY:
            raise UserError(f"teacher.key_env: the environment variable {name} is not set; set it to the API's key")
        if not (self._key.isascii() and self._key.isprintable()):
            raise UserError(f"teacher.key_env: {name} holds signs that no key has; set it to the API's key alone")
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __getstate__(self) -> None:
        raise TypeError("a client holds a key, and is never written")

    # ---- one question ----------------------------------------------------------------------------------------------

    def once(self, url: str, body: Json | None, timeout: float | None = None) -> Any:
        """The JSON answer to one POST (GET without a body), asked once.

        Raises BadAnswer, Refused, and Away where asking again may help.
        """
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body is not None else {})
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data=data, headers=headers)
            with self._opener.open(request, timeout=timeout or self.config.timeout) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise self._told(error) from None
        except OSError as error:
            raise Away(self._without_key(getattr(error, "reason", None) or error)) from None
        except http.client.HTTPException as error:
            raise BadAnswer(f"{type(error).__name__}: {self._without_key(error)}") from None
        try:
            return json.loads(text)
        except ValueError:
            raise BadAnswer(f"no JSON: {self._without_key(text[:QUOTED].decode(errors='replace'))!r}") from None

    def _told(self, error: urllib.error.HTTPError) -> Exception:
        """What a status other than success means."""
        body = ""
        with contextlib.suppress(OSError, http.client.HTTPException), error:
            body = error.read(10_000).decode(errors="replace")
        said = self._without_key(_message(body))
        told = f"HTTP {error.code}{f': {said}' if said else ''}"
        if error.code in (408, 409, 425, 429) or error.code >= 500:
            return Away(told, _seconds(error.headers.get("Retry-After")))
        return Refused(told)

    def _without_key(self, text: Any) -> str:
        line = " ".join(str(text).split())
        return (line.replace(self._key, "…") if self._key else line)[:QUOTED]

    # ---- until it is answered ----------------------------------------------------------------------------------------

    def ask(self, url: str, body: Json, read: Callable[[Any], T]) -> T:
        """What `read` makes of the answer, which is asked for until it can be read.

        Raises TeacherUnreachable after `patience` seconds without any answer, TeacherFailed where answers are none.
        """
        tries, bad, away = 0, 0, None
        while True:
            self._my_turn()
            begun, asked = time.monotonic(), None
            try:
                answer = self.once(url, body)
                found = read(answer)
            except Refused as error:
                raise TeacherFailed(f"{self.where} refuses what it was asked: {error}") from None
            except (BadAnswer, LookupError, TypeError, ValueError, AttributeError) as error:
                bad, away = bad + 1, None
                if bad >= MOST_BAD:
                    raise TeacherFailed(f"{self.where} gave no usable answer {bad} times: {_named(error)}") from None
            except Away as error:
                asked, away = error.after, away or begun
                self._notice(time.monotonic() - away, error)
                if time.monotonic() - away + (asked or 0.0) >= self.config.patience:
                    raise TeacherUnreachable(
                        f"{self.where} was away for teacher.patience: {self.config.patience:g} s: {error}; start it "
                        "again, then resume"
                    ) from None
            else:
                self._pay(answer)
                return found
            self._pause(asked, tries)
            tries += 1

    def _notice(self, seconds: float, error: Exception) -> None:
        """Tell, once for each time that it is away, why nothing goes on."""
        with self._lock:
            known, self._noticed = self._noticed, seconds >= NOTICED
        if self._noticed and not known:
            log.warning("%s is away: %s; asked again for up to %g s", self.where, error, self.config.patience)

    @property
    def where(self) -> str:
        return f"teacher.url: {self.config.url}"

    def _pause(self, asked: float | None, tries: int) -> None:
        """As long as the server asked for, else twice as long as the last time; and a little more at random, so that
        those who failed together do not come back together."""
        least = min(LONGEST_WAIT, FIRST_WAIT * 2**tries) if asked is None else asked
        self._wait(least * (1 + random.random() / 2))
        if self._stop.is_set():
            raise TeacherUnreachable(f"{self.where}: given up, as another question was")

    def _wait(self, seconds: float) -> None:
        (self.pause or self._stop.wait)(seconds)

    def _my_turn(self) -> None:
        """Wait until another request may begin."""
        if self.config.requests_per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._turn)
            self._turn = begin + 60.0 / self.config.requests_per_minute
        if begin > now:
            self._wait(begin - now)

    def _pay(self, answer: Any) -> None:
        """Put what the server says that it read and wrote on the bill."""
        usage = answer.get("usage") if isinstance(answer, dict) else None
        read, written = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        again = _count(usage.get("prompt_tokens_details"), "cached_tokens") if isinstance(usage, dict) else 0
        with self._lock:
            self.bill.update(teacher_requests=1, teacher_read=read, teacher_written=written)
            if (price := self.config.price) is not None:
                reading = (read - again) * price.input + again * (price.cached or price.input)
                self._money += (reading + written * price.output) / 1e6

    # ---- many questions --------------------------------------------------------------------------------------------

    def ask_all(
        self,
        questions: Sequence[tuple[str, Json]],
        read: Sequence[Callable[[Any], T]],
        found: Callable[[dict[int, T]], None],
    ) -> None:
        """Ask all (url, body), `concurrency` at a time; `found` is told of answers as they come, in this thread.

        It is told of every answer that was paid for, also where another question fails.
        """
        self._stop.clear()
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            place = {pool.submit(self.ask, url, body, read[i]): i for i, (url, body) in enumerate(questions)}
            waiting = set(place)
            try:
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    found(_sound(place, done))
                    for one in done:
                        one.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                found(_sound(place, waiting))
                raise

    def take_bill(self) -> dict[str, float]:
        """What was asked since it was last taken, and the money for it where prices are known."""
        with self._lock:
            bill: dict[str, float] = {name: self.bill[name] for name in BILLED}
            if self.config.price is not None:
                bill["teacher_money"] = self._money
            self.bill.clear()
            self._money = 0.0
        return bill


class Away(Exception):
    """Nobody answered, or asked for patience: for `after` seconds, if it said so."""

    def __init__(self, told: str, after: float | None = None) -> None:
        super().__init__(told)
        self.after = after


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key goes to the address that it was given for, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def check_there(config: Served) -> None:
    """UserError, in one line, if nobody answers there, or knows the key or the model."""
    client = Client(config)
    try:
        listed = client.once(config.url + "/models", None, timeout=min(config.timeout, 10.0))
    except Away as error:
        raise UserError(
            f"teacher.url: nobody answers at {config.url}: {error}; start the server, or mend url"
        ) from None
    except Refused as error:
        if str(error).startswith(("HTTP 401", "HTTP 403")):
            raise UserError(
                f"teacher.key_env: {config.url} does not accept the key in {config.key_env}: {error}"
            ) from None
        return  # it answers, and lists no models
    except BadAnswer:
        return
    models = listed.get("data") if isinstance(listed, dict) else None
    known = [one.get("id") for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    if known and config.model not in known:
        shown = ", ".join(map(str, known[:5])) + (", …" if len(known) > 5 else "")
        raise UserError(f"teacher.model: {config.url} has no model {config.model!r}; it has: {shown}")


def _sound(place: dict[Future[T], int], done: set[Future[T]]) -> dict[int, T]:
    """What came back of questions that did not fail, by their places."""
    return {place[one]: one.result() for one in done if not one.cancelled() and one.exception() is None}


def _message(body: str) -> str:
    """What a server says of an error, out of the forms that it may have."""
    try:
        said = json.loads(body)
    except ValueError:
        return body
    error = said.get("error", said) if isinstance(said, dict) else said
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return str(error)


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After header: a number, or a date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(0.0, seconds), 3600.0) if seconds == seconds else None


def _count(usage: Any, name: str) -> int:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and count >= 0 else 0


def _named(error: Exception) -> str:
    return str(error) if isinstance(error, BadAnswer) else f"{type(error).__name__}: {error}"
