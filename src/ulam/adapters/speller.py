"""What token ids say, asked of the server that tells ids and no texts (`/detokenize` of vLLM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .answers import Entry, bytes_of
from .server import Server

BROKEN = "\ufffd"


class Speller:
    """The texts of ids. That of one id alone is asked for once. Raises `ServerError`."""

    def __init__(self, server: Server, model: str):
        self.server, self.model = server, model
        self.known: dict[int, str] = {}

    def text(self, ids: Sequence[int]) -> str:
        found = self.server.post_beside("/detokenize", {"model": self.model, "tokens": list(ids)}).get("prompt")
        if not isinstance(found, str):
            raise self.server.error("answers no text where it was asked what tokens say")
        return found

    def one(self, token: int) -> str:
        if token not in self.known:
            self.known[token] = self.text([token])
        return self.known[token]

    def spelled(self, entry: Entry) -> Entry:
        """The entry with its text, and with its bytes if they are whole characters."""
        assert entry.token is not None
        text = self.one(entry.token)
        return replace(entry, text=text, raw=bytes_of(text, None))


class Following:
    """The text of a row while its tokens come: what a token says depends on those before it.

    prompt  its tokens, the last of which stands before the first that comes
    """

    def __init__(self, speller: Speller, prompt: Sequence[int]):
        self.speller, self.tail = speller, list(prompt[-1:])
        self.before: str | None = None

    def add(self, token: int, last: bool) -> bytes:
        """What the text gains: nothing while it ends in half a character, unless this token is the `last`."""
        if self.before is None:
            self.before = self.speller.one(self.tail[0]) if self.tail else ""
        self.tail.append(token)
        text = self.speller.text(self.tail)
        if text.endswith(BROKEN) and not last:
            return b""
        gained = text[len(self.before) :]
        self.tail, self.before = [token], None
        return gained.encode("utf-8", "replace")
