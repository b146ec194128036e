"""A word-level model shaped like Qwen 3, which thinks, for the Echo environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echo_env import Echo
from small import make_model
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

TEMPLATE = (
    "{% set last = messages | length - 1 %}{% for m in messages %}{% if m.role != 'assistant' %}"
    "{{ '<obs> ' + m.content + ' <act> ' }}{% else %}"
    "{% set said = m.content.split('</think>')[-1].lstrip('\n') if '</think>' in m.content else m.content %}"
    "{% if loop.index0 == last %}{{ '<think> ' + (m.reasoning_content or '') + ' </think> ' }}{% endif %}"
    "{{ said + ' <end> ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "{{ '<think> </think> ' }}{% endif %}"
)
SPECIAL = ("<pad>", "<end>", "<obs>", "<act>", "<unk>")


def tokens() -> Any:
    """The words of Echo, and marks of thoughts that are tokens without being special, as Qwen's are."""
    words = [*SPECIAL, *sorted({*Echo().vocabulary(), "hm"}), "<think>", "</think>"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    core.add_tokens([AddedToken(word, special=False) for word in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", chat_template=TEMPLATE
    )


def save(folder: Path, seed: int = 0) -> Path:
    """A random Qwen 3 with that tokenizer."""
    talker = tokens()
    model = make_model("qwen3", seed, vocabulary=len(talker))
    model.generation_config.eos_token_id = [1, 1]
    model.save_pretrained(folder)
    talker.save_pretrained(folder)
    return folder
