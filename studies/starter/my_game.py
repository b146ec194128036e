"""An environment of your own: edit it. `atod-sweep play my_game:Guess` plays it in the terminal."""

import random
import string

import gymnasium

COLOURS = ["red", "rose", "blue", "black", "green", "grey"]


class Guess(gymnasium.Env):
    """Guess a colour of which the first letter is told."""

    observation_space = action_space = gymnasium.spaces.Text(80, charset=string.printable)

    def __init__(self, horizon=4):
        self.horizon = horizon  # the longest episode, in turns

    def reset(self, *, seed=None, options=None):  # the same seed and split: the same task
        super().reset(seed=seed)
        split = (options or {}).get("split", "train")  # "train" or "eval"
        self.colour, self.turn = random.Random(f"{split} {seed}").choice(COLOURS), 0
        return f"starts with {self.colour[0]}", {}

    def step(self, action):  # any text
        self.turn += 1
        right = action.strip() == self.colour
        over = right or self.turn == self.horizon
        info = {"success": float(right), "metrics": {"guesses": self.turn}} if over else {}
        return "yes" if right else "no", float(right), right, over and not right, info

    # Optional, for compact models: an expert to learn from, actions to err with, all the words there are.
    def demonstrator_action(self):
        fitting = [c for c in COLOURS if c[0] == self.colour[0]]
        return fitting[self.turn % len(fitting)]

    def actions(self):
        return COLOURS

    def vocabulary(self):
        return ["starts", "with", "yes", "no", *COLOURS, *(c[0] for c in COLOURS)]
