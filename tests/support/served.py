"""Trials whose teacher is a stub server that says what the local teacher of the same trial said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from small import tiny, tokenizer
from stub_api import Stub

from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.teachers.local import LocalTeacher

OTHERWISE = ("seconds/", "cost/seconds", "cost/teacher_")  # what is not learned from
FAST = {"teacher__timeout": 0.5, "teacher__patience": 30.0, "teacher__concurrency": 2, "teacher__batch": 3}


def rows_of(config: Any, folder: Path, **options: Any) -> list[dict[str, Any]]:
    """What a trial reports, without times and bills."""
    rows: list[dict[str, Any]] = []
    train(config, folder, rows.extend, **options)
    return told(rows)


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith(OTHERWISE)} for row in rows]


class Recorded:
    """The log-probs that a local teacher gave in a trial, by the ids before and with each token."""

    def __init__(self, monkeypatch: Any) -> None:
        self.logp: dict[tuple[int, ...], float] = {}
        score = LocalTeacher.score

        def noting(teacher: LocalTeacher, batch: TokenBatch, *args: Any) -> TokenBatch:
            scored = score(teacher, batch, *args)
            ids = batch.ids_ST.tolist()
            where = zip(
                batch.sequence_N.tolist(), batch.column_N.tolist(), scored["teacher_logp"].tolist(), strict=True
            )
            self.logp |= {tuple(ids[s][: c + 1]): logp for s, c, logp in where}
            return scored

        monkeypatch.setattr(LocalTeacher, "score", noting)

    def said_of(self, ids: list[int]) -> list[dict[int, float]]:
        """For every position but the first; -1 where nobody will ask."""
        return [{ids[i]: self.logp.get(tuple(ids[: i + 1]), -1.0)} for i in range(1, len(ids))]


class Local:
    """A local teacher as a server has it."""

    def __init__(self, folder: Path) -> None:
        self.stage = assemble(tiny(), folder, resume=False).stage
        self.policy = self.stage.teacher.policy

    @torch.inference_mode()
    def said_of(self, ids: list[int]) -> list[dict[int, float]]:
        index = torch.arange(len(ids) - 1)
        logp = self.policy(torch.tensor([ids]), index).logits_NV.log_softmax(-1)
        return [dict(enumerate(row)) for row in logp.tolist()]

    @torch.inference_mode()
    def continue_(self, ids: list[int], body: dict[str, Any]) -> list[int]:
        said: list[int] = []
        while len(said) < body["max_tokens"]:
            logits = self.policy(torch.tensor([[*ids, *said]]), torch.tensor([len(ids) + len(said) - 1])).logits_NV[0]
            said.append(int(logits.argmax()))
            if said[-1] in self.stage.player.conversation.stop_ids:
                break
        return said


def stub(**says: Any) -> Stub:
    """One with the student's vocabulary."""
    words = tokenizer()
    says.setdefault("tokenize", lambda text: words(text, add_special_tokens=False)["input_ids"])
    says.setdefault("spell", words.decode)
    return Stub(**says)


def at(stub: Stub, kind: str = "server", **settings: Any) -> dict[str, Any]:
    """Overrides that put the teacher there."""
    fast = {k: v for k, v in FAST.items() if kind == "server" or k != "teacher__batch"}
    return {"teacher__kind": kind, "teacher__url": stub.url, "teacher__model": "stub", **fast, **settings}
