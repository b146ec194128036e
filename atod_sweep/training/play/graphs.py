"""Decoding steps replayed from CUDA graphs, for models whose step is mostly launch latency.

A graph is captured once per chunk width and replayed as long as the weights stay where they are (optimisers update
them in place), so a decoder is kept from rollout to rollout. All shapes are fixed: rows that have ended stay in the
batch and are fed nothing, chunks are padded to a few widths, attention looks at all slots and the mask hides the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.decoder import QUERIES, in_fours, roomier
from atod_sweep.training.play.ragged import GeneralDecoder

WIDEST = 64  # chunks above this width are worth their launches
WARM_UP = 2  # runs before the capture, which lets libraries allocate what they need


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    ids_BL: Tensor
    logits_BV: Tensor


class GraphedDecoder(GeneralDecoder):
    """`rows` conversations on a CUDA device; `begin` starts new ones on the same memory."""

    def __init__(self, policy: Policy, rows: int, slots: int) -> None:
        super().__init__(policy, rows, slots)
        self.rows = rows
        self.count_B = torch.zeros_like(self.length_B)
        self.captured: dict[int, _Captured] = {}
        self.begin()

    def begin(self) -> None:
        """Forget all conversations."""
        self.active = torch.arange(self.rows, device=self.length_B.device)  # where the caller's rows really lie
        self.length_B.zero_()
        self.longest = self.bound = 0

    def append(self, ids_BL: Tensor, count_B: Tensor, counts: tuple[int, int]) -> Tensor:
        width = ids_BL.shape[1]
        padded = width if width == 1 or width > WIDEST else in_fours(width)
        self.longest += counts[1]
        self.bound = max(self.bound, self.longest)  # of all rows, also those that have ended
        if self.bound + padded + QUERIES > self.slots:
            self.slots = roomier(self.bound + padded)
            self.grow()
        self.count_B.zero_()
        self.count_B[self.active] = count_B
        ids = torch.zeros((self.rows, padded), dtype=torch.long, device=ids_BL.device)
        ids[self.active, :width] = ids_BL
        if padded > WIDEST:
            logits_BV = self._step(ids)
        else:
            step = self.captured.get(padded) or self._capture(ids)
            step.ids_BL.copy_(ids)
            step.graph.replay()
            logits_BV = step.logits_BV
        self.length_B += self.count_B
        return logits_BV[self.active]

    def _step(self, ids_BL: Tensor) -> Tensor:
        self.aligned, self.visible = False, self.slots
        return self.advance(ids_BL, self.count_B)

    def _capture(self, ids_BL: Tensor) -> _Captured:
        # Chunks written while warming up lie behind each row's length, where the next one overwrites them.
        ids_BL = ids_BL.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step(ids_BL)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits_BV = self._step(ids_BL)
        self.captured[ids_BL.shape[1]] = _Captured(graph, ids_BL, logits_BV)
        return self.captured[ids_BL.shape[1]]

    def select(self, rows: Tensor, longest: int) -> None:
        self.active = self.active[rows]
        self.longest = longest

    def rewind(self, row: int, length: int) -> None:
        self.length_B[self.active[row]] = length

    def grow(self) -> None:
        super().grow()
        self.captured.clear()  # they hold the old buffers
