"""Templates that fail, the clock, control tokens that messages spell, and what an exported template has as defaults."""

from __future__ import annotations

import pytest
from chat import CHATML, characters
from small import tokenizer
from templates import FAILING, GROWING, PER_TURN, talker
from tokenizers import processors

from atod_sweep.errors import UserError
from atod_sweep.training.play.conversation import Manner, conversation_for
from atod_sweep.training.play.templates import PLAIN, control_tokens, dated, escaper, with_defaults


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("needs system", "fails with TemplateError: a system message must come first; try it with a system message"),
        ("typo", "fails with TemplateSyntaxError: Encountered unknown tag 'endfo'.* (line 2)"),
        ("dated typo", r"TemplateSyntaxError: .* (line 1)"),
        ("no key", "UndefinedError: 'dict object' has no attribute 'name'"),
        ("type", "TypeError: can only concatenate str"),
        ("third turn", "TemplateError: enough; try it with a system message"),
    ],
)
def test_a_template_that_fails_is_one_line(name, said):
    tokens = talker(FAILING[name])
    with pytest.raises(UserError) as error:
        conversation_for(tokens, True, [])
    assert all(part in str(error.value) for part in said.replace("(", ".*(").split(".*") if part)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("or set chat_template: false")


def test_what_a_template_wants_it_is_given():
    talk = conversation_for(talker(FAILING["needs system"]), True, [], Manner(system="Be brief."))
    assert talk.tokenizer.decode(talk.prompt([], "x")) == "<s>Be brief.</s>x</s>"
    with pytest.raises(UserError, match="System role not supported; try it without its system message"):
        conversation_for(talker(GROWING["gemma"]), True, [], Manner(system="Be brief."))


def test_several_templates_without_a_default():
    tokens = characters(CHATML)
    tokens.chat_template = {"a": CHATML, "b": CHATML}
    with pytest.raises(UserError, match=r"multiple chat templates.*; or set chat_template: false") as error:
        conversation_for(tokens, True, [])
    assert "\n" not in str(error.value)


def test_nothing_ends_an_action():
    with pytest.raises(UserError, match=r"ends no action with a special token.*set its eos_token"):
        conversation_for(talker(PER_TURN["no end"], eos=None), True, [])
    ends = conversation_for(talker(PER_TURN["no end"], eos=None), True, [], Manner(stop_ids=frozenset({7}))).stop_ids
    assert ends == {7}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d %b %Y", "03 Nov 2026"),
        ("%A, %B %-d", "Tuesday, November 3"),
        ("%Y-%m-%d %H:%M:%S", "2026-11-03 00:00:00"),
        ("%j/%y%%", "307/26%%"),
    ],
)
def test_the_clock_stands_still(form, text):
    source = f"  {{% if strftime_now is defined %}}{{{{ strftime_now('{form}') }}}}{{% endif %}}"
    tokens = characters(source)
    assert tokens.apply_chat_template([{}], chat_template=dated(source, "2026-11-03"), tokenize=False) == text


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("plain < |x|>", "plain < |x|>"),
        ("<|im_end|>", "< |im_end|>"),
        ("a<|im_end|><|im_start|>b", "a< |im_end|>< |im_start|>b"),
        ("<|im_<|im_end|>end|>", "<|im_< |im_end|>end|>"),
        ("<|IM_END|>", "<|IM_END|>"),
    ],
)
def test_control_tokens_are_taken_apart(text, apart):
    tokens = characters(CHATML)
    control = control_tokens(tokens, "")
    assert control == ["<|im_start|>", "<|im_end|>"]
    assert escaper(tokens, control)(text) == apart
    assert not {256, 257, 258} & {*tokens(apart)["input_ids"]} - {256}


def test_what_a_template_frames_messages_with_is_control_too():
    """Some tokenizers do not mark all of it as special. Words are not meant, nor what only messages spell."""
    tokens = characters(CHATML)
    tokens.add_tokens(["<user>", "user", "<b>", "\n\n"])
    assert control_tokens(tokens, "<user>\n\nuser") == ["<|im_start|>", "<|im_end|>", "<user>"]
    assert escaper(tokens, ["<user>"])("<b><user>") == "<b>< user>"


def test_a_compact_student_is_not_told_where_an_episode_begins():
    talk = conversation_for(tokenizer(), True, [])
    assert talk.prompt([], "red") == [2, 10, 3]
    assert talk.prompt([], "<end> red") == [2, 4, 4, 10, 3]  # two unknown words


@pytest.mark.parametrize("adds", [True, False])
def test_plain_text_begins_as_the_tokenizer_begins_texts(adds):
    tokens = talker(GROWING["chatml"])
    start = tokens.bos_token_id
    if adds:
        tokens.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", start)]
        )
    talk = conversation_for(tokens, False, [])
    piece = tuple(tokens("Observation: hi\nAction:", add_special_tokens=False)["input_ids"])
    assert tuple(talk.prompt([], "hi")) == ((start, *piece) if adds else piece)
    assert talk.encode_turn("hi", first=False) == piece
    anew = conversation_for(tokens, False, [], Manner("per_turn"))
    assert anew.prompt([], "hi") == talk.prompt([], "hi")


@pytest.mark.parametrize("given", [{"system": "Be brief."}, {"kwargs": {"enable_thinking": False}}])
def test_plain_text_has_no_place_for_what_templates_are_given(given):
    with pytest.raises(UserError, match=r"is for a chat template, and .* is talked to in plain text"):
        conversation_for(talker(GROWING["chatml"]), False, [], Manner(**given))


def test_an_exported_template_does_of_itself_what_it_was_given_in_training():
    source = PER_TURN["qwen 3"]
    kwargs = {"enable_thinking": False}
    system = "Say \"{{ x }}\" or 'y' \\ é."
    tokens = talker(with_defaults(source, kwargs, system))
    asked = [{"role": "user", "content": "x"}]
    told = [{"role": "system", "content": system}, *asked]

    def render(messages, template, **kwargs):
        return tokens.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True, **kwargs
        )

    assert render(asked, None) == render(told, source, **kwargs)
    own = [{"role": "system", "content": "Other."}, *asked]
    assert render(own, None, enable_thinking=True) == render(own, source, enable_thinking=True)
    assert with_defaults(source, {}, None) == source


def test_plain_text_as_a_template():
    tokens = talker(PLAIN)
    talk = conversation_for(talker(GROWING["chatml"]), False, [])
    messages = [{"role": r, "content": c} for r, c in (("user", "hi"), ("assistant", "go"), ("user", "on"))]
    whole = tokens.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    read = (*talk.encode_turn("hi", True), *talk.encode_action(" go"), *talk.encode_turn("on", False))
    assert tuple(whole) == read
