"""A conversation as the tokens of a prompt, by the chat template that comes with a model.

A template is a program of somebody else's (Jinja), so it runs in jinja2's immutable sandbox, in a process of its own that has
nothing of ours in it, `SECONDS` seconds and `MEMORY` bytes. What it may use is what it may use in transformers, whose `apply_chat_template`
gives the same text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import ModelError, Unsupported, UsageError
from ..core.values import is_unicode, print_value
from .protocol import LanguageModel

SECONDS = 5
MEMORY = 2**30
LONGEST = 2**20  # characters of a template, and of the text it makes
EXAMPLE = 'messages: [{"role": "user", "content": "Tell me a story."}]'

PROGRAM = Path(__file__).with_name("chat_template.py")


def chat(model: LanguageModel, messages: Sequence[Mapping[str, str]], *, answer: bool = True) -> list[int]:
    """Token ids of a conversation, as the model was trained to see it; the start token is among them where the template puts it.

    model     one with a chat template: `chat_template`, and the names of special tokens in `special_tokens`
    messages  each with `role` ("system", "user", "assistant") and `content`, a text
    answer    end where the assistant begins to speak

    Raises `Unsupported` for a model without a template, `UsageError` for messages that are none or that the template refuses, and
    `ModelError` for a template that fails, takes too long or makes too much.
    """
    template = getattr(model, "chat_template", None)
    if not template:
        raise Unsupported(f"{model.name} has no chat template, so it is not known how it reads a conversation", fix="a text as the prompt")
    said = [read_message(message, number) for number, message in enumerate(messages, 1)]
    if not said:
        raise UsageError("there are no messages", fix=EXAMPLE)
    names = {**getattr(model, "special_tokens", {}), "messages": said, "add_generation_prompt": answer, "tools": None, "documents": None}
    return model.vocabulary.encode_prompt(render(str(template), names, model.name))


def read_message(message: Any, number: int) -> dict[str, str]:
    role, content = (message.get(key) if isinstance(message, Mapping) else None for key in ("role", "content"))
    if not (isinstance(role, str) and isinstance(content, str) and is_unicode(role + content)):
        raise UsageError(f"message {number} is not a role and a text: {str(message)[:80]!r}", fix=EXAMPLE)
    return {"role": role, "content": content}


def render(template: str, names: dict[str, Any], name: str) -> str:
    """The text that a template makes of these names, in a process of its own. Raises `ModelError`, and `UsageError` if the template complains."""
    if len(template) > LONGEST:
        raise ModelError(f"the chat template of {name} has {len(template):,} characters; at most {LONGEST:,} are read", fix="a text as the prompt")
    given = json.dumps({"template": template, "names": names, "memory": MEMORY, "seconds": SECONDS, "longest": LONGEST})
    try:
        done = subprocess.run([sys.executable, "-I", str(PROGRAM)], input=given, capture_output=True, text=True, encoding="utf-8", timeout=2 * SECONDS)
        found = json.loads(done.stdout) if done.returncode == 0 else {"failed": ending(done)}
    except (subprocess.TimeoutExpired, ValueError):
        found = {"failed": f"it takes more than {SECONDS} seconds"}
    if "complaint" in found:
        raise UsageError(f"the chat template of {name} refuses these messages: {print_value(found['complaint'])[1:-1]}", fix=EXAMPLE)
    if "failed" in found:
        raise ModelError(f"the chat template of {name} failed: {print_value(found['failed'])[1:-1]}", fix="a text as the prompt")
    if not is_unicode(found["text"]):
        raise ModelError(f"the chat template of {name} makes half a character (a lone surrogate)", fix="a text as the prompt")
    return found["text"]


def ending(done: subprocess.CompletedProcess[str]) -> str:
    """Why the process ended without an answer."""
    if "No module named 'jinja2'" in done.stderr:
        return 'it needs jinja2, which comes with: pip install "ulam[transformers]"'
    return f"it takes more than {SECONDS} seconds" if done.returncode < 0 else "it takes too much memory"
