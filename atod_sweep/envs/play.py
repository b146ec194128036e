"""Episodes to look at: a person plays in the terminal, or watches whoever chooses the actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from atod_sweep.config.train import Env
from atod_sweep.envs.checked import STAND_IN, Checked
from atod_sweep.envs.contract import Split
from atod_sweep.errors import UserError

Transcript = list[tuple[str, str]]  # (observation, action) of the turns so far
Say = Callable[[str], None]

HELP = "?"


class LeftError(Exception):
    """The person at the terminal has gone."""


class Chooser(Protocol):
    """Who plays."""

    def __call__(self, game: Checked, transcript: Transcript, observation: str) -> tuple[str, list[str]]:
        """The next action, and what to say about it. Raises LeftError."""


def play(config: Env, choose: Chooser, seeds: Iterable[int], split: Split, say: Say) -> list[float]:
    """Play one episode per seed, every turn told through `say`; successes of the finished episodes.

    Ends early when `choose` raises LeftError. Raises what `Checked` raises.
    """
    game = Checked(config)
    successes = []
    try:
        if game.has("remarks"):
            for line in game.remarks():
                say(line)
        for seed in seeds:
            say(f"{config.id}, at most {config.horizon} turns, {split} task of seed {seed}")
            successes.append(_episode(game, choose, seed, split, say))
    except LeftError:
        say("left")
    finally:
        game.close()
    return successes


def _episode(game: Checked, choose: Chooser, seed: int, split: Split, say: Say) -> float:
    observation = game.reset(seed, split)
    transcript: Transcript = []
    say(observation)
    while True:
        action, remarks = choose(game, transcript, observation)
        for remark in remarks:
            say(remark)
        transcript.append((observation, action))
        answer = game.step(action)
        observation = answer.observation
        say(observation)
        if answer.terminated or answer.truncated:
            metrics = "".join(f", {name} {value:.2f}" for name, value in answer.info["metrics"].items())
            say(f"{len(transcript)} turns, success {answer.info['success']:g}{metrics}")
            if not game.reports_success:
                say(f"the environment reports no success: {STAND_IN}")
            return float(answer.info["success"])


def prompt(transcript: Transcript) -> str:
    """What stands before an action: the number of its turn, from 1."""
    return f"{len(transcript) + 1:>3} > "


def demonstrator(game: Checked, transcript: Transcript, observation: str) -> tuple[str, list[str]]:
    """The environment's expert. Raises UserError if it has none."""
    if not game.has("demonstrator_action"):
        raise UserError(f"{type(game.unwrapped).__name__} has no demonstrator_action(); play it without --demonstrator")
    action = game.demonstrator_action()
    return action, [prompt(transcript) + action]


class Person:
    """Asks for every action; "?" lists the legal ones, where the environment can tell, and the end of input leaves."""

    def __init__(self, read: Callable[[str], str], say: Say) -> None:
        self.read, self.say = read, say

    def __call__(self, game: Checked, transcript: Transcript, observation: str) -> tuple[str, list[str]]:
        while True:
            try:
                text = self.read(prompt(transcript))
            except EOFError:
                self.say("")  # end the line of the prompt
                raise LeftError from None
            if text.strip() != HELP:
                return text, []
            known = game.has("actions")
            self.say(", ".join(game.actions()) if known else "this environment does not list its actions")
