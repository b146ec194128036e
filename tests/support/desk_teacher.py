"""The demonstrator of the support desk as somebody who reads the conversation alone: for a stub of a chat API."""

from __future__ import annotations

from typing import Any

from atod_sweep.envs.families.support_desk import CUES, INTENTS, PROTOCOL, rules


def say(messages: list[dict[str, Any]]) -> str:
    """The manual's action behind a conversation in compact words; its first steps are known by what is said."""
    heard = [message["content"] for message in messages if message["role"] == "user"]
    last = heard[-1].removeprefix("no ").removeprefix("what ")
    openings = ("hello", "want", "check", "may", "team", "case")
    if (first := last.split()[0]) in openings:
        return PROTOCOL[openings.index(first)]
    words = {word for text in heard for word in text.split()}
    (intent,) = words & set(INTENTS)
    (cue,) = set(last.split()) & set(CUES)
    return rules(0, 0.15).manual[intent, cue]
