"""Command line of the benchmark (see the package's docstring)."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.trainer import compare, gpu, scaling
from benchmarks.trainer.compare import Measured
from benchmarks.trainer.machine import describe
from benchmarks.trainer.workload import SIZES


def plain_rows(where: str, measured: Measured) -> list[dict[str, Any]]:
    """One JSON-able dictionary per step and contender."""
    return [
        {"where": where, "contender": contender.name, "step": step, **asdict(row), "gemm_flops_per_second": speed}
        for contender, rows in measured.rows.items()
        for step, (row, speed) in enumerate(zip(rows, measured.gemm, strict=True))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainer", description=__doc__)
    parser.add_argument("what", nargs="?", default="compare", choices=["compare", "scaling", "gpu"])
    parser.add_argument("--size", nargs="+", default=list(SIZES), choices=list(SIZES), help="of `compare`")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=[who.name for who in compare.ALL], help="contenders of `compare`"
    )
    parser.add_argument("--steps", type=int, default=10, help="measured steps per contender or point")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of `compare`")
    parser.add_argument("--json", type=Path, help="write every measured step here")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/benchmark"), help="folder for tables and plots, which are replaced"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if arguments.what == "gpu" else arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device")
    machine = describe(device)
    lines = [f"{machine}; medians over {arguments.steps} steps.", ""]

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)
        (arguments.out / f"{arguments.what}-{device}.md").write_text("\n".join(lines) + "\n")

    print(lines[0], flush=True)
    match arguments.what:
        case "compare":
            found = compare.run(arguments.size, device, arguments.steps, say, arguments.only)
        case "scaling":
            found = scaling.run(arguments.steps, arguments.out, say)
        case _:
            found = gpu.run(arguments.steps, say)
    rows: list[dict[str, Any]] = []
    for where, measured in found:  # written as it comes, so that an interrupted run leaves what it had
        rows += plain_rows(where, measured)
        if arguments.json:
            arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
