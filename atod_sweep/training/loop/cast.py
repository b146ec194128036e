"""Who plays in a trial: the student, its teacher, the reference, and how each of them talks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, assert_never

import torch
from accelerate.utils import set_seed

from atod_sweep.config.models import CompactStudent, CompactTeacher, Pretrained
from atod_sweep.config.rollout import Rollout
from atod_sweep.config.stand_ins import RandomTeacher
from atod_sweep.config.train import Train
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.contract import Split
from atod_sweep.envs.pool import Pool
from atod_sweep.errors import UserError
from atod_sweep.training.algorithms.stage import Needs
from atod_sweep.training.models import identity, kept, limits, vocabulary
from atod_sweep.training.models.load import load_model
from atod_sweep.training.models.passes import causal_lm
from atod_sweep.training.models.policy import Policy, Unadapted, checkpoint_activations
from atod_sweep.training.play.agent_format import AgentFormat
from atod_sweep.training.play.check import SelfCheck, admit
from atod_sweep.training.play.conversation import Manner, alike, conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.play.talk import Conversation
from atod_sweep.training.pretraining.cache import ModelRef
from atod_sweep.training.runtime import torch_dtype
from atod_sweep.training.teachers.local import LocalTeacher

M = TypeVar("M", bound=torch.nn.Module)


@dataclass(frozen=True)
class Voice:
    """A model, its tokenizer, and how it is addressed. `role` is the config's name for it, `by_hand` as of `Policy`."""

    role: str
    source: Pretrained
    model: Any
    tokenizer: Any
    conversation: Conversation
    by_hand: bool = True

    @staticmethod
    def load(
        role: str,
        source: Pretrained,
        rollout: Rollout,
        dtype: torch.dtype | None = None,
        by_hand: bool = True,
        load: Callable[[Pretrained, torch.dtype | None], Any] = load_model,
    ) -> Voice:
        """Raises UserError for what cannot be loaded, or not be talked to."""
        tokenizer = kept.tokenizer(source)
        model = load(source, dtype)
        ends = stop_ids(model, tokenizer)
        conversation = conversation_for(tokenizer, source.chat_template, rollout.stop, manner(source, rollout, ends))
        fixed = {*(conversation.stop_ids - ends), *conversation.end_ids, *conversation.prompt([], "")}
        vocabulary.check_ids(f"{role}.path: {source.path!r}", model, tokenizer, fixed)
        return Voice(role, source, model, tokenizer, conversation, by_hand)

    def policy(self, device: torch.device, value_head: bool = False, words: int | None = None) -> Policy:
        """The model as a policy whose logits are those of its tokenizer's ids.

        `words`: number of ids in the conversations that it is to score, if another tokenizer makes them. The policy is
        checked to decode, and to learn, as the model itself computes. Raises UserError.
        """
        known = vocabulary.words(self.tokenizer)
        said, rows = words or known, self.model.get_input_embeddings().weight.shape[0]
        policy = Policy(self.model, value_head, min(known, said), self.by_hand)
        if min(known, rows) < said:
            policy.reach = min(known, rows)
        policy = policy.to(device)
        self.checked(policy)
        return policy

    def checked(self, policy: Policy) -> SelfCheck | None:
        """How the policy decodes, and how far that is from the model's own forward; None for compact models."""
        return admit(policy, f"{self.role}.path: {self.source.path!r}", identity.stamp(self.source, self.model))

    def player(self, config: Train, batch: Batch | Pool, at_once: Mapping[Split, int] | None = None) -> Player:
        """What plays the environments of `batch` with this model, within its and the config's limits.

        `at_once`: as of `Player`.
        """
        room, wanted = limits.positions(self.model), config.rollout.max_context_tokens
        limits.check(self.model, wanted)
        most = Limits(config.rollout.max_action_tokens, min(room, wanted or room))
        return Player(batch, self.conversation, most, config.runtime.cuda_graphs, at_once)


def manner(source: Pretrained, rollout: Rollout, stop_ids: frozenset[int] = frozenset()) -> Manner:
    """How the config wants a model to be addressed."""
    return Manner(
        kind=source.conversation,
        kwargs=source.chat_template_kwargs,
        system=source.system,
        date=source.date,
        thoughts=source.thoughts,
        format=AgentFormat.of(rollout, source.chat_template_kwargs.get("tools")),
        stop_ids=stop_ids,
    )


