"""`atod-sweep search` as a user meets it: a real tiny search from file to report, the estimate, the refusals."""

from __future__ import annotations

import functools
import json
import sys

import pytest
import yaml
from fake_training import FAKE
from ledger_files import read_ledger

from atod_sweep import cli
from atod_sweep.api import verbs
from atod_sweep.records import ledger
from atod_sweep.sweep.searches import run_search as search

TINY = {"hidden": 16, "layers": 1, "heads": 2}
SEARCH = {
    "question": "Does it search?",
    "base": {
        "base": "presets/support_desk_compact",
        "teacher": {**TINY, "recipe": {"steps": 3, "episodes": 4}},
        "student": {**TINY, "recipe": {"steps": 10, "episodes": 4, "success": [0.0, 1.0]}},
        "rollout": {"tasks": 2, "group_size": 2},
        "evaluation": {"every": 2, "tasks": 8},
        "steps": 4,
    },
    "parameters": {
        "objective.distill_weight": {"kind": {"choice": ["linear", "cosine"]}, "end": {"float": [0.0, 0.3]}}
    },
    "sampler": {"kind": "random", "seed": 1},
    "budget": {"configurations": 2, "seeds": 1, "confirm": {"top": 1, "seeds": 2}},
}


@pytest.fixture
def call(monkeypatch, capsys, tmp_path, tmp_path_factory):
    """Run `atod-sweep ...` beside a file tiny.yaml; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SEARCH, sort_keys=False))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["atod-sweep", *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.slow
def test_from_a_space_to_a_confirmed_schedule(call, tmp_path):
    code, out, err = call("search", "tiny.yaml", "--dry-run")
    assert (code, err) == (0, "")
    assert "6 trials of about" in out
    assert not (tmp_path / "runs").exists()

    code, out, err = call("search", "tiny.yaml", "--backend", "local")
    assert (code, err) == (0, "")
    folder = tmp_path / "runs" / "tiny"
    assert "reference" in out
    assert (folder / "report.md").is_file()
    assert (folder / "optuna.journal").is_file()
    best = yaml.safe_load((folder / "best_schedule.yaml").read_text())
    assert best

    code, out, err = call("search", "tiny.yaml", "--backend", "local")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "--resume finishes it" in err

    code, out, err = call("search", "tiny.yaml", "--backend", "local", "--extend", "--configurations", "3")
    assert (code, err) == (0, "")
    rows = read_ledger(folder)
    assert [row["arm"] for row in rows if row["event"] == "configuration"] == ["c000", "c001", "c002"]
    complete = [row["trial"] for row in rows if row["event"] == "trial" and row["state"] == "COMPLETE"]
    assert len(complete) == len(set(complete)) >= 3 + 4

    code, out, err = call("resume", str(folder), "--backend", "local")
    assert (code, err) == (0, "")


@pytest.mark.slow
def test_the_exit_code_is_1_if_too_few_trials_completed(call, tmp_path):
    late = {**SEARCH, "base": {**SEARCH["base"], "steps": 100_000}, "resources": {"seconds": 0.1}}
    (tmp_path / "late.yaml").write_text(yaml.safe_dump(late))
    code, out, _ = call("search", "late.yaml", "--backend", "local", "--max-retries", "1", "--json")
    assert code == 1
    ended = [row for row in map(json.loads, out.splitlines()) if row.get("state") == "FAILED"]
    assert {row["error"]["status"] for row in ended} == {"timeout"}
    assert [(row["trial"], row["attempt"]) for row in ended] == [(f"c00{i}-s0", k) for i in (0, 1) for k in (1, 2)]


def test_a_space_is_shown_and_its_mistakes_are_one_line(call, tmp_path):
    code, out, err = call("space", "show", "tiny.yaml", "--samples", "2")
    assert (code, err) == (0, "")
    assert out.count("sample ") == 2
    wrong = {**SEARCH, "parameters": {"objective.distill_weight.knd": {"choice": ["linear", "cosine"]}}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    code, out, err = call("search", "wrong.yaml", "--backend", "local")
    assert (code, [line for line in out.splitlines() if not line.startswith("reading …")]) == (2, [])
    assert len(err.splitlines()) == 1
    assert "objective.distill_weight.kind" in err


@pytest.mark.parametrize("words", [("space", "show"), ("search", "--dry-run"), ("search", "--backend", "local")])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("kl/refrence", "did you mean 'kl/reference'?"),
        ("zzz", "known: eval/..., final/..., rollout/..., retention/..., cost/env_steps"),
    ],
)
def test_a_misspelt_second_objective_is_found_before_anything_runs(call, tmp_path, words, name, hint):
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({**SEARCH, "second": {"name": name, "mode": "min"}}))
    code, out, err = call(*words, "wrong.yaml")
    assert (code, [line for line in out.splitlines() if not line.startswith("reading …")]) == (2, [])
    assert len(err.splitlines()) == 1
    assert f"second.name: no trial reports {name!r}; {hint}" in err
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def call_fake(call, monkeypatch, no_mlflow):
    """`call`, with trials that cost nothing and without MLflow and report."""
    monkeypatch.setattr(search, "run_search", functools.partial(search.run_search, trainer=FAKE))
    monkeypatch.setattr(verbs, "conclude", lambda run_dir, say: None)
    return functools.partial(call, "search", "tiny.yaml", "--backend", "local")


def configurations(run_dir):
    return [row["arm"] for row in ledger.read(run_dir) if row["event"] == "configuration"]


def test_max_trials_bounds_a_search_and_leaves_room_for_the_confirmation(call_fake, tmp_path):
    # 4 trials confirm (1 configuration and the reference, 2 seeds each); 7 leave 3 for configurations of 1 seed
    code, out, err = call_fake("--configurations", "9", "--max-trials", "7")
    assert (code, err) == (0, "")
    assert configurations(tmp_path / "runs" / "tiny") == ["c000", "c001", "c002"]
    trials = ledger.fold(ledger.read(tmp_path / "runs" / "tiny")).trials
    assert [row["state"] for row in trials.values()] == ["COMPLETE"] * 7
    assert "\n7/7 complete" in out

    code, out, err = call_fake("--max-trials", "4", "--name", "too_few")
    assert code == 2
    assert err == (
        "--max-trials 4: the confirmation alone takes 4 trials and a configuration 1; allow at least 5, "
        "or lower budget.confirm\n"
    )


def test_time_budget_ends_the_proposals_and_still_confirms(call_fake, tmp_path):
    slow = {**SEARCH["base"], "env": {"kwargs": {"sleep": 0.05}}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**SEARCH, "base": slow}))
    code, _, err = call_fake("--configurations", "500", "--time-budget", "0.5")
    assert (code, err) == (0, "")
    proposed = configurations(tmp_path / "runs" / "tiny")
    assert 1 <= len(proposed) < 500
    trials = ledger.fold(ledger.read(tmp_path / "runs" / "tiny")).trials
    assert [row["state"] for row in trials.values()] == ["COMPLETE"] * (len(proposed) + 4)
