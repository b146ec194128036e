"""Imports go one way only, and each package stays free of the libraries that it is to know nothing of."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "atod_sweep"
SHARED = {"errors", "cores", "paths"}

# package -> the packages that it may import, beside itself and the SHARED ones
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "cores": set(),
    "paths": set(),
    "records": set(),
    "config": {"records"},
    "objective": {"records", "config"},
    "envs": {"records", "config", "objective"},
    "training": {"records", "config", "objective", "envs"},
    "sweep": {"records", "config", "objective", "envs", "training"},
    # a report or a bundle is rebuilt from files, on a machine that cannot train
    "evidence": {"records", "config", "objective", "envs"},
    "export": {"records", "config", "objective", "envs", "evidence"},
    # another trainer for trials, which runs the export of their schedule; named by `training.loop.runners`
    "trl": {"records", "config", "objective", "envs", "training", "export"},
    # composes everything: one function per verb, doing the whole job
    "api": {"records", "config", "objective", "envs", "training", "sweep", "evidence", "export"},
    "tune": {"records", "config", "training"},
    "cli": {"records", "config", "objective", "envs", "training", "sweep", "evidence", "export", "api"},
    "__main__": {"cli"},
    "__init__": {"api", "tune"},
}

# package -> libraries that no file of it imports, not even inside a function
FORBIDDEN: dict[str, set[str]] = {
    "records": {"torch", "ray", "transformers", "mlflow", "optuna"},
    "config": {"torch", "ray", "transformers", "mlflow", "optuna"},
    "objective": {"ray", "transformers", "mlflow", "optuna", "gymnasium"},
    "envs": {"torch", "ray", "transformers", "mlflow", "optuna"},
    "training": {"ray", "optuna", "mlflow"},
    "evidence": {"torch", "ray", "transformers", "mlflow"},
    "export": {"ray", "optuna", "mlflow"},
}

# modules that a machine without torch can use, wherever they lie
TORCH_FREE = (
    *("records", "config", "envs", "evidence"),
    *("objective/schedules.py", "objective/controllers.py", "objective/portable.py"),
    *("objective/shapes", "objective/profiles/__init__.py"),
)

# what `atod-sweep --help` may wait for: everything else of weight is imported inside the verbs
LIGHT = (
    *("atod_sweep.__version__", "atod_sweep.errors", "atod_sweep.paths", "atod_sweep.records.redaction"),
    *("atod_sweep.cli", "typer", "rich"),
)


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path: Path, nodes: Iterator[ast.AST] | None = None) -> set[str]:
    """Absolute dotted names that a file imports: `from a.b import c` gives a.b.c, relative ones are resolved."""
    found: set[str] = set()
    for node in nodes if nodes is not None else ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = path.relative_to(ROOT.parent).parts[: -node.level] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{stem}.{alias.name}" for alias in node.names}
    return found


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: everything outside functions and what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_import_time(child)


def own_packages(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path) if name.split(".")[0] == "atod_sweep"]
    known = {p.name.removesuffix(".py") for p in ROOT.iterdir()}
    # `from atod_sweep import __version__` names no package
    return {part[1] for part in parts if len(part) > 1 and part[1] in known}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


PACKAGES = sorted({package(path) for path in sources()})


@pytest.mark.parametrize("own", PACKAGES)
def test_imports_point_up_the_list(own: str) -> None:
    assert own in ALLOWED, f"{own} is not in the table of packages"
    found = {name_of(p): own_packages(p) - ALLOWED[own] - SHARED - {own} for p in sources() if package(p) == own}
    assert {name: others for name, others in found.items() if others} == {}


@pytest.mark.parametrize("own", FORBIDDEN)
def test_libraries_that_a_package_knows_nothing_of(own: str) -> None:
    libraries = {
        name_of(p): {name.split(".")[0] for name in imports(p)} & FORBIDDEN[own] for p in sources() if package(p) == own
    }
    assert libraries
    assert {name: found for name, found in libraries.items() if found} == {}


def test_the_table_itself_goes_one_way() -> None:
    order = list(ALLOWED)
    for name, above in ALLOWED.items():
        assert {order.index(other) < order.index(name) for other in above} <= {True}


def test_imports_are_found_in_all_their_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "atod_sweep"
    path = root / "sweep" / "x.py"
    path.parent.mkdir(parents=True)
    (root / "config").mkdir()
    monkeypatch.setattr(sys.modules[__name__], "ROOT", root)
    path.write_text(
        "import torch.nn as nn, os\nfrom atod_sweep import config, __version__\nfrom . import ledger\n"
        "from ..evidence.stats import mean\nclass A:\n    import json\n"
        "def f():\n    import ray\n    from atod_sweep.training.loop.trainer import train\n"
    )
    assert imports(path) == {
        "torch.nn",
        "os",
        "atod_sweep.config",
        "atod_sweep.__version__",
        "atod_sweep.sweep.ledger",
        "atod_sweep.evidence.stats.mean",
        "json",
        "ray",
        "atod_sweep.training.loop.trainer.train",
    }
    assert imports(path, at_import_time(ast.parse(path.read_text()))) == imports(path) - {
        "ray",
        "atod_sweep.training.loop.trainer.train",
    }
    (root / "sweep" / "__init__.py").write_text("from .ledger import Ledger")
    assert imports(root / "sweep" / "__init__.py") == {"atod_sweep.sweep.ledger.Ledger"}


@pytest.mark.parametrize("path", [p for p in sources() if package(p) in ("cli", "__main__", "__init__")], ids=name_of)
def test_the_command_line_imports_lazily(path: Path) -> None:
    names = imports(path, at_import_time(ast.parse(path.read_text(encoding="utf-8"))))
    outside = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in outside if not f"{name}.".startswith(tuple(f"{light}." for light in LIGHT))} == set()


def test_torch_free_modules_leave_torch_alone() -> None:
    """Also through what they import in turn, and through the packages' own __init__ files."""
    paths = [p for p in sources() if name_of(p).startswith(TORCH_FREE)]
    names = [*(module(p) for p in paths), "atod_sweep.export.schedule.verify"]  # where nobody can train
    assert {"atod_sweep.objective.schedules", "atod_sweep.config.train"} <= set(names)
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'ray', 'mlflow', 'optuna', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} pulls in {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_what_all_tests_share_needs_no_more_than_the_tests_on_a_gpu() -> None:
    """`benchmarks/on_gpu.sh` runs some on a machine that has PyTorch, transformers, accelerate and pytest."""
    absent = "import sys\nfor name in ('ray', 'optuna', 'mlflow', 'typer', 'rich', 'matplotlib', 'scipy', 'pandas'):\n"
    absent += "    sys.modules[name] = None\nimport pytest\n"
    one = "tests/test_errors.py"
    run = f"{absent}sys.exit(pytest.main(['-q', '-n', '0', '-p', 'no:cacheprovider', '{one}']))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
