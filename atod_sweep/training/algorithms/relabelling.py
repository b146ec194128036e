"""What the teacher would have done in the states that the student got into, as tokens to be imitated (as in DAgger)."""

from __future__ import annotations

import torch

from atod_sweep.training.algorithms.stage import Metrics, Stage
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.play.context import Context
from atod_sweep.training.play.outcomes import Episodes, Outcome
from atod_sweep.training.play.talk import Conversation
from atod_sweep.training.scoring import score
from atod_sweep.training.teachers.teacher import Action, State


def states(outcome: Outcome) -> list[State]:
    """Those in which the student took an episode's actions."""
    turns = outcome.exchanges
    own = (act.taken is None for act in outcome.acts)
    return [
        State(turns[:k], turn.observation) for k, (turn, is_own) in enumerate(zip(turns, own, strict=True)) if is_own
    ]


def relabelled(stage: Stage, episodes: Episodes, temperature: float) -> tuple[TokenBatch | None, Metrics]:
    """One sequence for every state: what the student was shown there, and the teacher's action, whose tokens are those
    of the batch (fields `turn`, `episode`). None if there is no action to learn from.

    Left out are actions that are empty, that are longer than the student's may be, or that its tokens cannot spell.
    Metrics: the share of these, and of states in which the student did the same.
    """
    assert stage.teacher is not None
    outcomes, talk, limits = episodes.outcomes, stage.player.conversation, stage.player.limits
    actions = stage.teacher.act([state for one in outcomes for state in states(one)], temperature, stage.sampling)
    waiting, longest = iter(actions), talk.answer_tokens(limits.action_tokens) + len(talk.end_ids)
    rows: list[list[int]] = []
    tokens: list[tuple[int, int, int, int]] = []  # (sequence, column, turn, episode)
    same = 0
    for e, outcome in enumerate(outcomes):
        view = Context(talk, limits.context)
        for k, ((observation, said), act) in enumerate(zip(outcome.transcript, outcome.acts, strict=True)):
            view.ask(observation, longest)
            if act.taken is None:
                action = next(waiting)
                same += action.text == said
                if len(action.ids) <= longest and _can_be_said(action, talk):
                    tokens += [(len(rows), len(view.ids) + i, k, e) for i in range(len(action.ids))]
                    rows.append([*view.ids, *action.ids])
            view.answer(act.ids)
    if not actions:
        return None, {}
    metrics: Metrics = {"relabel/same": same / len(actions), "relabel/left_out": 1 - len(rows) / len(actions)}
    if not rows:
        return None, metrics
    return TokenBatch.rows(rows, tokens, talk.tokenizer.pad_token_id or 0, episodes.ids_ST.device), metrics


def _can_be_said(action: Action, talk: Conversation) -> bool:
    """Whether it is anything, and the student's tokens spell it."""
    return bool(action.text.strip()) and talk.decode_action(action.ids).split() == action.text.split()


def beside(stage: Stage, batch: TokenBatch, theirs: TokenBatch, weight_N: torch.Tensor) -> TokenBatch:
    """The student's tokens and the teacher's in one batch: field `taught` is 1 on the latter, which have the given
    weights in `distill_weight` and take no part in anything else.

    A term is a mean over its own tokens, and the update divides by all: `own_share` and `taught_share` undo that.
    """
    temperature = batch.numbers["temperature"]
    theirs = score(stage.policy, theirs, "policy", temperature, None, stage.score_tokens)
    nothing = {name: value.new_zeros((theirs.tokens, *value.shape[1:])) for name, value in batch.fields.items()}
    own = {"turn": theirs["turn"], "episode": theirs["episode"], "old_logp": theirs["policy_logp"]}
    own |= {"distill_weight": weight_N, "taught": torch.ones_like(weight_N)}
    theirs = theirs.having(**(nothing | own))
    joined = batch.having(taught=torch.zeros_like(batch["old_logp"])).joined(theirs)
    return joined.at(own_share=batch.tokens / joined.tokens, taught_share=theirs.tokens / joined.tokens)
