"""What an environment is here: a `gymnasium.Env[str, str]` and, beside it, a few optional methods.

`reset(seed=..., options={"split": "train" | "eval"})` starts one task; the same seed and split give the same task in
every process. `step(text)` never raises on bad text: the environment answers it in words. It ends an episode within
`horizon` turns if its constructor takes that argument. `info` of a step may hold `"is_admissible"` (also read as
`"is_action_valid"`): whether the state admitted the action. When an episode ends, `info` holds `"success"` (0.0 to 1.0;
also read as `"is_success"`, `"won"` or `"is_correct"`) and, if there are any, `"metrics"` (name -> float) and
`"violations"`: how often rules were broken that the reward knows nothing of (a number, or rule -> number), from which
the metrics `violations` and `restraint` come. `checked` holds every environment to this.

An environment whose steps take milliseconds has the attribute `slow = True` (of the class or of the instance) and is
stepped in worker processes.

Optional, and looked up on `env.unwrapped`:

- `demonstrator_action() -> str`: what the demonstrator does in the current state, also after somebody else's mistakes.
  Teachers are trained on it. Without it one can train by reward, or with a teacher from a directory.
- `actions() -> list[str]`: texts that are legal in the current state. Demonstrations are perturbed with these.
- `vocabulary() -> list[str]`: every word that observations and actions can hold, at any horizon; words are split at
  white space. Compact models get a word-level tokenizer made of these.
- `metric_names: tuple[str, ...]`: what `info["metrics"]` can hold, where some episodes report what others do not:
  otherwise the first episodes show which there are.
- `remarks() -> list[str]`: sentences to know at the start of a run, such as what was left out of a data file.
- `card() -> str`: Markdown for `atod-sweep envs NAME`: the rules, the demonstrator's flaw, the limits.
"""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "eval"]
Offer = Literal["demonstrator_action", "actions", "vocabulary", "metric_names", "remarks", "card"]

# Task seeds of the two splits never meet.
TRAIN_SEEDS = range(0, 2**30)
EVAL_SEEDS = range(2**30, 2**31)


def split_of_seed(seed: int) -> Split:
    """The split that a task seed belongs to."""
    return "eval" if seed >= EVAL_SEEDS.start else "train"
