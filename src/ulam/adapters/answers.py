"""What a server answers: choices with their text, the tokens that it shows and their log-probabilities. Nothing in it is taken on trust.

Two shapes are read: `logprobs` of completions (`tokens`, `token_logprobs`, `top_logprobs`, a list each), and of chat (`content`, an
entry a token), which some servers use for both, with an `id` in every entry.

In the first shape the tokens of a list are the keys of an object, so of two tokens with one text (halves of characters, or "the" with and
without the blank that a tokenizer leaves out) one stands there and the other is hidden. `Step.hides` says where that may be.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import ServerError

SLACK = 1e-3
"""How far probabilities may add to more than 1: the rounding of numbers in half precision."""

IMPOSSIBLE = -9000.0
"""Below this a log-probability stands for none: JSON has no minus infinity, and some servers write -9999."""

HALF = re.compile(r"bytes:((?:\\x[0-9a-fA-F]{2})+)")
"""How completions write a token that is no whole character."""

CODE = re.compile(r"token_id:(\d{1,9})")
"""How vLLM writes a token that it was asked to tell by its id."""


@dataclass(frozen=True)
class Entry:
    """A token as a server shows it.

    raw    its bytes; None where the server shows a broken character or nothing, and not its bytes
    token  its id, if the server tells it
    """

    text: str
    raw: bytes | None
    token: int | None
    log_prob: float

    @property
    def is_code(self) -> bool:
        """Whether the id stands in place of the text."""
        return self.raw is None and self.token is not None


@dataclass(frozen=True)
class Step:
    """The token that the server drew, and the most likely ones at its place, the drawn one among them if it was listed.

    named  whether `top` tells tokens apart by nothing but their texts
    """

    drawn: Entry
    top: tuple[Entry, ...]
    named: bool = False

    def hides(self, asked: int) -> bool:
        """Whether one of the `asked` most likely tokens may not be listed. The drawn one, if it is none of them, comes on top of them."""
        return len(self.top) < asked or (self.named and len(self.top) == asked and self.drawn.log_prob <= min(each.log_prob for each in self.top))


@dataclass(frozen=True)
class Choice:
    """One answer.

    steps   a step a token; None if the server shows no log-probabilities
    reason  why it has no more tokens, in the server's word
    stop    the stop string that ended it, if the server tells
    """

    text: str
    steps: tuple[Step, ...] | None
    reason: str | None
    stop: str | None


@dataclass(frozen=True)
class Answer:
    """All of an answer that is read. Token counts are None where they are not told."""

    choice: Choice
    prompt_tokens: int | None
    tokens: int | None
    system: str | None


class Reader:
    """Reads answers. `error` makes the `ServerError` that says whose answer it was.

    coded  whether the server was asked to write ids in place of texts
    ids    whether the server tells the ids of tokens; None before the first. One that does so now and then cannot be followed
    """

    def __init__(self, error: Callable[[str], ServerError], coded: bool = False):
        self.error, self.coded = error, coded
        self.ids: bool | None = None

    def answer(self, found: Mapping[str, Any]) -> Answer:
        """Raises `ServerError` for an answer that is not one choice with a text, or whose probabilities cannot be."""
        choices = found.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            count = len(choices) if isinstance(choices, list) else 0
            raise self.error(f"was asked for one text and answers {count}" if count != 1 else "answers a choice that is no object")
        usage = found.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        system = found.get("system_fingerprint")
        return Answer(
            self.choice(choices[0]), count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens")), system if isinstance(system, str) else None
        )

    def choice(self, found: Mapping[str, Any]) -> Choice:
        message = found.get("message")
        text = message.get("content") if isinstance(message, dict) else found.get("text")
        if isinstance(message, dict) and text is None:
            text = ""
        if not isinstance(text, str):
            raise self.error("answers a choice without a text")
        reason, stop = found.get("finish_reason"), found.get("stop_reason")
        steps = self.steps(found.get("logprobs"))
        return Choice(text, steps, reason if isinstance(reason, str) else None, stop if isinstance(stop, str) else None)

    def steps(self, found: Any) -> tuple[Step, ...] | None:
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self.error("answers log-probs that are no object")
        if isinstance(found.get("content"), list):
            return tuple(self.entry_step(each) for each in found["content"])
        tokens, values, tops = (found.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
        if tokens is None and values is None:
            return None
        if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
            raise self.error("answers log-probs whose lists do not agree")
        if tops is not None and (not isinstance(tops, list) or len(tops) != len(tokens)):
            raise self.error("answers log-probs whose lists do not agree")
        return tuple(self.named_step(*each) for each in zip(tokens, values, tops or [None] * len(tokens), strict=True))

    def named_step(self, token: Any, value: Any, top: Any) -> Step:
        drawn = self.entry(token, value)
        if top is not None and not isinstance(top, dict):
            raise self.error("answers top log-probs that are no object")
        return self.checked(drawn, [self.entry(*each) for each in (top or {}).items()], named=drawn.token is None)

    def entry_step(self, found: Any) -> Step:
        drawn = self.full_entry(found)
        top = found.get("top_logprobs") or []
        if not isinstance(top, list):
            raise self.error("answers top log-probs that are no list")
        return self.checked(drawn, [self.full_entry(each) for each in top])

    def full_entry(self, found: Any) -> Entry:
        if not isinstance(found, dict):
            raise self.error("answers a token that is no object")
        return self.entry(found.get("token"), found.get("logprob"), found.get("bytes"), found.get("id"))

    def entry(self, text: Any, value: Any, raw: Any = None, token: Any = None) -> Entry:
        if not isinstance(text, str):
            raise self.error("answers a token that is no text")
        if isinstance(value, bool) or not (value is None or isinstance(value, (int, float))):
            raise self.error("answers a log-prob that is no number")
        log_prob = -math.inf if value is None or value < IMPOSSIBLE else float(value)
        if not log_prob <= SLACK:
            raise self.error(f"answers a log-prob of {log_prob:g}, which is a probability above 1")
        code = CODE.fullmatch(text) if self.coded else None
        known = (None, int(code[1])) if code else (bytes_of(text, raw), count_of(token))
        found = Entry(text, *known, min(log_prob, 0.0))
        if self.ids is not None and self.ids != (found.token is not None):
            raise self.error("tells the ids of some tokens and not of others")
        self.ids = found.token is not None
        return found

    def checked(self, drawn: Entry, top: list[Entry], named: bool = False) -> Step:
        """A step whose list can be: every token once, no more than 1 together, and the drawn one in it or less likely than all of it."""
        if not top:
            return Step(drawn, ())
        seen: dict[Any, Entry] = {}
        for each in top:
            key = name_of(each)
            if key in seen and (each.raw is not None or each.token is not None):
                raise self.error(f"lists the token {each.text!r} twice")
            seen[key] = each
        listed = seen.get(name_of(drawn))
        two = listed is not None and not math.isclose(listed.log_prob, drawn.log_prob, abs_tol=SLACK) and drawn.log_prob > -math.inf
        if listed is not None and two and not named and (drawn.raw is not None or drawn.token is not None):
            raise self.error(f"gives the token {drawn.text!r} two log-probs, {drawn.log_prob:g} and {listed.log_prob:g}")
        total = math.fsum(math.exp(each.log_prob) for each in (*top, *([drawn] if two else [])))
        if total > 1 + SLACK:
            raise self.error(f"answers probabilities that add to {total:.4g}, which is more than 1")
        if listed is None and drawn.log_prob > min(each.log_prob for each in top) + SLACK:
            raise self.error(f"lists the most likely tokens without {drawn.text!r}, which is more likely than the last of them")
        return Step(drawn, tuple(top), named)


def name_of(entry: Entry) -> Any:
    """What tells a token from others: its id, else its bytes, else its text."""
    return entry.token if entry.token is not None else entry.raw if entry.raw is not None else entry.text


def count_of(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def bytes_of(text: str, raw: Any) -> bytes | None:
    """The bytes of a token: those that were given (numbers, or base64), else those of its text."""
    if isinstance(raw, Sequence) and not isinstance(raw, str) and all(isinstance(b, int) and 0 <= b < 256 for b in raw):
        return bytes(raw)
    if isinstance(raw, str):
        try:
            return base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            pass
    if half := HALF.fullmatch(text):
        return bytes.fromhex(half[1].replace("\\x", ""))
    return None if not text or "\ufffd" in text else text.encode("utf-8", "surrogatepass")
