"""`python -m benchmarks.shared_teacher`: what two trials side by side hold of one teacher, and wait for it.

A random Qwen3 of 135 M, saved in float32 and in bfloat16, is loaded by two processes as a trial loads its teacher, and
says something. Resident memory counts shared pages in each process; proportional memory counts them once. Then two
processes on Ray score the same TOKENS tokens over the whole vocabulary, with the file in float32 and the teacher in
bfloat16: each with its own, and both with one that a third holds; what they hold counts all that scoring makes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import torch
from transformers import AutoModelForCausalLM

from atod_sweep.config.base import validate
from atod_sweep.config.files import load_train
from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Train
from atod_sweep.sweep.backends import ray_cluster, ray_teacher
from atod_sweep.sweep.sharing import Holding
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop import build
from atod_sweep.training.models.load import load_model
from atod_sweep.training.scoring import FullDistribution
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.training.teachers.shared import Shared
from atod_sweep.training.teachers.teacher import Teacher
from benchmarks import memory

OUT = Path(__file__).with_suffix(".md")
PROCESSES = 2
PRECISIONS = ("float32", "bfloat16")
SEQUENCES, SAID, TIMES = 8, 64, 3  # conversations, tokens said in each, scorings
VERDICT = """
A teacher whose file has the precision that it is asked for is mapped, not read: all trials of a machine share its
pages. Another precision is a copy in each; saving the model in it once is the cure. On a GPU nothing is mapped, and
every trial has a copy. So trials on Ray share one teacher, in a process of its own, where those copies would cost more
than 1 GB: on a GPU that several trials share, and on a CPU that computes in another precision than the file's. What
they have of it then is its head, for whole distributions; with `top_k` not even that. They wait for each other while it
scores, which is no loss where they would share the device's time anyway. `resources.share_teacher` says otherwise, and
`teacher.kind: server` is a teacher for trials of many machines. The GPU's side of this is not measured.
"""


def held() -> tuple[int, int]:
    """Resident and proportional bytes of this process."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines())
    found = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in ("Rss:", "Pss:")}
    return found["Rss:"], found["Pss:"]


def hold(folder: str, dtype: str) -> None:
    """Load, say something, wait until the others have, tell what it took, wait until they have."""
    import transformers.models.qwen3.modeling_qwen3  # noqa: F401  # code is not what is measured

    before = held()
    model = load_model(Pretrained(path=folder), getattr(torch, dtype)).eval()
    with torch.no_grad():
        model(torch.arange(16)[None])
    print("there", flush=True)
    sys.stdin.readline()
    print(*(now - then for now, then in zip(held(), before, strict=True)), flush=True)
    sys.stdin.readline()


def beside_each_other(folder: Path, dtype: str) -> list[int]:
    """Resident and proportional bytes that the first of so many processes holds."""
    command = [sys.executable, "-m", "benchmarks.shared_teacher", str(folder), dtype]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    said: list[str] = []
    for _ in range(2):
        said = [_next(process) for process in running]
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
    for process in running:
        process.communicate()
    return [int(number) for number in said[0].split()]


class Asker:
    """A process that scores as a trial does. `key`: of the teacher that another process holds; None: its own."""

    def __init__(self, config: dict[str, Any], key: str | None) -> None:
        trial = validate(Train, config, "config")
        build.accelerator_for(trial)
        before, holder = held()[1], None if key is None else ray_teacher.reach(key)
        if holder is None:
            self.teacher: Teacher = LocalTeacher(build.hold(trial).policy, None, None, True)  # type: ignore[arg-type]
        else:
            self.teacher = Shared(holder, torch.device("cpu"))
        self.score()
        self.before = before

    def score(self) -> float:
        """Seconds."""
        ids_ST = torch.arange(SEQUENCES * (SAID + 1)).view(SEQUENCES, -1)
        sequence_N, column_N = (part.flatten() for part in torch.meshgrid(*map(torch.arange, ids_ST.shape)))
        said = column_N > 0
        batch = TokenBatch(ids_ST, torch.full((SEQUENCES,), SAID + 1), sequence_N[said], column_N[said], {})
        started = time.perf_counter()
        scored = self.teacher.score(batch, 1.0, FullDistribution(1.0, None), 2048)
        self.teacher.whole(scored, 1.0)
        return time.perf_counter() - started

    def holds(self) -> int:
        """Proportional bytes since before there was a teacher."""
        return held()[1] - self.before


def asked(config: dict[str, Any], key: str | None) -> str:
    """Of two that ask at the same time: what each holds, and how long it takes."""
    keepers = ray_teacher.start([Holding(key, config, 0, 0.0)] if key else [])
    askers = [ray.remote(Asker).options(num_cpus=1).remote(config, key) for _ in range(PROCESSES)]
    seconds = [max(ray.get([asker.score.remote() for asker in askers])) for _ in range(TIMES)]
    holds = max(ray.get([asker.holds.remote() for asker in askers]))
    del askers, keepers
    return f"{holds / 1e6:.0f} | {statistics.median(seconds):.2f}"


def _next(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "there" or line[:1].isdigit():
            return line
    raise RuntimeError(f"the process ended with {process.wait()}")


def main() -> None:
    lines = ["# One teacher, two trials", "", "`python -m benchmarks.shared_teacher`. "]
    lines[-1] += " ".join((__doc__ or "").split("\n\n", 1)[1].replace("TOKENS", str(SEQUENCES * SAID)).split())
    lines += [
        "",
        "| file | loaded in | file, MB | resident, MB each | proportional, MB each |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as place:
        memory.save(memory.SIZES["135 M"], Path(place) / "float32")
        whole = AutoModelForCausalLM.from_pretrained(Path(place) / "float32", dtype=torch.bfloat16)
        whole.save_pretrained(Path(place) / "bfloat16")
        for saved in PRECISIONS:
            size = (Path(place) / saved / "model.safetensors").stat().st_size
            for loaded in PRECISIONS:
                resident, proportional = beside_each_other(Path(place) / saved, loaded)
                numbers = " | ".join(f"{n / 1e6:.0f}" for n in (size, resident, proportional))
                lines.append(f"| {saved} | {loaded} | {numbers} |")
                print(lines[-1], flush=True)
        lines += ["", "| the teacher is | proportional, MB each | seconds of a scoring |", "|---|---|---|"]
        model = {"kind": "pretrained", "path": str(Path(place) / "float32"), "chat_template": False}
        trial = {"student": model, "teacher": {**model, "dtype": "bfloat16"}, "runtime.device": "cpu"}
        config = load_train("presets/support_desk_compact", trial).model_dump(mode="json")
        with ray_cluster.own():
            for where, key in (("each one's own", None), ("a third's", "shared")):
                lines.append(f"| {where} | {asked(config, key)} |")
                print(lines[-1], flush=True)
    OUT.write_text("\n".join(lines) + "\n" + VERDICT, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        hold(*sys.argv[1:])
    else:
        main()
