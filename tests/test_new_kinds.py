"""What a newcomer has to touch to add a kind, done in a copy of the package: a decay shape and a distillation signal.

A kind that is only a record cannot be imported; one whose table rows are written is handled by every consumer, or
refused by name. The edits below are the whole of it: two files of code, and a row per table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import atod_sweep

Edits = dict[str, list[tuple[str, str]]]  # file -> (text, what takes its place)

ROOT_RECORD: Edits = {
    "config/schedules.py": [
        (
            "class CustomDecay(",
            'class Root(Annealed):\n    """start + (end - start) sqrt(p)."""\n\n'
            '    kind: Literal["root"] = "root"\n\n\nclass CustomDecay(',
        ),
        ("Piecewise | CustomDecay", "Piecewise | Root | CustomDecay"),
    ]
}
ROOT_CODE = {
    "objective/shapes/root.py": '''"""The square root of progress: fast first."""

from __future__ import annotations

import math


def root(p: float, start: float, end: float) -> float:
    """`start` + (`end` - `start`) sqrt(p)."""
    share = math.sqrt(p)
    return start * (1.0 - share) + end * share
'''
}
ROOT_ROW: Edits = {
    "objective/shapes/__init__.py": [
        (
            "from atod_sweep.objective.shapes.step import step\n",
            "from atod_sweep.objective.shapes.root import root\nfrom atod_sweep.objective.shapes.step import step\n",
        ),
        ('        "step": Portable(step),\n', '        "step": Portable(step),\n        "root": Portable(root),\n'),
    ]
}
SIGNAL_RECORD: Edits = {
    "config/signals.py": [
        (
            "class CustomSignal(",
            'class TotalVariation(OverVocabulary):\n    """Half the sum of absolute differences."""\n\n'
            '    kind: Literal["total_variation"] = "total_variation"\n\n\nclass CustomSignal(',
        ),
        ("JSD | CustomSignal", "JSD | TotalVariation | CustomSignal"),
    ]
}
SIGNAL_CODE = {
    "objective/signals/total_variation.py": '''"""Total variation."""

from __future__ import annotations

from torch import Tensor


def total_variation(student_logp_NV: Tensor, teacher_logp_NV: Tensor) -> Tensor:
    """Half the sum of absolute differences of the probabilities."""
    return (student_logp_NV.exp() - teacher_logp_NV.exp()).abs().sum(-1) / 2
'''
}
SIGNAL_ROWS: Edits = {
    "objective/signals/__init__.py": [
        (
            "import sampled_reverse_kl\n",
            "import sampled_reverse_kl\nfrom atod_sweep.objective.signals.total_variation import total_variation\n",
        ),
        ('        "jsd": Div', '        "total_variation": Divergence(total_variation),\n        "jsd": Div'),
    ],
    "export/targets/parts.py": [
        ('        "jsd": "', '        "total_variation": "total variation over the vocabulary",\n        "jsd": "')
    ],
}


@pytest.fixture
def copy(tmp_path: Path) -> Any:
    """`copy(edits, files)`: the package with these changes; returns a function that runs a program against it."""
    source = Path(atod_sweep.__file__).parent
    shutil.copytree(source, tmp_path / "atod_sweep", ignore=shutil.ignore_patterns("*.html"))

    def make(*edits: Edits, files: dict[str, str] | None = None) -> Any:
        for edit in edits:
            for name, changes in edit.items():
                path = tmp_path / "atod_sweep" / name
                text = path.read_text(encoding="utf-8")
                for old, new in changes:
                    assert text.count(old) == 1, f"{name}: {old!r} is there {text.count(old)} times"
                    text = text.replace(old, new)
                path.write_text(text, encoding="utf-8")
        for name, text in (files or {}).items():
            (tmp_path / "atod_sweep" / name).write_text(text, encoding="utf-8")

        def run(program: str) -> subprocess.CompletedProcess[str]:
            support = Path(__file__).parent / "support"
            return subprocess.run(
                [sys.executable, "-c", program],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{support}"},
                capture_output=True,
                text=True,
                check=False,
            )

        return run

    return make


def test_a_record_alone_cannot_be_imported(copy: Any) -> None:
    """Every table that lacks the row says so, and where the record is."""
    done = copy(ROOT_RECORD, SIGNAL_RECORD)(
        """
import importlib, json
found = {}
for name in ("objective.shapes", "objective.signals", "export.targets.parts"):
    try:
        importlib.import_module(f"atod_sweep.{name}")
    except TypeError as error:
        found[name] = str(error)
print(json.dumps(found))
"""
    )
    where = "atod_sweep.config"
    signal = f"no row for kind 'total_variation' ({where}.signals.TotalVariation) in this table"
    assert json.loads(done.stdout) == {
        "objective.shapes": f"no row for kind 'root' ({where}.schedules.Root) in this table",
        "objective.signals": signal,
        "export.targets.parts": signal,
    }


@pytest.mark.slow
def test_a_new_decay_shape_is_handled_everywhere(copy: Any) -> None:
    """At step 40 of a window of 80: sqrt(1/2) of the way from 1 to 0.1 is 0.3636."""
    run = copy(ROOT_RECORD, ROOT_ROW, files=ROOT_CODE)
    done = run(
        """
