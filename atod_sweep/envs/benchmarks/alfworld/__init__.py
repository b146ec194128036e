"""ALFWorld-format games: household tasks by the rules, the wording and the floor plans of the alfworld wheel."""

from atod_sweep.envs.benchmarks.alfworld.env import AlfWorld

__all__ = ["AlfWorld"]
