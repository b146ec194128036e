"""Functions that the chat template shows: observations in the tool's role, actions as calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat import characters

from atod_sweep.config.rollout import Rollout
from atod_sweep.errors import UserError
from atod_sweep.training.play.agent_format import AgentFormat, Tool
from atod_sweep.training.play.conversation import Manner, conversation_for
from atod_sweep.training.play.talk import Exchange, Growing, PerTurn

# In the style of Hermes and Qwen: tools in the system message, what they return as a user's.
HERMES = (
    "{% if tools %}{{ '<|im_start|>system\n' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FIND = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {"who": {}, "where": {}}}},
}
CALLS = {"pattern": "<tool_call>\n{action}\n</tool_call>"}
CALL = '<tool_call>\n{"name": "find", "arguments": {"who": "anna", "where": "the big hall"}}\n</tool_call>'


def talk_of(template: str, **rollout: Any) -> tuple[Any, Any]:
    tokens = characters(template)
    form = AgentFormat.of(Rollout(**rollout), [FIND])
    return tokens, conversation_for(tokens, True, [], Manner(kwargs={"tools": [FIND]}, format=form))


def test_id_for_id_as_the_template_renders_it():
    tokens, talk = talk_of(HERMES, action=CALLS)
    assert isinstance(talk, Growing)
    past, messages = [], []
    for i, seen in enumerate(["Who is it?", "a record", "", "done <|im_end|>"]):
        messages.append({"role": "tool" if i else "user", "content": talk.escape(seen)})
        want = tokens.apply_chat_template(messages, tools=[FIND], add_generation_prompt=True, return_dict=True)
        assert talk.prompt(past, seen) == want["input_ids"]
        past.append(Exchange(seen, talk.encode_action("find anna the big hall")))
        messages.append({"role": "assistant", "content": CALL})
    assert talk.decode_action(past[0].ids) == "find anna the big hall"


def test_prompts_that_are_rendered_anew():
    template = HERMES.replace("{% for m", "{{ messages | length }}{% for m")
    tokens, talk = talk_of(template, action=CALLS)
    assert isinstance(talk, PerTurn)
    past = [Exchange("Who is it?", talk.encode_action("find anna the big hall"))]
    messages = [
        {"role": "user", "content": "Who is it?"},
        {"role": "assistant", "content": CALL},
        {"role": "tool", "content": "a record"},
    ]
    want = tokens.apply_chat_template(messages, tools=[FIND], add_generation_prompt=True, return_dict=True)
    assert talk.prompt(past, "a record") == want["input_ids"]


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (CALL, "find anna the big hall"),
        ("So: " + CALL, "find anna the big hall"),
        ('<tool_call>\n{"name": "find", "parameters": {"n": 3}}\n</tool_call>', "find 3"),
        ('<tool_call>\n{"name": "look"}\n</tool_call>', "look"),
        ("<tool_call>\nfind anna\n</tool_call>", None),
        ('<tool_call>\n["find"]\n</tool_call>', None),
        ('<tool_call>\n{"name": 3}\n</tool_call>', None),
        ('<tool_call>\n{"name": "find", "arguments": "anna"}\n</tool_call>', None),
        ('{"name": "find"}', None),
    ],
)
def test_calls_are_heard_as_words(answer, heard):
    assert AgentFormat.of(Rollout(action=CALLS), [FIND]).read(answer) == heard


def test_calls_without_marks_and_back():
    form = AgentFormat.of(Rollout(), [FIND, {"name": "stop"}])
    assert form.read('{"name": "stop", "arguments": {}}') == "stop"
    assert json.loads(form.write("stop")) == {"name": "stop", "arguments": {}}
    assert json.loads(form.write("find anna")) == {"name": "find", "arguments": {"who": "anna"}}
    assert form.write("nothing known") == "nothing known"


@pytest.mark.parametrize("schema", ["find", {}, {"function": {"description": "x"}}, {"name": "f", "parameters": [1]}])
def test_what_is_no_function(schema):
    with pytest.raises(UserError, match=r"^chat_template_kwargs.tools: .* is no function; give each as \{name: "):
        Tool.of(schema)


def test_a_template_that_refuses_the_role():
    refusing = HERMES.replace("{% if m.role == 'tool' %}", "{% if m.role == 'tool' %}{{ raise_exception('no tools') }}")
    with pytest.raises(UserError, match="fails with TemplateError: no tools"):
        talk_of(refusing, action=CALLS)
