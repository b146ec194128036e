"""A teacher that the trials of a node share: an actor that holds it, and what a trial reaches it by."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train
from atod_sweep.sweep.sharing import Config, Holding
from atod_sweep.sweep.user_code import as_driver

if TYPE_CHECKING:
    from torch import Tensor

    from atod_sweep.training.batch import TokenBatch
    from atod_sweep.training.scoring import FullDistribution
    from atod_sweep.training.teachers.shared import Facts, Head, Held, Holder

RETRIES = 3  # of a question whose actor died: another one is started, and loads the model anew
_START = 60.0  # seconds that they get to start: where others fill a node, trials wait for theirs
_LOOK = 1.0  # seconds after which a trial that waits for an answer hears that it is to end

_Bytes = tuple[str, Any]  # a tensor's type, and its bytes


class Keeper:
    """The actor. It loads the teacher when it is first asked: what is wrong with it then ends whoever asks."""

    def __init__(self, cwd: str, sys_path: list[str], config: Config) -> None:
        as_driver(cwd, sys_path)
        self._config = config
        self._kept: Held | None = None

    @property
    def _held(self) -> Held:
        if self._kept is None:
            trial = validate(Train, self._config, "config")
            os.environ["OMP_NUM_THREADS"] = str(trial.runtime.threads)  # before anything imports torch
            from atod_sweep.training.loop.build import hold

            self._kept = hold(trial)
        return self._kept

    def facts(self) -> Facts:
        return self._held.facts()

    def head(self) -> tuple[_Bytes, _Bytes | None, int, bool]:
        head = self._held.head()
        return _packed(head.weight), None if head.bias is None else _packed(head.bias), head.words, head.folded

    def score(self, *question: Any) -> dict[str, _Bytes]:
        return {name: _packed(value) for name, value in self._held.score(*question).items()}


def start(held: Iterable[Holding]) -> list[Any]:
    """One keeper of each on every node that there is, gone with the handles that are returned, and with Ray."""
    held = list(held)
    if not held:
        return []
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    path = [entry or os.getcwd() for entry in sys.path]
    keepers = []
    for node in ray.nodes():
        room = node["Resources"].get("GPU", 0.0) if node["Alive"] else -1.0
        for one in (one for one in held if one.gpu <= room):
            keeper = ray.remote(Keeper).options(
                name=_name(one.key, node["NodeID"]),
                num_cpus=0,  # while it works, the trial that asked waits
                num_gpus=one.gpu,
                max_restarts=-1,
                max_task_retries=RETRIES,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            keepers.append(keeper.remote(os.getcwd(), path, one.config))
    ready = [keeper.__ray_ready__.remote() for keeper in keepers]
    ray.wait(ready, num_returns=len(ready), timeout=_START)  # before trials take their place
    return keepers


def reach(key: str) -> Holder | None:
    """The keeper on this node; None on a node that came later."""
    import ray

    try:
        return _Reached(ray.get_actor(_name(key, ray.get_runtime_context().get_node_id())))
    except ValueError:
        return None


class _Reached:
    """A `Holder` in a trial. Raises TeacherUnreachable if no keeper answers any more."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    def facts(self) -> Facts:
        found: Facts = self._answer("facts")
        return found

    def head(self) -> Head:
        from atod_sweep.training.teachers.shared import Head

        weight, bias, words, folded = self._answer("head")
        return Head(_unpacked(*weight), None if bias is None else _unpacked(*bias), words, folded)

    def score(
        self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int
    ) -> dict[str, Tensor]:
        answer = self._answer("score", batch, temperature, full, tokens)
        return {name: _unpacked(*packed) for name, packed in answer.items()}

    def _answer(self, what: str, *question: Any) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        from atod_sweep.training.failures import TeacherUnreachable

        asked = getattr(self._keeper, what).remote(*question)
        try:
            while not ray.wait([asked], timeout=_LOOK)[0]:
                pass
            return ray.get(asked)
        except RayTaskError as error:  # what the teacher's own code raised
            raise (error.cause or error) from None
        except RayError as error:
            raise TeacherUnreachable(
                f"the process that holds the teacher for this node's trials is gone, {RETRIES + 1} times now: "
                f"{' '.join(str(error).split())[:200]}; resources.share_teacher: false gives every trial its own"
            ) from None


def _packed(tensor: Tensor) -> _Bytes:
    """Ray does not copy an array on its way."""
    import torch

    return str(tensor.dtype).removeprefix("torch."), tensor.contiguous().view(torch.uint8).numpy()


def _unpacked(dtype: str, data: Any) -> Tensor:
    import torch

    kind: torch.dtype = getattr(torch, dtype)
    return torch.from_numpy(data.copy()).view(kind)


def _name(key: str, node: str) -> str:
    return f"teacher-{key}-{node}"
