"""`open_remote`: what a server lists, which engine it is, and the `Remote` that asks it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..core.errors import ModelError, ServerError, UsageError, did_you_mean
from ..core.values import print_value
from ..recipe.dialects import find
from .remote import Remote
from .server import Server

OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "library": "ollama"} | dict.fromkeys(("openai", "openai-internal", "system"), "openai")
"""What `owned_by` in the list of models says of the engine."""

ENDS = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<eos>", "<end_of_turn>", "<|return|>")
"""How tokens that end a text are written."""

SHOWN = 20
"""Most likely tokens that are asked for."""

LISTED = 10


def open_remote(
    url: str,
    *,
    model: str | None = None,
    engine: str | None = None,
    draws: str = "server",
    chat: bool = False,
    shown: int = SHOWN,
    ends: Sequence[str] = ENDS,
    api_key: str | None = None,
    timeout: float = 120.0,
) -> Remote:
    """A model on an OpenAI-compatible server.

    url      `http://host:port/v1`
    model    its name there; may be left out where there is only one
    engine   what serves it, a dialect (`vllm`, `sglang`, `llama.cpp`, `openai`, ...); recognised by the list of models, else `openai`
    draws    `server`, or `here` (see above)
    chat     use the chat endpoint: the prompt is the user's message
    shown    how many tokens the server is asked to show, for `here` (20; 5 where it refuses)
    ends     how the tokens that end a text are written
    api_key  else $ULAM_API_KEY; it stands in no message
    timeout  seconds for an answer

    Raises `ModelError` for a server that cannot be reached or has no such model, `UsageError` for what cannot be meant.
    """
    if draws not in ("server", "here"):
        raise UsageError(f'draws={draws!r}: the draws are made by the "server" or "here"', fix='draws="here"')
    if isinstance(shown, bool) or not isinstance(shown, int) or shown < 1:
        raise UsageError(f"shown={shown!r} is not a number of tokens", fix="shown=20")
    if engine is not None:
        find(engine)
    server = Server(url, key=api_key or os.environ.get("ULAM_API_KEY") or None, timeout=timeout)
    try:
        listed = models_of(server)
    except ServerError as error:
        if model is None or error.status not in (404, 405):
            raise ModelError(error.what, fix=error.fix) from None
        listed = {}
    if model is None and len(listed) == 1:
        model = next(iter(listed))
    if model is None or (listed and model not in listed):
        names = [*listed][:LISTED]
        more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
        which = "several models:" if model is None else f"no model {print_value(model)}; it has"
        what = f"{server.url} has {which} {', '.join(map(print_value, names))}{more}"
        near = did_you_mean(model, listed) if model is not None else ""
        raise ModelError(what + near if names else f"{server.url} lists no model", fix=f"model={print_value(names[0])}" if names else "model=, its name there")
    return Remote(server, model, engine or OWNERS.get(listed.get(model, "")), draws=draws, chat=chat, shown=shown, ends=ends)


def models_of(server: Server) -> dict[str, str]:
    """What the server lists: names, and who is said to own them."""
    data = server.get("/models").get("data")
    if not isinstance(data, list):
        raise server.error("lists no models where an OpenAI-compatible server does", fix="the URL of the API, which mostly ends in /v1")
    return {str(each["id"]): str(each.get("owned_by") or "") for each in data if isinstance(each, dict) and each.get("id")}
