"""Models that think: what the environment hears, what is cut, what carries loss, and that reward teaches the answer."""

from __future__ import annotations

import numpy as np
import pytest
import thinker
import torch
from small import follow, full_forward_logp, make_model, tiny

from atod_sweep.config.models import Thoughts
from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import Manner, conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.play.thoughts import KNOWN, Marks, Said, split
from atod_sweep.training.play.wheel import Wheel
from atod_sweep.training.scoring import score
from atod_sweep.training.teachers.teacher import Action

TOKENS = thinker.tokens()
IDS = TOKENS.get_vocab()
OPEN, CLOSE, END, OBS, ACT, HM = (IDS[w] for w in ("<think>", "</think>", "<end>", "<obs>", "<act>", "hm"))
ONE, TWO, RED, BLUE, GREEN, SO = (IDS[w] for w in ("one", "two", "red", "blue", "green", "so"))


def play(monkeypatch, thoughts, sampled, observations, kind="auto", rows=1, action_tokens=2, wheel=None):
    """Scripted episodes of one row or several; `sampled` is decoding step by decoding step."""
    follow(monkeypatch, sampled)
    kwargs = {"observations": observations, "rewards": [0.0] * (len(observations) - 1)}
    batch = Batch(Env(id="echo_env:Script", kwargs=kwargs), rows)
    talk = conversation_for(TOKENS, True, [], Manner(kind, thoughts=thoughts))
    player = Player(batch, talk, Limits(action_tokens, 256))
    model = make_model("qwen3", vocabulary=len(TOKENS))
    episodes = player.play(Policy(model), [0] * rows, "train", 1.0, torch.Generator(), wheel=wheel)
    return episodes, [env.unwrapped.heard for env in batch.envs], model


def learned(episodes, sequence=0):
    """The tokens of a sequence that carry loss."""
    chosen = episodes.sequence_N == sequence
    return episodes.ids_ST[sequence, episodes.column_N[chosen]].tolist()


def test_without_a_budget_a_thought_is_part_of_the_action(monkeypatch):
    """Each turn is a sequence of its own, and shows earlier answers without their thoughts."""
    said = [OPEN, HM, CLOSE, ONE, END]
    episodes, heard, model = play(
        monkeypatch, None, [[t] for t in said + said], ["red", "so blue", "so"], action_tokens=5
    )
    assert heard == [["one", "one"]]
    first = [OBS, RED, ACT, *said]
    assert episodes.ids_ST[0, :8].tolist() == first
    assert episodes.ids_ST[1].tolist() == [OBS, RED, ACT, ONE, END, OBS, SO, BLUE, ACT, *said]
    assert learned(episodes, 0) == learned(episodes, 1) == said
    assert episodes.turn_N.tolist() == [0] * 5 + [1] * 5
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes), rtol=0, atol=1e-5)


@pytest.mark.parametrize("learn", [True, False])
def test_a_thought_within_its_budget(monkeypatch, learn):
    """Four tokens of thought, its marks included, and two of action."""
    said = [OPEN, HM, HM, CLOSE, ONE, END]
    episodes, heard, _ = play(monkeypatch, Thoughts(tokens=4, learn=learn), [[t] for t in said], ["red", "so"])
    assert heard == [["one"]]
    assert learned(episodes) == (said if learn else [ONE, END])


@pytest.mark.parametrize("learn", [True, False])
def test_a_thought_that_is_cut_is_closed_and_the_action_has_its_own_tokens(monkeypatch, learn):
    """What closes it was not chosen by the model, so it carries no loss, whatever was sampled in its place."""
    sampled = [OPEN, HM, HM, SO, TWO, TWO]  # the fourth stands where the thought is closed
    episodes, heard, model = play(monkeypatch, Thoughts(tokens=3, learn=learn), [[t] for t in sampled], ["red", "so"])
    assert heard == [["two two"]]
    assert episodes.ids_ST.tolist() == [[OBS, RED, ACT, OPEN, HM, HM, CLOSE, TWO, TWO]]
    assert learned(episodes) == ([OPEN, HM, HM, TWO, TWO] if learn else [TWO, TWO])
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes), rtol=0, atol=1e-5)
    assert len(TokenBatch.of(episodes)["old_logp"]) == len(learned(episodes))


@pytest.mark.parametrize(("learn", "carry"), [(True, [OPEN, HM, END]), (False, [END])])
def test_a_thought_without_an_answer(monkeypatch, learn, carry):
    episodes, heard, _ = play(monkeypatch, Thoughts(tokens=9, learn=learn), [[OPEN], [HM], [END]], ["red", "so"])
    assert heard == [[""]]
    assert learned(episodes) == carry


