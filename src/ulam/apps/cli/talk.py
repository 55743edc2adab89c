"""Talk, on standard error."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(text: str, end: str = "\n") -> None:
    """Write to standard error now. Nothing happens where nobody listens."""
    if sys.stderr is not None:
        with suppress(BrokenPipeError):
            sys.stderr.write(text + end)
            sys.stderr.flush()


def silent(text: str) -> None:
    """Talk that nobody wants to hear."""
