"""How long from `pip install` to a finished report, by the first page alone?

    python -m benchmarks.first_page [--page docs/index.md]

The commands are those of the page's first block. They are typed in a fresh clone of this repository's last commit, in a
fresh virtual environment, with no model, cache or run of before; pip's own cache is used. Prints a row of Markdown a
command, and fails as the reader would: at the first command that does not end well.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORT = re.compile(r"^ *report +(\S+)", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of the first block of shell commands on the page."""
    found = re.search(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"{page}: shows no commands")
    return [line for line in found[1].splitlines() if line and not line.startswith("#")]


def follow(page: Path) -> list[tuple[str, float]]:
    """Type them, one after the other; returns each with its seconds. The last one has to leave a report."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        clone = place / "atod-sweep"
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(clone)], check=True)
        subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
        path = os.pathsep.join([str(place / "venv/bin"), os.environ["PATH"]])
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MLFLOW", "VIRTUAL_ENV"))
        }
        env = {**kept, "PATH": path, "ATOD_SWEEP_CACHE": str(place / "cache")}
        took, said = [], ""
        for line in commands(page):
            started = time.perf_counter()
            done = subprocess.run(["bash", "-c", line], cwd=clone, env=env, text=True, capture_output=True)
            took.append((line, time.perf_counter() - started))
            if done.returncode:
                raise SystemExit(f"{line}: ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            said = done.stdout + done.stderr
        report = REPORT.search(said)
        if report is None or not (clone / report[1]).is_file():
            raise SystemExit(f"{took[-1][0]}: left no report\n{said[-2000:]}")
    return took


def main() -> None:
    """Follow the page and print what each command took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=ROOT / "docs/index.md")
    took = follow(parser.parse_args().page)
    print("| command | seconds |\n|---|---:|")
    for line, seconds in took:
        print(f"| `{line}` | {seconds:.0f} |")


if __name__ == "__main__":
    main()
