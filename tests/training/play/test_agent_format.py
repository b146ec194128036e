"""The prompts of published agents: one message with the last steps, marked actions, lists of admissible commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from chat import CHATML, characters
from echo_env import Echo
from small import LLAMA, tiny
from transformers import LlamaConfig, LlamaForCausalLM

from atod_sweep.config.rollout import Rollout
from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import episodes
from atod_sweep.training.play.agent_format import WHOLE, AgentFormat
from atod_sweep.training.play.conversation import Manner, conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import habits
from atod_sweep.training.play.outcomes import Episodes, Limits
from atod_sweep.training.play.talk import Exchange, Growing, PerTurn

TAGS = {"pattern": "<action>{action}</action>"}
TOKENS = characters(CHATML)
ASK = "\n\nGive your next action as <action>…</action>"


class Offering(Echo):
    """Echo that says what can be answered, other things at every turn, and keeps what it heard."""

    heard: list[str] = []  # noqa: RUF012

    def actions(self) -> list[str]:
        return ["one", "two", "three"][: self.turn + 1]

    def step(self, action: str) -> Any:
        self.heard.append(action)
        return super().step(action)


def model(path: Path | None = None) -> Any:
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(**LLAMA | {"vocab_size": len(TOKENS), "max_position_embeddings": 2048})).eval()
    if path is not None:
        made.save_pretrained(path)
        TOKENS.save_pretrained(path)
    return made


def says(monkeypatch: Any, answers: list[list[str]]) -> None:
    """Make the player's rows answer this, turn by turn; a row that has ended has fewer answers."""
    turns = []
    for said in answers:
        rows = [
            TOKENS(text + "<|im_end|>" * (not text.endswith("\n")), add_special_tokens=False)["input_ids"]
            for text in said
        ]
        turns += [[row[min(i, len(row) - 1)] for row in rows] for i in range(max(map(len, rows)))]
    script = iter(turns)

    def sample(logits: torch.Tensor, *_: Any) -> Any:
        return torch.tensor(next(script)), torch.full((len(logits),), -0.5)

    monkeypatch.setattr(episodes, "sample", sample)


def played(rollout: dict[str, Any], rows: int = 1, split: str = "train", chat: bool = True) -> tuple[Episodes, Any]:
    Offering.heard.clear()
    config = Rollout(**rollout)
    talk = conversation_for(TOKENS, chat, config.stop, Manner(format=AgentFormat.of(config)))
    player = Player(Batch(Env(id="test_agent_format:Offering", horizon=3), rows), talk, Limits(40, 2000))
    seeds = [5 * i + 2 for i in range(rows)]  # of three turns
    return player.play(Policy(model()), seeds, split, 1.0, torch.Generator()), talk


def text(found: Episodes, row: int) -> str:
    return str(TOKENS.decode(found.ids_ST[row, : int(found.length_S[row])]))


# ---- what is asked -------------------------------------------------------------------------------------------------


def test_one_message_with_the_task_the_last_step_and_what_can_be_done_now(monkeypatch):
    says(monkeypatch, [["I see. <action> one </action>"], ["<action>two</action>"], ["three"]])
    found, talk = played({"history": {"last": 1}, "action": TAGS, "admissible": True})
    assert isinstance(talk, PerTurn)
    task, second, third = (shown.partition("\n\nAdm")[0] for shown, _ in found.outcomes[0].transcript)
    head, tail = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    assert [text(found, i) for i in range(3)] == [
        f"{head}{task}\n\nAdmissible actions: 'one'{ASK}{tail}I see. <action> one </action><|im_end|>",
        f"{head}{task}\n\nYour last step:\n\nAction: one\n\nNow you observe: {second}"
        f"\n\nAdmissible actions: 'one', 'two'{ASK}{tail}<action>two</action><|im_end|>",
        f"{head}{task}\n\nYour last step:\n\nObservation: {second}\nAction: two\n\nNow you observe: {third}"
        f"\n\nAdmissible actions: 'one', 'two', 'three'{ASK}{tail}three<|im_end|>",
    ]
    assert Offering.heard == ["one", "two", ""]
    assert [act.answer for act in found.outcomes[0].acts][1:] == ["<action>two</action>", "three"]


@pytest.mark.parametrize(
    ("last", "want"),
    [
        (0, "go\n\nNow you observe: d"),
        (2, "go\n\nYour last 2 steps:\n\nObservation: b\nAction: y\n\nObservation: c\nAction: z\n\nNow you observe: d"),
        (
            9,
            "go\n\nYour last 3 steps:\n\nAction: x\n\nObservation: b\nAction: y\n\nObservation: c\nAction: z\n\n"
            "Now you observe: d",
        ),
    ],
)
def test_as_many_steps_as_are_wanted(last, want):
    past = [("go", "x"), ("b", "y"), ("c", "z")]
    assert AgentFormat(steps=last).message(past, "d") == want
    assert AgentFormat(steps=last).message([], "go") == "go"


@pytest.mark.parametrize("chat", [True, False])
def test_a_conversation_that_grows_lists_and_asks_too(monkeypatch, chat):
    says(monkeypatch, [["<action>one</action>"], ["<action>two</action>"], ["<action>three</action>"]])
    found, talk = played({"action": TAGS, "admissible": True}, chat=chat)
    assert isinstance(talk, Growing)
    assert len(found.ids_ST) == 1
    assert text(found, 0).count(ASK) == 1
    assert text(found, 0).count("Admissible actions: 'one'") == 3
    assert Offering.heard == ["one", "two", "three"]


