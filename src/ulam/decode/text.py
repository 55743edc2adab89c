"""Bytes of tokens to text as it comes: whole characters only, and never a part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns the bytes of one row's tokens into text, piece by piece.

    An incomplete UTF-8 character waits for its rest; so does text that may be the beginning of a stop string. What
    `feed` and `finish` return, joined, is the row's text, the same for every way to cut it into tokens.
    """

    def __init__(self, stop: Sequence[str] = ()):
        self.stop = tuple(stop)
        self.stopped_by: str | None = None
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.held = ""

    def feed(self, raw: bytes) -> str:
        """Text that is now certain. Sets `stopped_by` when a stop string is complete; the text ends before it."""
        return self.settle(self.held + self.decoder.decode(raw))

    def finish(self) -> str:
        """The rest, when no more tokens come; bytes that never became a character are U+FFFD."""
        text = self.settle(self.held + self.decoder.decode(b"", final=True))
        rest, self.held = self.held, ""
        return text + rest

    def settle(self, text: str) -> str:
        if self.stopped_by is not None:
            return ""
        # the stop string that is complete first cuts, wherever the borders of tokens are
        matches = [(at + len(word), at, word) for word in self.stop if (at := text.find(word)) >= 0]
        if matches:
            _, at, self.stopped_by = min(matches)
            self.held = ""
            return text[:at]
        waiting = max((partial(text, word) for word in self.stop), default=0)
        self.held = text[len(text) - waiting :]
        return text[: len(text) - waiting]


def partial(text: str, word: str) -> int:
    """Length of the longest end of `text` that begins `word`."""
    for size in range(min(len(text), len(word) - 1), 0, -1):
        if text.endswith(word[:size]):
            return size
    return 0
