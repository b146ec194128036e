"""What a student still can that it is not trained on: other environments, and texts that it has not seen.

Everything is asked of the same items with the same random numbers at every evaluation, so that a drop is a paired
difference to the student before training. Shapes: see `training.batch`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from atod_sweep.config.train import Evaluation
from atod_sweep.errors import UserError
from atod_sweep.objective.distributions import tempered
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import evaluated
from atod_sweep.training.portions import portions
from atod_sweep.training.scoring import score


@dataclass(frozen=True)
class Texts:
    """Texts as tokens, every one of them predicted once, and the bytes of UTF-8 that they are."""

    batch: TokenBatch
    bytes: int


@dataclass
class Retention:
    """What is asked, by name: played by a `Player`, or read as `Texts`.

    `initial`: the student before training; None for a model that never was it. `before`: its results by name, which are
    the first that are measured.
    """

    asked: dict[str, Player | Texts]
    items: dict[str, int]
    config: Evaluation
    tokens: int
    initial: Policy | None = None
    before: dict[str, float] = field(default_factory=dict)

    def measure(self, policy: Policy) -> dict[str, float]:
        """`retention/<name>/...`: success or bits per byte, and of a student the drop against its start, so that less
        is better, and the KL to it in nats per token of what it says there, or of what it reads."""
        training = policy.training
        policy.eval()
        found: dict[str, float] = {}
        for name, asked in self.asked.items():
            if isinstance(asked, Texts):
                what, batch = "bits_per_byte", asked.batch
                value = bits_per_byte(policy, asked, self.tokens)
            else:
                what = "success"
                config = self.config.model_copy(update={"tasks": self.items[name], "attempts": 1})
                metrics, episodes, _ = evaluated(policy, asked, config)
                value, batch = metrics["eval/success"], TokenBatch.of(episodes)
            found[f"retention/{name}/{what}"] = value
            if self.initial is not None:
                before = self.before.setdefault(name, value)
                found[f"retention/{name}/drop"] = value - before if isinstance(asked, Texts) else before - value
                found[f"retention/{name}/kl"] = divergence(policy, self.initial, batch, self.tokens)
        policy.train(training)
        return found

    def close(self) -> None:
        for asked in self.asked.values():
            if isinstance(asked, Player):
                asked.batch.close()


def bits_per_byte(policy: Policy, texts: Texts, tokens: int) -> float:
    """Bits by which the policy would encode the texts, per byte of theirs."""
    logp_N = score(policy, texts.batch, "policy", 1.0, None, tokens)["policy_logp"]
    return -float(logp_N.double().sum()) / math.log(2) / texts.bytes


@torch.no_grad()
def divergence(policy: Policy, initial: Policy, batch: TokenBatch, tokens: int) -> float:
    """KL(policy || initial) of the next token, in nats, over the whole vocabulary: the mean over the batch's tokens."""
    total = 0.0
    for part in batch.parts(tokens):
        for (mine, _), (theirs, _) in zip(portions(policy, part), portions(initial, part), strict=True):
            logp_NV, other_NV = tempered(mine.logits_NV, 1.0), tempered(theirs.logits_NV, 1.0)
            total += float((logp_NV.exp() * (logp_NV - other_NV)).sum())
    return total / batch.tokens


def encoded(texts: list[str], player: Player, device: torch.device, where: str) -> Texts:
    """Texts as the student's tokens, behind the token that begins or ends one for it.

    What is longer than its context goes on in a window of its own, behind the last token of the one before. UserError
    for a text with words that the tokenizer does not have: bits for those would mean nothing.
    """
    tokenizer, rows = player.conversation.tokenizer, []
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    width = player.limits.context - 1
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if tokenizer.unk_token_id in ids and tokenizer.unk_token_id is not None:
            raise UserError(f"{where}: {text[:60]!r} holds words that the student's tokenizer does not have")
        whole = [start, *ids]
        rows += [whole[i : i + width + 1] for i in range(0, len(whole) - 1, width)]
    tokens = [(s, column, 0, s) for s, ids in enumerate(rows) for column in range(1, len(ids))]
    batch = TokenBatch.rows(rows, tokens, tokenizer.pad_token_id or 0, device)
    return Texts(batch, sum(len(text.encode()) for text in texts))