import json, tempfile
from pathlib import Path
from small import tiny
from atod_sweep.config.train import Train
from atod_sweep.config.schedules import Linear, Root
from atod_sweep.config.search import Search
from atod_sweep.export.schedule.generate import schedule_module
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.trace import Trace
from atod_sweep.export.targets import registry
from atod_sweep.objective import schedules
from atod_sweep.sweep.searches.draws import CubeDraw
from atod_sweep.sweep.searches.space import resolve_space
from atod_sweep.sweep.searches.stopping import grace_step
from atod_sweep.training.loop.trainer import train

root = Root(start=1.0, end=0.1, anneal_steps=80)
data = {"objective": {"kind": "interpolated", "distill_weight": root.model_dump(mode="json")}, "steps": 150}
file = ScheduleFile.model_validate({"steps": 150, "horizon": 8, "objective": data["objective"]})
longer, exported = file.rescaled(300, 8), {}
exec(schedule_module(file, Trace()), exported)
search = Search.model_validate({"name": "s", "question": "q", "base": data, "parameters": {
    "objective.distill_weight.kind": {"choice": ["root"]}}})
sample = resolve_space(search, Path("."), "s").sample(CubeDraw(iter([0.5])))
rows = []
with tempfile.TemporaryDirectory() as folder:
    train(tiny(objective__distill_weight={"kind": "root", "anneal_fraction": 1.0}), Path(folder), rows.extend)
print(json.dumps({
    "trained": [row["weight/distill"] for row in rows if row["phase"] == "train"],
    "weights": [schedules.weights(root, 150)[s] for s in (0, 40, 80, 149)],
    "grace": grace_step(Train.model_validate(data).model_dump(mode="json"), None),
    "exported": [exported["weights"](s, 0, 150, 8)["distill"] for s in (0, 40, 80, 149)],
    "rescaled": [exported["weights"](80, 0, 300, 8)["distill"], longer.objective.distill_weight.anneal_steps],
    "matched": schedules.match_mean(Root(start=1.0, anneal_steps=80), "end", schedules.weights(root, 150)[40], 150),
    "sampled": sample.config["objective"]["distill_weight"]["kind"],
    "verl": registry.losses(registry.find("verl"), file),
}))
"""
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = [1.0, 1.0 - 0.9 * 0.5**0.5, 0.1, 0.1]
    assert found["weights"] == pytest.approx(expected, abs=1e-15)
    assert found["exported"] == found["weights"]
    assert found["trained"] == pytest.approx([1.0 - 0.9 * (s / 4) ** 0.5 for s in range(4)], abs=1e-15)
    assert found["grace"] == 80
    assert found["rescaled"] == [pytest.approx(expected[1], abs=1e-15), 160]
    assert found["matched"] < 0.3
    assert found["sampled"] == "root"
    assert found["verl"] == [
        "forward KL over the vocabulary: the teacher's 128 likeliest tokens, without the tail, take its place"
    ]


@pytest.mark.slow
def test_a_new_signal_is_computed_and_no_target_pretends_to_carry_it(copy: Any) -> None:
    """P = (1/2, 0.3, 0.2), Q = (0.2, 0.7, 0.1): half of 0.3 + 0.4 + 0.1."""
    run = copy(SIGNAL_RECORD, SIGNAL_ROWS, files=SIGNAL_CODE)
    done = run(
        """
import json, torch
from small import make_model, play, scored_by, tiny
from atod_sweep.config.train import Train
from atod_sweep.export.schedule.schedule_file import from_train
from atod_sweep.export.targets import registry
from atod_sweep.objective.signals import SIGNALS
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.models.policy import Policy

config = tiny(objective__distill__kind="total_variation", objective__distill_weight=1.0, rollout__group_size=2)
mix = ALGORITHMS["interpolated"](config, scored_by(Policy(make_model("llama", seed=1))), None)
student = Policy(make_model("llama"))
batch, _ = mix.prepare(student, play(student.model, [1, 1]), 0, 1.0, 10**6)
loss = mix.terms(student(batch.ids_ST, batch.index_N), batch)["distill"].item()
logits = student(batch.ids_ST, batch.index_N).logits_NV
other = (logits.softmax(-1) - batch["teacher_full"].exp()).abs().sum().item() / 2
p, q = torch.tensor([[0.5, 0.3, 0.2]]).log(), torch.tensor([[0.2, 0.7, 0.1]]).log()
file = from_train(config)
print(json.dumps({
    "by hand": SIGNALS["total_variation"].loss(p, q).item(),
    "loss": loss, "expected": other,
    "carried": registry.chosen("all", file, allow_lossy=True),
    "trl": registry.losses(registry.find("trl"), file),
}))
"""
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["by hand"] == pytest.approx(0.4)
    assert found["loss"] == pytest.approx(found["expected"], rel=1e-5)
    assert found["expected"] > 0.1
    assert found["carried"] == []
    assert found["trl"] == ["total variation over the vocabulary: this target does not know it"]


def test_files_touched() -> None:
    """Two files of code, and a row (and its import) in every table."""
    assert len(ROOT_RECORD) + len(ROOT_CODE) == len(SIGNAL_RECORD) + len(SIGNAL_CODE) == 2
    for edits in (ROOT_ROW, SIGNAL_ROWS):
        for changes in edits.values():
            added = [new.count("\n") - old.count("\n") for old, new in changes]
            assert added in ([1, 1], [1])
