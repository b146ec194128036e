"""Rewards other than the environment's: a function, a model, broken rules, or a weighted sum of these.

They are computed once an episode is over, and paid with its last turn; what the environment pays stays where it was.
Whatever a function or a model does wrong is RewardFailed. Shapes: _E episodes, _L labels.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from atod_sweep.config.kinds import one_each
from atod_sweep.config.models import Pretrained
from atod_sweep.config.reward import EnvReward, FunctionReward, ModelReward, Part, PreferenceReward, Source, parts_of
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError, first_line, in_a_line
from atod_sweep.objective.schedules import build, progress
from atod_sweep.paths import local_model
from atod_sweep.training.failures import RewardFailed
from atod_sweep.training.models.load import load_tokenizer
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.pretraining.preferences import ensure_rater

Scores = Callable[[list[Outcome]], list[float]]


class StandIn:
    """The reward of a config that is not the environment's own. `penalty`: for actions without their marks."""

    def __init__(self, config: Train, device: torch.device, penalty: float) -> None:
        parts = parts_of(config.reward)
        self._steps, self._penalty = config.steps, penalty
        self._parts: list[tuple[Part, Scores | None]] = [
            (part, _SCORERS[part.reward.kind](part.reward, config, device)) for part in parts
        ]

    def apply(self, outcomes: list[Outcome], step: int | None = None) -> None:
        """Give episodes what training is told of them, by the weights of optimiser step `step`; None: of the last."""
        if not outcomes:
            return
        rewards = [[0.0] * outcome.turns for outcome in outcomes]
        at = self._steps - 1 if step is None else step
        has_env = False
        for part, scores in self._parts:
            weight = build(part.weight).value(progress(at, self._steps, part.weight))
            if scores is None:
                has_env = True
                for mine, outcome in zip(rewards, outcomes, strict=True):
                    mine[:] = [a + weight * b for a, b in zip(mine, outcome.rewards, strict=True)]
            elif weight != 0:
                for mine, score in zip(rewards, scores(outcomes), strict=True):
                    mine[-1] += weight * score
        for mine, outcome in zip(rewards, outcomes, strict=True):
            if not has_env and self._penalty:
                mine[:] = [r - self._penalty * (act.marked is False) for r, act in zip(mine, outcome.acts, strict=True)]
            outcome.stand_in = mine


def stand_in(config: Train, device: torch.device, penalty: float = 0.0) -> StandIn | None:
    """None where the environment's reward is what is trained on. Raises UserError, RewardFailed."""
    return None if isinstance(config.reward, EnvReward) else StandIn(config, device, penalty)


# ---- one function per kind -----------------------------------------------------------------------------------------


def _function(reward: Any, config: Train, device: torch.device) -> Scores:
    assert isinstance(reward, FunctionReward)
    function, where = reward.function, f"reward.path: {reward.path!r}"

    def one(outcome: Outcome) -> float:
        try:
            found = _within(reward.timeout, lambda: function(outcome.messages), where)
        except RewardFailed:
            raise
        except Exception as error:
            said = in_a_line(error, 200)
            raise RewardFailed(f"{where} raised {said} on the episode of task seed {outcome.seed}") from error
        return _finite(found, where, outcome)

    return lambda outcomes: [one(outcome) for outcome in outcomes]


def _model(reward: Any, config: Train, device: torch.device) -> Scores:
    assert isinstance(reward, ModelReward)
    folder = local_model(reward.path)
    if folder is not None and not folder.is_dir():
        raise RewardFailed(f"reward.path: model directory {reward.path!r} does not exist; give a directory or a hub id")
    reader = Reader.load(str(folder.resolve()) if folder else reward.path, reward.revision, device)
    return lambda outcomes: reader.scores(outcomes, reward.batch, reward.label)


def _preferences(reward: Any, config: Train, device: torch.device) -> Scores:
    assert isinstance(reward, PreferenceReward)
    reader = Reader.load(ensure_rater(reward, config), None, device)
    return lambda outcomes: reader.scores(outcomes, reward.batch, None)


