"""`atod-sweep play`: a person at the terminal, the expert, a student with its teacher's opinion."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import gymnasium
import pytest
import torch

from atod_sweep import cli
from atod_sweep.config.models import CompactStudent
from atod_sweep.envs.families.support_desk import SupportDesk
from atod_sweep.training.models.compact import make_model, make_tokenizer

KNOWN = "greet, identify, verify, consent, notify, open, repay, credit"


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `atod-sweep play ...` with lines of input; returns (exit code, lines of stdout, stderr)."""

    def run(*words: str, typed: str = "") -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["atod-sweep", "play", *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_a_person_plays_and_leaves_politely(call):
    code, out, err = call("support_desk", "horizon=5", "--seed", "3", typed="?\ngreet\ndance\n")
    assert (code, err) == (0, "")
    assert out[0] == "one action per line; ? lists the legal ones, Ctrl-D leaves"
    assert out[1] == "support_desk, at most 5 turns, train task of seed 3"
    assert out[2].startswith("hello ")
    assert out[3].startswith(f"  1 > {KNOWN}")
    assert out[4].startswith("  1 > want ")  # what is typed is not in our output
    assert out[5].startswith("  2 > what want ")
    assert out[6:] == ["  3 > ", "left"]


def test_a_finished_task_is_summed_up_and_the_next_one_follows(call):
    game = SupportDesk(horizon=4)
    game.reset(seed=0, options={"split": "eval"})
    right = "\n".join(game._required)
    code, out, _ = call("support_desk", "horizon=4", "--held-out", "--episodes", "2", typed=right + "\nfoo" * 4)
    assert code == 0
    assert "3 turns, success 1, f1 1.00" in out
    assert "support_desk, at most 4 turns, eval task of seed 1" in out
    assert out[-1] == "4 turns, success 0, f1 0.00"


def test_the_expert_is_watched(call):
    code, out, _ = call("planner", "--demonstrator", "kwargs.outdated=0")
    assert code == 0
    assert out[0] == "planner, at most 16 turns, train task of seed 0"  # the family's own horizon
    assert out[2].startswith("  1 > ")
    assert ", success 1, efficiency 1.00" in out[-1]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    """Two untrained models that say one word of the desk's."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = make_tokenizer(SupportDesk().vocabulary())
    found = []
    for seed, word in enumerate(["greet", "verify"]):
        model = make_model(CompactStudent(hidden=16, layers=1, heads=2), tokenizer, seed)
        with torch.no_grad():  # after an action's first word its end is sure, before it the word is
            model.lm_head.weight.zero_()
            model.model.embed_tokens.weight.fill_(0.0)
            model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids("<act>")] = torch.eye(16)[0] * 50
            model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(word)] = torch.eye(16)[1] * 50
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(word), 0] = 1.0
            model.lm_head.weight[tokenizer.eos_token_id, 1] = 1.0
        model.save_pretrained(folder / word)
        tokenizer.save_pretrained(folder / word)
        found.append(folder / word)
    return found


def test_a_student_is_watched_with_its_teachers_opinion(call, models):
    student, teacher = map(str, models)
    code, out, _ = call("support_desk", "--model", student, "--teacher", teacher, "horizon=4")
    assert code == 0
    assert out[2].startswith("  1 > greet   (log-prob -")
    assert out[3].startswith("      teacher: log-prob -")
    assert "; it would say 'verify' (-" in out[3]
    code, out, _ = call("support_desk", "--model", student, "--teacher", student, "horizon=4")
    own, theirs = out[2].split("log-prob ")[1].rstrip(")"), out[3].split("log-prob ")[1]
    assert own == theirs  # a teacher that agrees says no more


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chess"], "env.id: unknown environment 'chess'"),
        (["planner", "horizon=7"], "env.horizon: planner plays 8 to 40 turns, got 7"),
        (["planner", "kwargs.stile=x"], "did you mean 'style'?"),
        (["planner", "hirozon=8"], "did you mean 'horizon'?"),
        (["planner", "--teacher", "."], "--teacher .: is asked about a student's turns"),
        (["planner", "--model", "nowhere"], "model directory 'nowhere' does not exist"),
        (["planner", "--model", ".", "--demonstrator"], "only one can play"),
        ([f"{__name__}:Mute", "--demonstrator"], "Mute has no demonstrator_action(); play it without --demonstrator"),
    ],
)
def test_bad_input_is_one_line(call, words, message):
    code, _, err = call(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


class Mute(gymnasium.Env):
    """Without an expert."""

    def reset(self, *, seed=None, options=None):
        return "?", {}


def test_an_environment_that_breaks_the_contract_ends_in_one_line(call):
    code, out, err = call("odd_env:Base", "horizon=3", "kwargs.case=old step", typed="go\ngo\n")
    assert code == 2
    assert out[-2:] == ["a door", "  1 > "]
    assert err.count("\n") == 1
    assert err.startswith("env.id: 'odd_env:Base', task seed 0, turn 1: step() returned four values")


def test_one_that_reports_no_success_says_what_stands_in_for_it(call):
    code, out, _ = call("odd_env:Base", "horizon=3", typed="go\ngo\ngo\n")
    assert code == 0
    assert out[-2].endswith("3 turns, success 1")
    assert out[-1] == "the environment reports no success: an episode counts as solved if its last reward is positive"
