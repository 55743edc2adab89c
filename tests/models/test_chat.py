"""Conversations by chat templates: the tokens of transformers, and templates that mean harm."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import ulam
from tests.models.networks import network, tokenizer
from ulam.core.errors import ModelError, Unsupported, UsageError
from ulam.models import chat
from ulam.models.transformers import TransformersModel

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "llama": (
        "{{ bos_token }}{%- set ns = namespace(n=0) %}\n{% for message in messages %}\n"
        "    {%- if message.role == 'user' %}[INST] {{ message.content | trim }} [/INST]{% else %} {{ message.content }}{{ eos_token }}{% endif %}\n"
        "{%- set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
    ),
    "json and marks": (
        "{% for m in messages %}{{ m | tojson }}{% generation %}{{ m.content }}{% endgeneration %}{% if loop.last %}{% break %}{% endif %}{% endfor %}"
    ),
}
TALK = [{"role": "user", "content": "The cat  \n"}, {"role": "assistant", "content": "naïve 🙂 <|endoftext|>"}, {"role": "user", "content": "{{ 7 * 7 }}"}]


def talking(template: Any) -> TransformersModel:
    words = tokenizer()
    words.chat_template = template
    return TransformersModel(network("llama"), words, "tiny")


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
@pytest.mark.parametrize("answer", [True, False])
def test_the_tokens_are_those_of_transformers(template: str, answer: bool) -> None:
    model = talking(template)
    expected = model.tokenizer.apply_chat_template(TALK, add_generation_prompt=answer, tokenize=True, return_dict=False)
    assert chat(model, TALK, answer=answer) == expected


def test_the_default_of_several_templates() -> None:
    model = talking({"default": "{{ messages[0].content }}", "tool_use": "no"})
    assert model.vocabulary.decode(chat(model, TALK)) == "The cat  \n"
    assert ulam.sample(model, [chat(model, TALK)], max_tokens=1, seed=1)[0].prompt == "The cat  \n"


def test_a_template_that_complains() -> None:
    model = talking("{{ raise_exception('roles must alternate\x1b[31m\n') }}")
    with pytest.raises(UsageError, match="the chat template of tiny refuses these messages: roles must alternate") as error:
        chat(model, TALK)
    assert error.value.what.isprintable()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for x in", "TemplateSyntaxError"),
        ("{{ messages[9].content }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "failed"),
        ("{{ 'a' * 2000000 }}", "it makes a text of 2000000 characters"),
        ("{{ 'a' * 20000000000 }}", "MemoryError"),
        ("{{ 'x' * 1100000 }}" + " " * 2**20, "at most 1,048,576 are read"),
    ],
)
def test_templates_that_fail(template: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        chat(talking(template), TALK)
    assert error.value.what.isprintable()


@pytest.mark.parametrize("template", ["{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "{{ 9 ** (9 ** 9) }}"])
def test_templates_that_never_end(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[chat.__module__], "SECONDS", 0.3)
    with pytest.raises(ModelError, match="it takes more than"):
        chat(talking(template), TALK)


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], ["hello"], [{"role": "user", "content": ["a"]}], [{"role": "user", "content": "\ud800"}]])
def test_what_are_no_messages(messages: Any) -> None:
    with pytest.raises(UsageError, match=r"no messages|is not a role and a text"):
        chat(talking("x"), messages)


def test_a_model_without_a_template() -> None:
    for model in (talking(None), ulam.load("abc")):
        with pytest.raises(Unsupported, match="has no chat template"):
            chat(model, TALK)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ModelError, match="makes half a character"):
        chat(talking("{{ '\\ud800' }}"), [{"role": "user", "content": "hi"}])
