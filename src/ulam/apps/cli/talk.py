"""Talk, on standard error."""

from __future__ import annotations

import sys


def say(text: str, end: str = "\n") -> None:
    """Write to standard error now. Nothing happens where there is none."""
    if sys.stderr is not None:
        sys.stderr.write(text + end)
        sys.stderr.flush()


def silent(text: str) -> None:
    """Talk that nobody wants to hear."""
