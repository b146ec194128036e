"""Compact models from scratch: a word-level tokenizer for an environment's vocabulary and a small Llama.

Both are ordinary Hugging Face objects: a saved model loads with `AutoModelForCausalLM` and `AutoTokenizer`.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from atod_sweep.config.models import CompactStudent, CompactTeacher

PAD, END, OBS, ACT, UNKNOWN = "<pad>", "<end>", "<obs>", "<act>", "<unk>"
MAX_POSITIONS = 4096
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }} " + END + " "
    "{% else %}" + OBS + " {{ m['content'] }} " + ACT + " {% endif %}{% endfor %}"
)


def make_tokenizer(vocabulary: list[str]) -> Any:
    """A tokenizer with one token per word of `vocabulary`, split at white space; other words become <unk>."""
    words = [PAD, END, OBS, ACT, UNKNOWN, *sorted(set(vocabulary))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[OBS, ACT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
    )


def make_model(config: CompactTeacher | CompactStudent, tokenizer: Any, seed: int) -> Any:
    """A randomly initialised Llama; the same seed gives the same weights, whatever was drawn before."""
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.intermediate or 3 * config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(llama)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.use_cache = False
    return model
