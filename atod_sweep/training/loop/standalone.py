"""A trained student as a plain Hugging Face directory, which needs nothing of this package to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Train
from atod_sweep.training.loop.cast import manner, stop_ids
from atod_sweep.training.models.adapters import base_of
from atod_sweep.training.models.load import load_model, load_tokenizer
from atod_sweep.training.play.conversation import conversation_for, plain_start
from atod_sweep.training.play.talk import Conversation
from atod_sweep.training.play.templates import PLAIN, dated, with_defaults
from atod_sweep.training.pretraining import model_folder
from atod_sweep.training.runtime import torch_dtype


def save_standalone(config: Train, student: Path, out: Path) -> None:
    """Write the student that a trial left in the folder `student` into `out`, which must not exist.

    Adapters are merged into their base model; the generation config samples as the trial's evaluation did; a student
    that was trained on plain text gets a chat template that renders it, and what a template was given in training
    becomes its default. Raises UserError.
    """
    source = config.student if isinstance(config.student, Pretrained) else Pretrained(path=str(student))
    tokenizer = load_tokenizer(student)
    model = _whole(source, student)
    how = manner(source, config.rollout, stop_ids(model, tokenizer))
    conversation = conversation_for(tokenizer, source.chat_template, config.rollout.stop, how)
    if source.chat_template and tokenizer.chat_template:
        given = dated(str(tokenizer.get_chat_template()), source.date)
        tokenizer.chat_template = with_defaults(given, source.chat_template_kwargs, source.system)
    else:
        tokenizer.chat_template = ("{{ bos_token }}" if plain_start(tokenizer) else "") + PLAIN
    model.config.use_cache = True
    model.generation_config = _generation(config, conversation)
    out.parent.mkdir(parents=True, exist_ok=True)
    model_folder.save(out, model, tokenizer, {}, vouched=False)  # an export has a manifest of its own


def _whole(source: Pretrained, student: Path) -> Any:
    whole = source.made(str(student))
    file = source.gguf_file if source.recipe is None else None  # of the base of adapters; a recipe's is no GGUF
    saved = whole.model_copy(update={"gguf_file": file})
    if base_of(saved) is None:
        return load_model(whole)
    merged = load_model(saved, torch.float32).merge_and_unload()  # merged first, rounded last
    return merged.to(torch_dtype(source.dtype, torch.device("cpu")))


def _generation(config: Train, conversation: Conversation) -> GenerationConfig:
    how = config.evaluation
    sampling: dict[str, Any] = {}
    if how.temperature:
        sampling = {
            "do_sample": True,
            "temperature": how.temperature,
            "top_k": how.top_k or 0,
            "top_p": how.top_p or 1.0,
        }
        sampling |= {"min_p": how.min_p} if how.min_p else {}
    stops = {"stop_strings": list(conversation.stop_strings)} if conversation.stop_strings else {}
    return GenerationConfig(
        max_new_tokens=conversation.answer_tokens(config.rollout.max_action_tokens),
        eos_token_id=sorted(conversation.stop_ids),
        pad_token_id=conversation.tokenizer.pad_token_id,
        **({"do_sample": False} | sampling | stops),
    )