def _violations(reward: Any, config: Train, device: torch.device) -> Scores:
    def one(outcome: Outcome) -> float:
        if "violations" not in outcome.metrics:
            raise UserError(
                f"reward.kind: 'violations', but env.id {config.env.id!r} reports none; let its step() return "
                'info["violations"], or, of a shipped one, set env.kwargs.guarded: true'
            )
        return -outcome.metrics["violations"]

    return lambda outcomes: [one(outcome) for outcome in outcomes]


def _env(reward: Any, config: Train, device: torch.device) -> None:
    return None


_SCORERS: dict[str, Callable[[Any, Train, torch.device], Scores | None]] = one_each(
    Source,
    {"env": _env, "function": _function, "model": _model, "preferences": _preferences, "violations": _violations},
)


@dataclass(frozen=True)
class Reader:
    """A sequence classifier with its tokenizer. `name`: what messages call it."""

    name: str
    model: Any
    tokenizer: Any

    @staticmethod
    def load(path: str, revision: str | None, device: torch.device) -> Reader:
        """Raises RewardFailed for one that is not there."""
        try:
            tokenizer = load_tokenizer(Pretrained(path=path, revision=revision))
            model = AutoModelForSequenceClassification.from_pretrained(path, revision=revision or "main")
        except (OSError, ValueError, UserError) as error:
            said = f"cannot be loaded as a sequence classifier: {first_line(error)}"
            raise RewardFailed(f"reward.path: {path!r} {said}") from None
        model.config.pad_token_id = tokenizer.pad_token_id
        tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
        return Reader(path, model.to(device).eval(), tokenizer)

    @torch.inference_mode()
    def scores(self, outcomes: Sequence[Outcome], batch: int, label: int | None) -> list[float]:
        """One number per episode: the model's own, or the log-odds of a label. Raises RewardFailed, UserError."""
        texts = [self._text(outcome.messages) for outcome in outcomes]
        found: list[float] = []
        for first in range(0, len(texts), batch):
            found += self._pass(texts[first : first + batch], label)
        return [_finite(score, f"reward.path: {self.name!r}", o) for score, o in zip(found, outcomes, strict=True)]

    def _text(self, messages: list[dict[str, str]]) -> str:
        if self.tokenizer.chat_template:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        return "\n".join(message["content"] for message in messages)

    def _pass(self, texts: list[str], label: int | None) -> list[float]:
        positions = getattr(self.model.config, "max_position_embeddings", None) or self.tokenizer.model_max_length
        longest = min(positions, self.tokenizer.model_max_length)  # some models have positions that no text reaches
        encoded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=longest, return_tensors="pt",
            add_special_tokens=not self.tokenizer.chat_template,
        )  # fmt: skip
        encoded = {key: value for key, value in encoded.items() if key in ("input_ids", "attention_mask")}
        logits_EL = self.model(**{key: value.to(self.model.device) for key, value in encoded.items()}).logits.float()
        labels = logits_EL.shape[1]
        if label is None and labels > 1:
            raise UserError(
                f"reward.label: {self.name!r} has {labels} labels; say which is the good one, 0 to {labels - 1}"
            )
        if label is not None and not (label < labels and labels > 1):
            raise UserError(
                f"reward.label: {label}, but {self.name!r} has {labels}; leave label out, or use one below that"
            )
        if label is None:
            return [float(x) for x in logits_EL[:, 0].tolist()]
        others = [i for i in range(labels) if i != label]
        return [float(x) for x in (logits_EL[:, label] - logits_EL[:, others].logsumexp(1)).tolist()]


# ---- the door to foreign code ----------------------------------------------------------------------------------------


def _finite(value: Any, where: str, outcome: Outcome) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RewardFailed(
            f"{where} gave {value!r:.80} for the episode of task seed {outcome.seed}; it must be a number"
        )
    return number


def _within(seconds: float, call: Callable[[], Any], where: str) -> Any:
    """What `call` returns, or raises. RewardFailed if that takes longer: the thread is left to itself then."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise RewardFailed(f"{where} took longer than reward.timeout = {seconds:g} s over one conversation")
    if failed:
        raise failed[0] if isinstance(failed[0], Exception) else RuntimeError(repr(failed[0]))
    return found[0]
