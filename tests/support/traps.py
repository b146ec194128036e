"""Files named like modules that everybody imports: they note that they were imported, and by whom."""

from __future__ import annotations

from pathlib import Path

NAMES = ("yaml", "numpy", "torch", "pydantic", "typer", "gymnasium", "transformers", "ray", "mlflow")
STANDARD = ("random", "json", "pickle", "socket", "tempfile", "dataclasses", "csv", "signal", "configparser")


def lay(folder: Path) -> Path:
    """Put one of each into `folder`; the file that will exist if any of them is imported."""
    caught = folder / "caught.txt"
    for name in (*NAMES, *STANDARD):
        (folder / f"{name}.py").write_text(
            f"import sys\nopen({str(caught)!r}, 'a').write('{name} ' + ' '.join(sys.argv) + chr(10))\n"
            f"raise ImportError('the {name} of the current folder')\n"
        )
    return caught
