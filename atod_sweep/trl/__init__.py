"""Trials through TRL's GRPO trainer (`trainer.kind: trl`): the exported schedule, our environments and evaluations.

`import trl` costs seconds, so only `trainer` does it. It is an extra, and may be absent.
"""
