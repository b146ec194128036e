"""Rewards that a user might write, for tests of `reward.kind: function`."""

import math
import time


def short(conversation):
    """Minus the number of words that were said, and 10 for "bye"."""
    said = [message["content"] for message in conversation if message["role"] == "assistant"]
    return 10.0 * ("bye" in said) - sum(len(text.split()) for text in said)


def lost(conversation):
    return math.nan


def wordy(conversation):
    return "very good"


def raises(conversation):
    raise ConnectionError("the judge is\nasleep")


def hangs(conversation):
    time.sleep(60)


def leaves(conversation):
    raise SystemExit(3)
