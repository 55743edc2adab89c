"""The receipt: what was drawn, how, and how to draw it again, in one line."""

from __future__ import annotations

from collections.abc import Sequence

RULE = "── "


def receipt(parts: Sequence[str], width: int | None, lead: str = RULE) -> str:
    """The parts in one line; with a width, as many lines as they need, broken between parts only. `lead` stands before the first."""
    lines = [lead + parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]} · {part}"
        if width is not None and len(longer) > width:
            lines.append(" " * len(lead) + part)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def number(x: float) -> str:
    """Three digits or the whole part, whichever is longer: `0.51`, `5.3`, `412`, `1204`."""
    x += 0.0  # no sign on zero
    return f"{x:.3g}" if abs(x) < 100 else f"{x:.0f}"


def counted(count: int, word: str) -> str:
    """`1 token`, `24 tokens`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
