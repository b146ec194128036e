"""A reward model that is made here: a small classifier of conversations, trained on which of two a rater prefers.

Episodes are the demonstrator's, each with a share of random actions of its own, two of every task. A rater likes one
better by its taste, and errs now and then; pairs that it likes alike teach nothing. The classifier learns by Bradley
and Terry: the log-odds of a preference are the difference of two scores. It lies in the cache beside teachers and
students. Shapes: _P pairs, _E episodes.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForSequenceClassification

from atod_sweep.config.base import content_hash
from atod_sweep.config.reward import PreferenceReward
from atod_sweep.config.train import Env, Train
from atod_sweep.envs import registry
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import TRAIN_SEEDS
from atod_sweep.errors import UserError
from atod_sweep.paths import cache_dir
from atod_sweep.training import NUMERICS
from atod_sweep.training.models import compact
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.pretraining import model_folder
from atod_sweep.training.randomness import numpy_generator
from atod_sweep.training.runtime import one_thread

SWERVES = (0.0, 0.2, 0.5, 1.0)  # shares of random actions in an episode
LEAST = 64  # pairs that can be learned from
HELD_OUT = 8  # one pair in so many is not learned from, and tells how well it was learned

log = logging.getLogger(__name__)


def ensure_rater(reward: PreferenceReward, config: Train) -> str:
    """The folder of the classifier, which is built unless the cache holds it. Raises UserError."""
    digest = content_hash(
        {
            "reward": reward.model_dump(mode="json", exclude={"batch"}),
            "env": config.env.model_dump(mode="json"),
            "source": registry.source(config.env.id),
            "numerics": NUMERICS,
        }
    )
    path = cache_dir() / "models" / f"rater-{digest}"
    model_folder.ensure(path, lambda: _build(reward, config.env), log.warning)
    return str(path)


def agreement(path: Path) -> float:
    """Share of the held-out pairs in which a classifier in the cache agrees with the rater."""
    return float(model_folder.recipe(path)["success"])


@one_thread()
def _build(reward: PreferenceReward, env: Env) -> tuple[Any, Any, dict[str, Any]]:
    started = time.perf_counter()
    _check(env, reward)
    rng = numpy_generator(reward.seed, "preferences")
    episodes, wins_P = _preferred(_episodes(env, reward.pairs, rng), reward, rng)
    tokenizer = compact.make_tokenizer(Checked(env).vocabulary())
    model = _model(reward, tokenizer)
    texts = [str(tokenizer.apply_chat_template(o.messages, tokenize=False)) for o in episodes]
    ids_EL = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")["input_ids"]
    held_out = len(wins_P) // HELD_OUT
    _train(model, ids_EL[2 * held_out :], wins_P[held_out:], reward, rng)
    with torch.no_grad():
        margin_P = _scores(model, ids_EL[: 2 * held_out]).view(-1, 2).diff(dim=1)[:, 0]
    agreed = float(((margin_P > 0) == (wins_P[:held_out] > 0)).float().mean())
    return model, tokenizer, model_folder.about("rater", agreed, started, reward, env)


def _check(env: Env, reward: PreferenceReward) -> None:
    game = Checked(env).unwrapped
    missing = [name for name in ("demonstrator_action", "actions", "vocabulary") if not hasattr(game, name)]
    if missing:
        raise UserError(
            f"reward.kind: 'preferences' needs {missing[0]}() of env.id {env.id!r}, which has none; add that method, "
            "or use kind: model"
        )


def _episodes(env: Env, pairs: int, rng: np.random.Generator) -> list[Outcome]:
    """Two of every task, in a row."""
    found: list[Outcome] = []
    batch = Batch(env, 64)
    while len(found) < 2 * pairs:
        tasks = rng.integers(TRAIN_SEEDS.start, TRAIN_SEEDS.stop, size=32).tolist()
        found += _play(batch, [task for task in tasks for _ in range(2)], rng)
    batch.close()
    return found[: 2 * pairs]


def _play(batch: Batch, seeds: list[int], rng: np.random.Generator) -> list[Outcome]:
    outcomes = [Outcome(seed) for seed in seeds]
    swerve = rng.choice(SWERVES, size=len(seeds))
    observations = batch.reset(seeds, "train")
    alive = list(range(len(seeds)))
    while alive:
        actions: list[str | None] = [None] * len(seeds)
        shown, legal = batch.demonstrator_actions(alive), batch.actions(alive)
        for episode, right, choices in zip(alive, shown, legal, strict=True):
            astray = rng.random() < swerve[episode]
            actions[episode] = said = choices[rng.integers(len(choices))] if astray else right
            outcomes[episode].transcript.append((observations[episode], said))
        for episode, step in enumerate(batch.step(actions)):
            if step is None:
                continue
            outcome, observations[episode] = outcomes[episode], step.observation
            outcome.rewards.append(step.reward)
            if step.terminated or step.truncated:
                outcome.success, outcome.metrics, outcome.last = (
                    step.info["success"],
                    step.info["metrics"],
                    step.observation,
                )
                alive.remove(episode)
    return outcomes


def _preferred(
    episodes: list[Outcome], reward: PreferenceReward, rng: np.random.Generator
) -> tuple[list[Outcome], torch.Tensor]:
    """The pairs in which a rater likes one better, and 1 where that is the second, 0 the first; some are wrong."""
    liked_P2 = np.array([_liking(outcome, reward.taste) for outcome in episodes]).reshape(-1, 2)
    unlike = np.flatnonzero(liked_P2[:, 0] != liked_P2[:, 1])
    if len(unlike) < LEAST:
        raise UserError(
            f"reward.taste: a rater likes one episode better in {len(unlike)} of {reward.pairs} pairs only; take more "
            "reward.pairs, or another taste"
        )
    wins_P = (liked_P2[unlike, 1] > liked_P2[unlike, 0]) ^ (rng.random(len(unlike)) < reward.noise)
    return [episodes[2 * p + i] for p in unlike for i in (0, 1)], torch.tensor(wins_P, dtype=torch.float32)


def _liking(outcome: Outcome, taste: dict[str, float]) -> float:
    seen = {"success": outcome.success, "reward": outcome.reward, "turns": float(outcome.turns)} | outcome.metrics
    if unknown := [name for name in taste if name not in seen]:
        raise UserError(f"reward.taste: {unknown[0]!r} is nothing that raters see; they see {', '.join(seen)}")
    return sum(weight * seen[name] for name, weight in taste.items())


def _model(reward: PreferenceReward, tokenizer: Any) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=reward.hidden,
        intermediate_size=3 * reward.hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=compact.MAX_POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(reward.seed)
        return LlamaForSequenceClassification(config)


def _scores(model: Any, ids_EL: torch.Tensor) -> torch.Tensor:
    mask_EL = ids_EL != model.config.pad_token_id
    return model(input_ids=ids_EL, attention_mask=mask_EL.long(), use_cache=False).logits[:, 0]


def _train(
    model: Any, ids_EL: torch.Tensor, wins_P: torch.Tensor, reward: PreferenceReward, rng: np.random.Generator
) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=reward.lr, weight_decay=0.01)
    pairs = len(wins_P)
    for _ in range(reward.epochs):
        for chosen in torch.from_numpy(rng.permutation(pairs)).split(64):
            rows = torch.stack([2 * chosen, 2 * chosen + 1], 1).flatten()
            margin_P = _scores(model, ids_EL[rows]).view(-1, 2).diff(dim=1)[:, 0]
            loss = F.binary_cross_entropy_with_logits(margin_P, wins_P[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    model.eval()
