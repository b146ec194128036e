"""`python -m benchmarks.shared_teacher`: what two trials side by side hold of one teacher on a CPU.

A random Qwen3 of 135 M, saved in float32 and in bfloat16, is loaded by two processes as a trial loads its teacher, and
says something. Resident memory counts shared pages in each process; proportional memory counts them once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from atod_sweep.config.models import Pretrained
from atod_sweep.training.models.load import load_model
from benchmarks import memory

OUT = Path(__file__).with_suffix(".md")
PROCESSES = 2
PRECISIONS = ("float32", "bfloat16")
VERDICT = """
A teacher whose file has the precision that it is asked for is mapped, not read: all trials of a machine share its
pages, as they would share one process that scores for all of them. Another precision is a copy in each; saving the
model in it once is the cure. So no process of ours holds a teacher for a machine's trials: on a CPU it would save
nothing but that copy, and would let trials wait for each other. On a GPU, where nothing is shared, a server that runs
the teacher for all trials is `teacher.kind: server`.
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


def _next(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "there" or line[:1].isdigit():
            return line
    raise RuntimeError(f"the process ended with {process.wait()}")


def main() -> None:
    lines = ["# One teacher, two trials", "", "`python -m benchmarks.shared_teacher`. "]
    lines[-1] += " ".join((__doc__ or "").split("\n\n", 1)[1].split())
    lines += [
        "",
        "| file | loaded in | file, MB | resident, MB each | proportional, MB each |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as place:
        memory.save(memory.SIZES["135 M"], Path(place) / "float32")
        model = AutoModelForCausalLM.from_pretrained(Path(place) / "float32", dtype=torch.bfloat16)
        model.save_pretrained(Path(place) / "bfloat16")
        for saved in PRECISIONS:
            size = (Path(place) / saved / "model.safetensors").stat().st_size
            for loaded in PRECISIONS:
                resident, proportional = beside_each_other(Path(place) / saved, loaded)
                numbers = " | ".join(f"{n / 1e6:.0f}" for n in (size, resident, proportional))
                lines.append(f"| {saved} | {loaded} | {numbers} |")
                print(lines[-1], flush=True)
    OUT.write_text("\n".join(lines) + "\n" + VERDICT, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        hold(*sys.argv[1:])
    else:
        main()
