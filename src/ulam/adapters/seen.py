"""The vocabulary of a server: the tokens that it has shown so far."""

from __future__ import annotations

from typing import Any

from ..core.errors import TokenOutOfRange
from ..core.vocabulary import Vocabulary
from .answers import Entry


class Seen(Vocabulary):
    """Tokens by id, as they come: the server's ids where it tells them, else numbers in the order in which they came.

    It grows, and cannot encode text: a server does not say how it reads one.
    """

    def __init__(self) -> None:
        super().__init__([])
        self.tokens: Any = {}
        self._numbers: dict[bytes | str, int] = {}

    def __repr__(self) -> str:
        return f"Seen({len(self)} tokens)"

    def check(self, token: int) -> int:
        if token not in self.tokens:
            raise TokenOutOfRange(f"the server has shown no token {token!r} so far", fix="ids of tokens that it has shown")
        return int(token)

    def add(self, entry: Entry, end: bool = False) -> int:
        """The id of a token; one that ends a text has a name and no bytes."""
        raw = entry.raw if entry.raw is not None else entry.text.encode("utf-8", "replace")
        token = entry.token if entry.token is not None else self._numbers.setdefault(raw, len(self._numbers))
        self.tokens.setdefault(token, b"" if end else raw)
        if end:
            self.names[token] = entry.text or "end"
        return token
