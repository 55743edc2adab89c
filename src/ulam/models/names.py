"""Tokens by name, and prefixes in writing: `a b`, `ab`, `the ␣cat`.

A token is written as its text or its name, or as `Vocabulary.show` shows it. A prefix is its tokens separated by single
spaces, so that a space inside a token is written ␣; if every token is one character long they may be joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import ModelError, did_you_mean
from ..core.values import print_value
from ..core.vocabulary import Vocabulary
from .prefixes import Prefix

SHOWN = 12  # tokens of a prefix in an error
AMBIGUOUS = -1


class Names:
    """The tokens of a vocabulary by name. Raises `ModelError`, in which `where` says what was being read."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        texts = [text_of(vocabulary, i) for i in range(len(vocabulary))]
        self._shown = [vocabulary.show(i) for i in range(len(vocabulary))]
        self._ids: dict[str, int] = {}
        for names in (texts, self._shown):  # a text before what another one looks like
            new: dict[str, int] = {}
            for i, name in enumerate(names):
                if name and name not in self._ids:
                    new[name] = AMBIGUOUS if name in new else i
            self._ids |= new
        self._joined = all(text is not None and len(text) == 1 for text in texts)

    def token(self, name: Any, where: str) -> int:
        """The id of a token by name."""
        i = self._ids.get(name) if isinstance(name, str) else None
        if i is None:
            shown = print_value(name[:40]) if isinstance(name, str) else repr(name)[:40]
            hint = did_you_mean(str(name), filter(None, self._shown))
            raise ModelError(f"{where} names {shown}, which is not a token.{hint}", fix=f"tokens: {listed(self._shown)}")
        if i == AMBIGUOUS:
            raise ModelError(f"{where} names {print_value(name)}, which is the text of several tokens", fix="give token ids")
        return i

    def prefix(self, key: str, where: str) -> Prefix:
        """The ids of a prefix in writing."""
        if not key:
            return ()
        return tuple(self.token(name, where) for name in (list(key) if self._joined and " " not in key else key.split(" ")))

    def row(self, row: Mapping[str, Any], where: str) -> list[Any]:
        """What a row gives to every token, V numbers; 0 to those that it leaves out."""
        out: list[Any] = [0] * len(self.vocabulary)
        seen: set[int] = set()
        for name, number in row.items():
            i = self.token(name, where)
            if i in seen:
                raise ModelError(f"{where} names {print_value(name)} twice", fix="name every token once")
            seen.add(i)
            out[i] = number
        return out

    def written(self, prefix: Sequence[int]) -> str:
        """A prefix as a person writes it, in quotes; the end of a long one."""
        shown = [self.vocabulary.show(i) or f"⟨{i}⟩" for i in prefix[-SHOWN:]]
        return print_value(("… " if len(prefix) > SHOWN else "") + ("" if self._joined else " ").join(shown))


def text_of(vocabulary: Vocabulary, token: int) -> str | None:
    """The name or the text of a token; None for bytes that are no text."""
    try:
        return vocabulary.names.get(token) or vocabulary.tokens[token].decode("utf-8")
    except UnicodeDecodeError:
        return None


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names in one line, not too many of them."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
