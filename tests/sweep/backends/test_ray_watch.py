"""A head that goes away ends the run in one line that names the remedy."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest
import ray

from atod_sweep.errors import UserError
from atod_sweep.sweep.backends import ray_watch
from atod_sweep.sweep.trials.interrupts import stoppable


@pytest.fixture
def head(monkeypatch):
    """The port of a head process; closing it is its end."""
    monkeypatch.setattr(ray_watch, "_LOOK", 0.02)
    monkeypatch.setattr(ray_watch, "_LOST", 0.2)
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        context = type("Context", (), {"gcs_address": f"127.0.0.1:{port.getsockname()[1]}"})
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        yield port


def ends(address, what):
    """Give `what` the head's function while it is watched."""
    with stoppable(), ray_watch.watched(address, "resume it") as is_heard:
        what(is_heard)


def test_a_lost_head_ends_the_run_in_one_line(head):
    silent = threading.Event()

    def wait(is_heard):
        while not is_heard():
            time.sleep(0.001)
        head.close()
        while is_heard():
            time.sleep(0.001)
        silent.set()
        time.sleep(30)

    with pytest.raises(UserError, match="the Ray cluster at h:1 is gone: its head process answers no more; resume it"):
        ends("h:1", wait)
    assert silent.is_set()


def test_what_ray_raises_for_want_of_its_head_is_the_same_line(head):
    def fail(is_heard):
        head.close()
        raise RuntimeError("rpc")

    with pytest.raises(UserError, match="the Ray cluster on this machine is gone"):
        ends(None, fail)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, UserError])
def test_other_ends_stay_what_they_are(head, error):
    def fail(is_heard):
        raise error("mine")

    with pytest.raises(error, match=r"^mine$"):
        ends(None, fail)


def test_a_main_thread_that_hears_nothing_is_ended_with_the_words(head, monkeypatch, capsys):
    monkeypatch.setattr(ray_watch, "_DEAF", 0.1)
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    with ray_watch.watched(None, "resume it"):
        head.close()
        assert ended.wait()
    assert capsys.readouterr().err == (
        "the Ray cluster on this machine is gone: its head process answers no more; resume it\n"
    )
