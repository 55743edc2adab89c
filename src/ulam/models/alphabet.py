"""Vocabularies small enough to write down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..core.errors import UsageError
from ..core.values import is_unicode, print_value
from ..core.vocabulary import Vocabulary
from .names import listed


def alphabet(characters: str, *, end: str | None = None) -> Vocabulary:
    """A vocabulary in which every character is a token; with `end`, one more token, so written, ends a text.

    `alphabet("xy", end="$")` has x = 0, y = 1 and the end token 2. Encoding a text with any other character
    raises `UsageError`.
    """
    return words([*characters] if end is None else [*characters, end], ends=[] if end is None else [len(characters)])


def words(texts: Sequence[str], *, ends: Sequence[int] = ()) -> Vocabulary:
    """A vocabulary of these tokens, ids in this order. Those of `ends` end a text: they have a name and no bytes.

    A text is read from left to right, always the longest token that fits; `UsageError` where none does, and for a token
    that is empty, no text or there twice.
    """
    for text, count in Counter(texts).items():
        if count > 1 or not text or not is_unicode(text):
            what = f"the token {print_value(text)} is there {count} times" if count > 1 else f"{text!r} is no token"
            raise UsageError(what, fix="different tokens of at least one character")
    ids = {text: i for i, text in enumerate(texts) if i not in ends}
    longest = max(map(len, ids), default=0)

    def encode(text: str) -> list[int]:
        found: list[int] = []
        at = 0
        while at < len(text):
            size = next((size for size in range(longest, 0, -1) if text[at : at + size] in ids), 0)
            if size == 0:
                what = f"{text[at : at + max(longest, 1)]!r} is not in the alphabet of this model: {listed([vocabulary.show(i) for i in ids.values()])}"
                raise UsageError(what, fix="write the text in these tokens alone")
            found.append(ids[text[at : at + size]])
            at += size
        return found

    tokens = [b"" if i in ends else text.encode() for i, text in enumerate(texts)]
    vocabulary = Vocabulary(tokens, names={i: texts[i] for i in ends}, ends=ends, encode=encode)
    return vocabulary
