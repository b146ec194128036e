"""Every failure has one word, one meaning, and a rule whether it is tried again."""

from __future__ import annotations

import json
import pickle

import pytest

from atod_sweep.records.status import Status

RETRIED = {
    *("environment_failed", "environment_timeout", "worker_died", "timeout", "out_of_memory"),
    *("reward_failed", "teacher_unreachable"),
}


@pytest.mark.parametrize("status", Status)
def test_a_status_is_its_word_wherever_it_goes(status):
    assert status == str(status) == status.value
    assert json.loads(json.dumps(status)) == status
    assert pickle.loads(pickle.dumps(status)) is Status(status.value) is status
    assert status.meaning
    assert status.meaning[0].islower()


def test_what_may_pass_is_tried_again():
    assert {status.value for status in Status if status.retried} == RETRIED
