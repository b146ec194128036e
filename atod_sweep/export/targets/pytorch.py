"""Plain PyTorch, Hugging Face Trainer, accelerate: your loop computes the terms, the schedule weighs them."""

from __future__ import annotations

from typing import Any

from atod_sweep.export.schedule.generate import PORTABLE, SHIMS, source
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.targets.parts import STUDENT_ALONE, YES, Carried, Target

_OWN_LOOP = Carried("yes", "your loop computes the term")


def files(_schedule: ScheduleFile, _record: dict[str, Any]) -> dict[str, str]:
    """The loss of one batch, and the weights of its tokens."""
    return {
        "scheduled_loss.py": source(SHIMS, "scheduled_loss.py"),
        "token_weights.py": source(PORTABLE, "token_weights.py"),
    }


TARGET = Target(
    name="pytorch",
    title="PyTorch, Hugging Face Trainer, accelerate",
    package="torch",
    counter="batches of rollouts from 0: your loop's counter, or `self.state.global_step` in a Hugging Face Trainer",
    launch="""```python
from scheduled_loss import scheduled_loss

class MyTrainer(transformers.Trainer):  # or one line of your own loop, with or without accelerate
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        distill_BT, reward_BT = my_terms(model, inputs)
        step, total = self.state.global_step, self.state.max_steps
        return scheduled_loss(step, total, horizon, inputs["mask"], distill_BT, reward_BT)
```""",
    carries={
        **STUDENT_ALONE,
        **dict.fromkeys(("teacher", "turns", "mix", "t_dur", "t_dur_full", "gap", "target_kl"), YES),
        **dict.fromkeys(
            ("sampled_reverse_kl", "forward_kl", "reverse_kl", "jsd", "custom", "relabel", "top_k"), _OWN_LOOP
        ),
        **dict.fromkeys(("group_relative", "gae_turn", "gae_token"), _OWN_LOOP),
        **dict.fromkeys(("k1", "k2", "k3", "full", "entropy", "temperature"), _OWN_LOOP),
    },
    remarks=(
        "Weights of exactly 0 leave a term in the sum with weight 0; skip the teacher's forward pass yourself if you "
        "want to save it.",
        "Weights that follow a measurement: `controllers.make(name)`, `update(gap)` after every step, and "
        "`weights(..., distill=controller.current)`; `scheduled_loss` replays the trace.",
    ),
    files=files,
)
