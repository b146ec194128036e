"""A signal ends what is under way: not what is held, and whatever foreign code makes of it."""

from __future__ import annotations

import os
import signal

import pytest

from atod_sweep.errors import UserError
from atod_sweep.sweep.trials.interrupts import asked, held, stoppable


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def wraps(number: int, error: Exception) -> None:
    try:
        send(number)
    except KeyboardInterrupt:
        raise error from None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_library_wraps_is_a_signal(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), stoppable():
        wraps(number, ValueError("error building the validator: KeyboardInterrupt"))
    assert not asked()


def test_our_own_words_on_a_signal_stay() -> None:
    """As where the head of a Ray cluster is gone: a signal of ours wakes the main thread up to say it."""
    with pytest.raises(UserError, match="is gone"), stoppable():
        wraps(signal.SIGTERM, UserError("the Ray cluster is gone"))


def test_an_error_that_nobody_asked_for_stays() -> None:
    with pytest.raises(ValueError, match="a bug"), stoppable():
        raise ValueError("a bug")


def finishes(number: int, done: list[str]) -> None:
    with held():
        send(number)
        done.append("whole")
    done.append("further")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_effect_at_the_end_of_what_is_held(number: int) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), stoppable():
        finishes(number, done)
    assert done == ["whole"]


def test_a_signal_after_what_was_held_is_heeded_at_once() -> None:
    with stoppable():
        with held():
            pass
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
