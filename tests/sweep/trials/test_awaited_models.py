"""An attempt whose models are being built begins once they are there."""

from __future__ import annotations

import threading

from fake_training import FAKE

from atod_sweep.sweep.trials import attempt
from atod_sweep.sweep.trials.jobs import Job


def test_an_attempt_waits_for_all_its_models(tmp_path):
    folders = [tmp_path / "teacher", tmp_path / "student"]
    job = Job("a-s0", 1, {}, "/none", (), FAKE, awaits=tuple(map(str, folders)))
    waiting = threading.Thread(target=attempt._await_models, args=(job,), daemon=True)
    waiting.start()
    folders[0].mkdir()
    waiting.join(0.2)
    assert waiting.is_alive()
    folders[1].mkdir()
    waiting.join()


def test_models_that_are_there_are_not_waited_for(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(attempt.time, "sleep", slept.append)
    attempt._await_models(Job("a-s0", 1, {}, "/none", (), FAKE, awaits=(str(tmp_path),)))
    assert slept == []