def source_of(model: CompactTeacher | CompactStudent | Pretrained, ref: ModelRef) -> Pretrained:
    """What to load: models with a recipe lie in the cache."""
    if not isinstance(model, Pretrained):
        return Pretrained(path=ref.path)
    return model if model.recipe is None else model.made(ref.path)


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens by which the model ends what it says, one or several, as its generation config lists them."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [listed] if isinstance(listed, int) else listed or []
    return frozenset(i for i in ids if i < vocabulary.words(tokenizer))


def check_admissible(config: Train, game: Checked) -> None:
    """Raise UserError if admissible actions are to be listed, and the environment does not tell them."""
    if config.rollout.admissible and not game.has("actions"):
        raise UserError(
            f"rollout.admissible: env.id {config.env.id!r} has no actions() that tells which are; add that method, "
            "or leave admissible out"
        )


def student(config: Train, source: Pretrained, device: torch.device, needs: Needs) -> tuple[Voice, Policy]:
    """The student as training finds it."""
    set_seed(config.seed)  # only LoRA's initialisation draws from the global generators
    dtype = torch_dtype(source.dtype, device)
    voice = Voice.load("student", source, config.rollout, dtype, config.runtime.hand_written)
    if config.runtime.gradient_checkpointing:
        checkpoint_activations(voice.model)
    return voice, voice.policy(device, needs.value_head).train()


def teacher(
    config: Train,
    source: Pretrained,
    pupil: Voice,
    player: Player,
    dtype: torch.dtype,
    device: torch.device,
    needs: Needs,
) -> LocalTeacher:
    """The frozen teacher, and how objectives that let it play talk to it. Raises UserError on other vocabularies."""
    voice, policy = scorer(config, source, pupil.tokenizer, dtype, device, needs)
    if policy is None:
        return LocalTeacher(
            voice.policy(device).frozen(), voice.player(config, player.batch, player.at_once), player, False
        )
    # It scores what the student was shown, and is shown its own rendering only where it plays.
    same = alike(pupil.conversation, voice.conversation)
    shown = player if same else voice.player(config, player.batch, player.at_once)
    return LocalTeacher(policy, shown, player, needs.shared_vocabulary or same)


def scorer(
    config: Train, source: Pretrained, pupil: Any, dtype: torch.dtype, device: torch.device, needs: Needs
) -> tuple[Voice, Policy | None]:
    """The teacher, and what scores the ids of `pupil`, a student's tokenizer; None if it can do without and must.

    Raises UserError on other vocabularies.
    """
    load = partial(kept.frozen, device)
    voice = Voice.load("teacher", source, config.rollout, dtype, config.runtime.hand_written, load)
    if isinstance(getattr(config.objective, "stand_in", None), RandomTeacher):
        voice = replace(voice, model=untrained(voice.model, dtype))
    kinship = vocabulary.kinship(pupil, voice.tokenizer)
    if kinship == "other" and needs.shared_vocabulary:
        raise UserError(
            f"teacher.path: {source.path!r} has another vocabulary ({len(voice.tokenizer)} tokens, the student "
            f"{len(pupil)}), so their token probabilities cannot be compared; use a teacher of the same "
            "family, or objective.kind: sft or distill.kind: relabel, which learn from its text"
        )
    if kinship != "same" and not needs.shared_vocabulary:
        return voice, None
    # Ids that the teacher alone knows are no part of what is compared.
    return voice, voice.policy(device, words=vocabulary.words(pupil)).frozen()


def untrained(model: Any, dtype: torch.dtype) -> Any:
    """A model of the same architecture with random weights, the same ones every time."""
    whole = causal_lm(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return in_precision(type(whole)(whole.config), dtype)


def reference(policy: Policy, dtype: torch.dtype, needs: Needs, fresh_adapters: bool) -> Policy | None:
    """The initial student, for the objectives that compare with it."""
    match needs.reference:
        case "none":
            return None
        case "frozen":
            return initial(policy, dtype, fresh_adapters)
        case "renewed":  # it also plays and is renewed from the student, so it stays in its precision
            return frozen(policy, torch.float32)
        case _:
            assert_never(needs.reference)


def initial(policy: Policy, dtype: torch.dtype, fresh_adapters: bool) -> Policy:
    """The student as it is before training, for good."""
    return Unadapted(policy) if fresh_adapters else frozen(policy, dtype)


def frozen(policy: Policy, dtype: torch.dtype) -> Policy:
    """A copy of the student as it is now, that never learns."""
    return in_precision(copy.deepcopy(policy), dtype).frozen()


def in_precision(model: M, dtype: torch.dtype) -> M:
    """The model, its weights in this precision; a rotary embedding's frequencies, a buffer, would be wrong in bf16."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
