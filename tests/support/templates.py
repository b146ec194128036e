"""Chat templates in the style of model families, written for the tests, and what a model says in each."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CONTROL = (
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|sh|>", "<|eh|>", "<|eot|>", "<sot>", "<eot>", "<|user|>",
    "<|assistant|>", "<|system|>", "<|end|>", "[INST]", "[/INST]", "<|start|>", "<|channel|>", "<|message|>",
    "<|return|>", "<|CHATBOT|>", "<|USER|>", "<|END|>",
)  # fmt: skip
MERGED = ("\n\n", "> ", " <")  # so that pieces that are cut at the wrong place have other ids

_ALL = "{% for m in messages %}"
_ROLES = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
_ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
_ANSWER = "{% set said = m.content.split('</think>')[-1].lstrip('\n') if '</think>' in m.content else m.content %}"

GROWING = {
    "chatml": _ALL + _ROLES + _ASK,
    "default system": (
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
        + _ALL + _ROLES + _ASK
    ),
    "llama 3": (
        "{{ '<s>' }}" + _ALL + "{{ '<|sh|>' + m.role + '<|eh|>\n\n' + m.content | trim + '<|eot|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|sh|>assistant<|eh|>\n\n' }}{% endif %}"
    ),
    "llama 3 dated": (
        "{{ '<s><|sh|>system<|eh|>\n\nToday: ' + strftime_now('%d %b %Y') + '<|eot|>' }}" + _ALL
        + "{{ '<|sh|>' + m.role + '<|eh|>\n\n' + m.content | trim + '<|eot|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|sh|>assistant<|eh|>\n\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ '<s>' }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        + _ALL + "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
        "{% endif %}{{ '<sot>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim }}"
        "{{ '<eot>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<sot>model\n' }}{% endif %}"
    ),
    "phi 3": (
        _ALL + "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "command r": (
        "{{ '<s>' }}" + _ALL + "{% set who = 'CHATBOT' if m.role == 'assistant' else 'USER' %}"
        "{{ '<|' + who + '|>' + m.content.strip() + '<|END|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|CHATBOT|>' }}{% endif %}"
    ),
}  # fmt: skip

PER_TURN = {
    "qwen 3": (  # thoughts stay with the last answer only
        "{% set last = messages | length - 1 %}" + _ALL + "{% if m.role != 'assistant' %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% else %}" + _ANSWER
        + "{{ '<|im_start|>assistant\n' }}{% if loop.index0 == last %}{{ '<think>\n' }}"
        "{{ m.reasoning_content or '' }}{{ '\n</think>\n\n' }}{% endif %}{{ said + '<|im_end|>\n' }}{% endif %}"
        "{% endfor %}" + _ASK
        + "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    ),
    "deepseek r1": (  # thoughts are opened by the prompt
        "{{ '<s>' }}" + _ALL + "{% if m.role == 'user' %}{{ '<|user|>' + m.content }}{% else %}" + _ANSWER
        + "{{ '<|assistant|>' + said + '</s>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}"
    ),
    "glm 4": (  # the next turn's token ends an answer
        "{{ '<s>' }}" + _ALL + "{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
    "gpt oss": (  # an answer stands in a channel
        "{{ '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}" + _ALL
        + "{% if m.role == 'user' %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}{% else %}"
        "{% if '<|channel|>' in m.content %}{{ raise_exception('no channels in content') }}{% endif %}"
        "{% if loop.last and m.thinking %}"
        "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
        "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
        "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
    ),
    "mistral v0.3": (
        "{{ '<s>' }}" + _ALL + "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}{% else %}{{ ' ' + m.content + '</s>' }}"
        "{% endif %}{% endfor %}"
    ),
    "llama 2": (
        _ALL + "{% if m.role == 'user' %}{{ '<s>[INST] ' + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' </s>' }}{% endif %}{% endfor %}"
    ),
    "rounds": (
        _ALL + "{% if m.role == 'user' %}{{ 'Round ' ~ (loop.index0 // 2 + 1) ~ '\n' ~ m.content ~ '\nAnswer:' }}"
        "{% else %}{{ m.content ~ '</s>\n' }}{% endif %}{% endfor %}"
    ),
    "third turn": (  # fixed text for two turns
        _ALL + "{{ '<|im_start|>' + m.role + (' again' if loop.index0 == 4 else '') + '\n' + m.content }}"
        "{{ '<|im_end|>\n' }}{% endfor %}" + _ASK
    ),
    "empty": (  # an empty message is left out
        _ALL + "{% if m.content %}" + _ROLES.replace("{% endfor %}", "{% endif %}{% endfor %}") + _ASK
    ),
    "lower": _ALL + _ROLES.replace("m.content", "m.content | lower") + _ASK,
    "twice": _ALL + _ROLES.replace("m.content", "m.content + m.content") + _ASK,
    "users only": _ALL + "{% if m.role == 'user' %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}",
    "last": _ALL + _ROLES.replace("m.role", "m.role + (' now' if loop.last else '')") + _ASK,
    "no end": _ALL + "{{ m.role + ': ' + m.content + '\n' }}{% endfor %}assistant: ",
}  # fmt: skip

_MESSAGES = "{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}"
FAILING = {
    "needs system": (
        "{{ '<s>' }}{% if messages[0]['role'] != 'system' %}{{ raise_exception('a system message must come first') }}"
        "{% endif %}" + _MESSAGES
    ),
    "typo": "{{ '<s>' }}\n{% for m in messages %}{{ m.content + '</s>' }}{% endfo %}",
    "dated typo": "{{ strftime_now('%d') }}{% for m in messages %}{% endfo %}",
    "no key": "{% for m in messages %}{{ m.name + m.content }}{% endfor %}",
    "type": "{% for m in messages %}{{ m.content + 1 }}{% endfor %}",
    "third turn": "{% if messages | length > 4 %}{{ raise_exception('enough') }}{% endif %}" + _MESSAGES,
}


def talker(template: str, eos: str | None = "</s>") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of letters and a few pairs of them, with everybody's control tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    name = {chr(c): letter for c, letter in ((10, "Ċ"), (32, "Ġ"))}
    pairs = [tuple(name.get(c, c) for c in pair) for pair in MERGED]
    vocabulary = {letter: i for i, letter in enumerate([*letters, *("".join(pair) for pair in pairs)])}
    core = Tokenizer(models.BPE(vocabulary, pairs))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    core.add_tokens([AddedToken(text, special=False) for text in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token=eos, chat_template=template)
