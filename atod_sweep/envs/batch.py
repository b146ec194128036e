"""Many environments stepped together."""

from __future__ import annotations

from atod_sweep.config.train import Env
from atod_sweep.envs.checked import Answer, Checked
from atod_sweep.envs.contract import Split


class Batch:
    """`size` environments in this process."""

    def __init__(self, config: Env, size: int) -> None:
        self.envs = [Checked(config) for _ in range(size)]

    def reset(self, seeds: list[int], split: Split) -> list[str]:
        """First observations of the tasks of `seeds`: slot i plays seeds[i]; there may be fewer seeds than slots."""
        check_fit(len(seeds), len(self.envs))
        return [env.reset(s, split) for env, s in zip(self.envs, seeds, strict=False)]

    def step(self, actions: list[str | None]) -> list[Answer | None]:
        """One step of every slot that has an action; None marks a slot whose episode is over."""
        check_fit(len(actions), len(self.envs))
        return [None if a is None else env.step(a) for env, a in zip(self.envs, actions, strict=False)]

    def demonstrator_actions(self, slots: list[int]) -> list[str]:
        """What the demonstrator would do in these slots; only for environments that have one."""
        return [self.envs[slot].demonstrator_action() for slot in slots]

    def actions(self, slots: list[int]) -> list[list[str]]:
        """Actions that are legal now in these slots; only for environments that can tell."""
        return [self.envs[slot].actions() for slot in slots]

    def close(self) -> None:
        for env in self.envs:
            env.close()


def check_fit(wanted: int, size: int) -> None:
    """Raises ValueError if a batch of `size` slots is asked for more."""
    if wanted > size:
        raise ValueError(f"a batch of {size} environments cannot play {wanted} episodes at once")
