"""README and docs/ are true: links lead somewhere, files load, keys and options exist, Python runs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
import typer
from doc_pages import FENCE, PAGES, ROOT, blocks, file_name, generated, name_of, spans

from atod_sweep.cli import app
from atod_sweep.config.base import dump_yaml, parse_mapping
from atod_sweep.config.files import load_file, load_train, preset_names
from atod_sweep.config.given import given
from atod_sweep.config.schema import check_key
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.sweep.searches.space import resolve_space
from atod_sweep.sweep.studies.plan import resolve

GENERATED = generated()
GAME = ROOT / "docs/howto/environment.md"
each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def with_blocks(language: str) -> pytest.MarkDecorator:
    found = [(page, text) for page in PAGES for text in blocks(page, language)]
    return pytest.mark.parametrize(("page", "text"), found, ids=[f"{name_of(p)}-{i}" for i, (p, _) in enumerate(found)])


# ---- links -------------------------------------------------------------------------------------------------------


@cache
def whole(page: Path) -> str:
    """The text of a page, with what is generated into it."""
    return str(GENERATED.MARK.sub(lambda mark: GENERATED.GENERATORS[mark[1]](), page.read_text(encoding="utf-8")))


@cache
def anchors(page: Path) -> set[str]:
    """Ids of the headings of a page, the generated ones included."""
    text = whole(page)
    found = set()
    for title in re.findall(r"^#+ (.+)$", GENERATED.FENCED.sub("", text), re.MULTILINE):
        given_id = re.search(r"\{ #(\S+) \}$", title)
        plain = re.sub(r"[^\w\s-]", "", title).strip().lower()
        found.add(given_id[1] if given_id else re.sub(r"[-\s]+", "-", plain))
    return found


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for _, _, target in GENERATED.LINK.findall(GENERATED.FENCED.sub("", whole(page))):
        path, _, anchor = target.partition("#")
        assert not re.match("https?:", target), f"{target}: pages link to what is here"
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


# ---- files -------------------------------------------------------------------------------------------------------


@with_blocks("yaml")
def test_files_load(page: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (block for one in (GAME, page) for block in blocks(one, "python")):
        if (name := file_name(module)) and name.endswith(".py"):
            with (tmp_path / name).open("a", encoding="utf-8") as file:
                file.write(module + "\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    path = tmp_path / (file_name(text) or "file.yaml")
    path.write_text(text, encoding="utf-8")
    data = parse_mapping(text, name_of(page))
    if data.keys() <= Search.model_fields.keys() - Train.model_fields.keys() - Study.model_fields.keys():
        data |= {"parameters": {"steps": {"choice": [1, 2]}}, "base": "presets/support_desk_compact"}  # a part of one
        path.write_text(dump_yaml(data), encoding="utf-8")
    if "arms" in data:
        assert resolve(load_file(Study, path), tmp_path, name_of(page)).trials
    elif "parameters" in data:
        found = given(Search, path, resolve_space)
        assert resolve_space(found.record, found.folder, found.where).parameters
    else:
        assert load_train(str(path)).steps


# Dotted words in backticks that are no keys: Python, file names, and names of modules.
ELSEWHERE = re.compile(
    r"(a|atod|run|trainer|benchmarks|schedule|self|state|tags|torch|info|package|my_\w+)\."
    r"|.*\.(py|md|yaml|json|csv|jsonl|html|gz|db|journal)$"
)


@each_page
def test_keys_exist(page: Path) -> None:
    for span in spans(page):
        found = re.match(r"([a-z_]+(?:\.[a-z_]+)+)(?=$|:|=)", span)
        if found is None or ELSEWHERE.match(span) or "distil_weight" in span:
            continue
        assert any(is_key(model, found[1]) for model in (Train, Study, Search)), span


def is_key(model: type[Train | Study | Search], key: str) -> bool:
    try:
        check_key(model, key)
    except UserError:
        return False
    return True


def test_a_key_that_is_none_would_be_found() -> None:
    assert is_key(Train, "objective.distill_weight.kind")
    assert is_key(Search, "budget.racing")
    assert not any(is_key(model, "objective.distil_weight") for model in (Train, Study, Search))


# ---- commands ----------------------------------------------------------------------------------------------------


def commands(page: Path) -> list[list[str]]:
    """What the page tells to type, word by word, without `atod-sweep`."""
    lines = [
        line
        for block in [*blocks(page, "bash"), *blocks(page, "sh")]
        for line in block.replace("\\\n", " ").splitlines()
    ]
    parts = [part.strip() for line in [*lines, *spans(page)] for part in line.split(" && ")]
    words = [shlex.split(part.replace("…", "X=1"), comments=True) for part in parts if part.startswith("atod-sweep ")]
    return [found[1:] for found in words if found[1] != "VERB"]


@each_page
def test_commands_are_understood(page: Path) -> None:
    group = typer.main.get_command(app)
    for words in commands(page):
        command, rest = group.commands[words[0]], words[1:]
        if hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        if not any(parameter.required for parameter in command.params) or rest:  # else the bare name of a verb
            command.make_context(words[0], list(rest))
        model = {"run": Study, "search": Search}.get(words[0])
        if model and rest and re.fullmatch(r"[a-z_]+|(studies|search_spaces)/.+", rest[0]):
            assert given(model, rest[0]).record.name
        for preset in (word.removeprefix("presets/") for word in rest if word.startswith("presets/")):
            assert preset in (*preset_names(), "NAME")


def test_an_option_that_is_none_would_be_found() -> None:
    command = typer.main.get_command(app).commands["run"]
    with pytest.raises(Exception, match=r"no-such|No such option"):
        command.make_context("run", ["quickstart", "--no-such"])


# ---- Python ------------------------------------------------------------------------------------------------------


@with_blocks("python")
def test_python_compiles(page: Path, text: str) -> None:
    compile(text, name_of(page), "exec")


def runnable(place: str) -> list[str]:
    return [text for page in PAGES for text in blocks(page, "python") if text.startswith(f"# run it {place}\n")]


def test_the_exported_schedule_is_called_as_told(monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "studies/results/cosine_vs_linear/export"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (text,) = runnable("beside schedule.py")
    exec(compile(text, "docs", "exec"), {})
    distill, reward, kl, temperature = map(float, capsys.readouterr().out.split())
    assert distill + reward == pytest.approx(1.0)
    assert (kl, temperature) == (0.0, 1.0)


@pytest.mark.slow
def test_a_committed_run_opens_as_told(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    monkeypatch.chdir(tmp_path)
    (text,) = runnable("in the repository")
    scope: dict = {}
    exec(compile(text, "docs", "exec"), scope)
    assert "cosine > linear" in capsys.readouterr().out
    assert (tmp_path / "differences.png").stat().st_size > 0
    assert "<table>" in scope["run"]._repr_html_()


def notebook() -> dict:
    """docs/howto/notebook.ipynb, its training cut to two steps."""
    found = json.loads((ROOT / "docs/howto/notebook.ipynb").read_text(encoding="utf-8"))
    short = [cell for cell in found["cells"] if any('"steps": 80' in line for line in cell["source"])]
    assert len(short) == 1
    short[0]["source"] = [
        line.replace('"steps": 80, "evaluation.every": 20', '"steps": 2, "evaluation.every": 1, "evaluation.tasks": 16')
        for line in short[0]["source"]
    ]
    return found


def test_the_notebook_holds_no_results_of_one_run_and_its_cells_compile() -> None:
    for cell in notebook()["cells"]:
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "notebook.ipynb", "exec")


@pytest.mark.slow
def test_the_notebook_is_executed(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    (tmp_path / "docs/howto").mkdir(parents=True)
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    found = nbformat.reads(json.dumps(notebook()), as_version=4)
    resources = {"metadata": {"path": str(tmp_path / "docs/howto")}}
    done = nbclient.NotebookClient(found, timeout=600, kernel_name="python3", resources=resources).execute()
    shown = [output for cell in done.cells for output in cell.get("outputs", [])]
    text = json.dumps(shown)
    assert "cosine > linear" in text
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    assert sum("<table" in str(output.get("data", {}).get("text/html")) for output in shown) >= 4
    assert "schedule.py" in text


def test_the_shaped_reward_pays_early_answers(tmp_path, monkeypatch) -> None:
    for page in (GAME, ROOT / "docs/howto/reward.md"):
        for text in blocks(page, "python"):
            (tmp_path / str(file_name(text))).write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("my_games", "shaped"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import shaped

    game = shaped.Quick()
    game.reset(seed=0)
    assert game.step("nothing")[1] == 0.0
    assert game.step(game.colour)[1] == 0.5


# ---- shape -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted((ROOT / "docs/iwant").glob("*.md")), ids=name_of)
def test_whoever_wants_something_has_it_in_seven_steps(page: Path) -> None:
    steps = [int(n) for n in re.findall(r"^\*\*(\d)\. ", page.read_text(encoding="utf-8"), re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert 1 <= len(steps) <= 7


@each_page
def test_pages_use_the_words_of_the_glossary(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    other = r"\b(campaigns?|variants?|treatments?|rungs?|hyper-?parameters?|held-out set)\b"
    assert not re.findall(other, text, re.IGNORECASE)


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110
