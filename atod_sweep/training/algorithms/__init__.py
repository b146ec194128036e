"""What trains the student, one file per objective, and the table of them.

To add one: its record in `config/objective.py` (with what it refuses to run under), a file here with a class that is
an `Algorithm`, and a line in `ALGORITHMS`. New names of loss terms go into `records/metric_names.py`.
"""

from __future__ import annotations

from atod_sweep.config.kinds import one_each
from atod_sweep.config.objective import Objective
from atod_sweep.training.algorithms.dpo import DPO
from atod_sweep.training.algorithms.hybrid import HybridMix
from atod_sweep.training.algorithms.interpolated import InterpolatedMix
from atod_sweep.training.algorithms.sft import SFT
from atod_sweep.training.algorithms.spin import SPIN
from atod_sweep.training.algorithms.stage import Algorithm

ALGORITHMS: dict[str, type[Algorithm]] = one_each(
    Objective, {"interpolated": InterpolatedMix, "hybrid": HybridMix, "sft": SFT, "dpo": DPO, "spin": SPIN}
)