def test_an_answer_without_a_thought(monkeypatch):
    episodes, heard, _ = play(monkeypatch, Thoughts(tokens=9), [[ONE], [TWO]], ["red", "so"])
    assert heard == [["one two"]]
    assert learned(episodes) == [ONE, TWO]


def test_rows_think_at_their_own_pace(monkeypatch):
    steps = [[OPEN, OPEN, ONE], [HM, CLOSE, END], [HM, TWO, HM], [HM, END, HM], [ONE, HM, HM], [END, HM, HM]]
    episodes, heard, model = play(monkeypatch, Thoughts(tokens=3), steps, ["red", "so"], rows=3)
    assert heard == [["one"], ["two"], ["one"]]
    assert [learned(episodes, s) for s in range(3)] == [
        [OPEN, HM, HM, ONE, END],
        [OPEN, CLOSE, TWO, END],
        [ONE, END],
    ]
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes), rtol=0, atol=1e-5)


def test_beside_a_row_whose_turn_somebody_else_plays(monkeypatch):
    """What it is given needs no thought, is as long as it is, and all of it is its turn."""
    given = Wheel(np.array([[False], [True]]), lambda states, turn: [Action("two two", (TWO, TWO, END), 3)])
    steps = [[OPEN, HM], [HM, HM], [HM, HM], [HM, HM], [ONE, HM], [END, HM]]
    thoughts = Thoughts(tokens=3, learn=False)
    episodes, heard, _ = play(monkeypatch, thoughts, steps, ["red", "so"], rows=2, action_tokens=3, wheel=given)
    assert heard == [["one"], ["two two"]]
    assert [learned(episodes, s) for s in range(2)] == [[ONE, END], [TWO, TWO, END]]
    assert TokenBatch.of(episodes)["taken"].tolist() == [False] * 2 + [True] * 3


def test_a_turned_off_thought_is_in_the_prompt():
    talk = conversation_for(TOKENS, True, [], Manner(kwargs={"enable_thinking": False}))
    assert talk.prompt([], "red") == [OBS, RED, ACT, OPEN, CLOSE]
    assert talk.decode_action((ONE, END)) == "one"


def test_thoughts_need_marks():
    plain = thinker.tokens()
    plain.chat_template = thinker.TEMPLATE.replace("think>", "x>")
    with pytest.raises(UserError, match=r"thoughts: the chat template of .* marks none; set thoughts.open and"):
        conversation_for(plain, True, [], Manner(thoughts=Thoughts()))
    own = Thoughts(open="<x>", close="</x>")
    assert conversation_for(plain, True, [], Manner(thoughts=own)).marks == Marks.of("<x>", "</x>")


@pytest.mark.parametrize("marks", KNOWN, ids=lambda marks: marks.open)
@pytest.mark.parametrize("opened", [False, True])
def test_an_answer_taken_apart(marks, opened):
    lead = "" if opened else marks.open
    said = split(f"{lead} a b {marks.close} go on ", marks, opened)
    assert (said.thought, said.action) == ("a b", "go on")
    assert split(f"{lead} a b", marks, opened).action == ""
    assert marks.close in split(f"{lead} a b", marks, opened).text
    assert split("go", marks, False) == Said(None, "go", "go")


# ---- training ----------------------------------------------------------------------------------------------------


def thinking_run(folder, **overrides):
    path = str(thinker.save(folder / "model"))
    student = {"kind": "pretrained", "path": path, "thoughts": {"tokens": 3}}
    return tiny(student=student, teacher={"kind": "none"}, objective__distill_weight=0, **overrides)


def test_the_teacher_scores_what_the_student_was_shown(tmp_path, monkeypatch):
    """Thoughts included, turn by turn: of itself it thinks exactly what the student thought."""
    steps = [[t] for t in [OPEN, HM, HM, HM, ONE, END] * 2]
    episodes, _, model = play(monkeypatch, Thoughts(tokens=3), steps, ["red", "blue", "so"])
    batch = score(Policy(model), TokenBatch.of(episodes), "teacher", 1.0, None, 2048)
    assert torch.allclose(batch["teacher_logp"], batch["old_logp"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_reward_for_the_answer_alone_teaches_a_model_that_thinks(tmp_path):
    """Of a random model's answers few are right. Many calls end at the first turn, so the most is below 1."""
    config = thinking_run(
        tmp_path,
        steps=150,
        env__horizon=2,
        rollout__tasks=8,
        rollout__group_size=8,
        rollout__max_action_tokens=2,
        evaluation__every=150,
        evaluation__tasks=64,
        evaluation__temperature=1.0,
        optimiser__lr=0.01,
        checkpoint_every=150,
        diagnostics_every=150,
    )
    rows = []
    train(config, tmp_path / "run", rows.extend)
    reward = [row["eval/reward"] for row in rows if row["phase"] == "eval"]
    assert reward[0] < 0.1
    assert reward[-1] > 0.5