def test_plain_text_with_the_last_steps(monkeypatch):
    says(monkeypatch, [["one\n"], ["two\n"], ["three\n"]])
    found, _ = played({"history": {"last": 1}}, chat=False)
    task = found.outcomes[0].transcript[0][0]
    assert text(found, 1).startswith(f"Observation: {task}\n\nYour last step:\n\nAction: one\n\nNow you observe: ")
    assert Offering.heard == ["one", "two", "three"]


def test_without_any_of_it_nothing_is_other_than_before(monkeypatch):
    assert AgentFormat.of(Rollout()) == WHOLE
    says(monkeypatch, [["one"], ["two"], ["three"]])
    found, _ = played({})
    assert "Admissible" not in text(found, 0)
    assert "Give your" not in text(found, 0)


# ---- what is answered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("<action>go</action>", "go"),
        ("I <action>stay</action> or rather <action>\n go north </action>.", "go north"),
        ("go", None),
        ("<action>go", None),
        ("go</action>", None),
        ("<action> </action>", None),
        ("", None),
    ],
)
def test_the_last_marked_action_counts(answer, action):
    assert AgentFormat(("<action>", "</action>")).read(answer) == action


def test_marks_on_one_side_and_marks_that_end_the_answer():
    assert AgentFormat(("Action: ", "")).read("Thought: x\nAction: look ") == "look"
    assert AgentFormat(("", ";")).read("look; and more") == "look"
    assert AgentFormat(("<a>", "</a>")).read("<a>look", stop_strings=["</a>"]) == "look"
    assert AgentFormat(("<a>", "</a>")).write("look") == "<a>look</a>"
    assert WHOLE.read("look") == WHOLE.write("look") == "look"


@pytest.mark.parametrize(("split", "cost"), [("train", 0.25), ("eval", 0.0)])
def test_an_answer_without_marks_costs_in_training(monkeypatch, split, cost):
    says(monkeypatch, [["<action>one</action>", "one"], ["two", "two"], ["<action>a</action>", "b"]])
    found, _ = played({"action": TAGS | {"penalty": 0.25}}, rows=2, split=split)
    free, _ = (says(monkeypatch, [["one", ""], ["", ""], ["a", ""]]), played({}, rows=2, split=split))[1]
    for mine, plain, unmarked in zip(found.outcomes, free.outcomes, (1, 3), strict=True):
        assert mine.total == pytest.approx(plain.total - cost * unmarked)
        assert mine.success == plain.success
    assert habits(found.outcomes)["action_unmarked"] == pytest.approx(4 / 6)
    assert "action_unmarked" not in habits(free.outcomes)


def test_demonstrations_are_marked():
    talk = conversation_for(TOKENS, True, [], Manner(format=AgentFormat(("<action>", "</action>"), steps=2)))
    ids = talk.encode_action("go")
    assert TOKENS.decode(ids) == "<action>go</action><|im_end|>"
    assert talk.decode_action(ids) == "go"
    assert "Action: go\n" in TOKENS.decode(talk.prompt([Exchange("a door", ids)], "a hall"))


# ---- in training ---------------------------------------------------------------------------------------------------


def settings(path: Path, **more: Any) -> dict[str, Any]:
    models = {
        f"{role}__{key}": value
        for role in ("student", "teacher")
        for key, value in {"kind": "pretrained", "path": str(path), "dtype": "float32"}.items()
    }
    small = {
        "env__id": "test_agent_format:Offering",
        "rollout__max_action_tokens": 6,
        "evaluation__tasks": 2,
        "steps": 1,
    }
    return models | small | more


def test_it_trains_as_it_plays(tmp_path):
    """The model as its own teacher: no gap."""
    model(tmp_path / "model")
    form = {"rollout__history": {"last": 2}, "rollout__action": TAGS, "rollout__admissible": True}
    rows: list[dict] = []
    train(tiny(**settings(tmp_path / "model", **form)), tmp_path, rows.extend)
    (row,) = [row for row in rows if row["phase"] == "train"]
    assert abs(row["kl/teacher"]) < 1e-5
    assert row["rollout/action_unmarked"] == 1.0
    assert row["rollout/reward"] == pytest.approx(-0.1 * row["rollout/turns"])


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"rollout__action": {"pattern": "<a></a>"}}, r"rollout.action.pattern: needs \{action\} once and a mark"),
        ({"rollout__action": {"pattern": "{action}"}}, r"rollout.action.pattern: needs \{action\} once and a mark"),
        ({"rollout__history": "some"}, "rollout.history: unknown value 'some'; known: all"),
        ({"rollout__history": {"last": -1}}, "rollout.history.last: must be at least 0, got -1"),
    ],
)
def test_refused_on_one_line(tmp_path, given, line):
    with pytest.raises(UserError, match=line) as error:
        tiny(**settings(tmp_path, **given))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("given", [{"history": {"last": 2}}, {"action": TAGS}, {"admissible": True}])
def test_compact_models_know_no_such_words(given):
    (key,) = given
    with pytest.raises(UserError, match=rf"rollout.{key}: .* is for pretrained models"):
        tiny(rollout=Rollout().model_dump(mode="json") | given)


def test_an_environment_that_lists_nothing(tmp_path, monkeypatch):
    monkeypatch.delattr(Echo, "actions")
    model(tmp_path / "model")
    config = tiny(**settings(tmp_path / "model", env__id="echo_env:Echo", rollout__admissible=True))
    with pytest.raises(UserError, match=r"rollout.admissible: env.id 'echo_env:Echo' has no actions\(\)"):
        assemble(config, tmp_path, resume=False)
