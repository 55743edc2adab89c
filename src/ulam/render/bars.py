"""Tables in which a bar says how large a probability is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

EIGHTHS = " ▏▎▍▌▋▊▉"
COLUMNS = (50, 25, 10)
"""How long the longest bar may be: the first that leaves room for the texts."""
SHORTEST = 16
"""Columns that a long text keeps, however narrow the terminal is."""
GAP = "   "


class Row(NamedTuple):
    """A line of a table: a text, numbers as they are shown, and the probability that its bar stands for."""

    text: str
    numbers: Sequence[str]
    prob: float


def bar(length: float) -> str:
    """A bar so many columns long, in eighths, rounded down; what is more than nothing has one at least."""
    eighths = max(math.floor(length * 8 + 1e-9), 1 if length > 0 else 0)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def scale(largest: float) -> int:
    """k, where the longest bar stands for 10^-k: the smallest power of ten that `largest` fits into."""
    return max(0, math.floor(-math.log10(largest) + 1e-9)) if 0 < largest < 1 else 0


def table(heads: Sequence[str], rows: Sequence[Row], width: int, *, bars: bool = True) -> tuple[list[str], int]:
    """Lines of at most `width` columns, some 60 or more: the heads, then the rows with bars behind; and the columns that texts have.

    Fifty columns are probability 1. Where all bars would be short, or the texts leave no room for them, the scale is another
    one, and its head says so. A text that is too long all the same loses its middle.
    """
    sizes = [max(map(len, column)) for column in zip(heads[1:], *(row.numbers for row in rows), strict=True)]
    room = width - 1 - sum(size + len(GAP) for size in sizes)
    longest = max(cell_len(text) for text in (heads[0], *(row.text for row in rows)))
    ends, needed = [""] * (1 + len(rows)), 0
    for most in COLUMNS if bars else ():
        ends = drawn([row.prob for row in rows], most)
        needed = max(map(len, ends)) + len(GAP)
        if longest + needed <= room:
            break
    size = min(longest, max(SHORTEST, room - needed))
    texts, numbers = [heads[0], *(row.text for row in rows)], [heads[1:], *(row.numbers for row in rows)]
    return [line(text, each, end, size, sizes) for text, each, end in zip(texts, numbers, ends, strict=True)], size


def drawn(probs: Sequence[float], most: int) -> list[str]:
    """A head that says what `most` columns stand for, unless that is fifty for probability 1; and a bar for each probability."""
    power = scale(max(probs, default=1))
    head = "" if (most, power) == (COLUMNS[0], 0) else f"{most} columns = {10.0**-power:g}"
    return [head, *(bar(p * 10**power * most) for p in probs)]


def line(text: str, numbers: Sequence[str], end: str, size: int, sizes: Sequence[int]) -> str:
    """A text, its numbers and its bar, each in its column."""
    cells = [set_cell_size(shortened(text, size), size), *(f"{number:<{width}}" for number, width in zip(numbers, sizes, strict=True)), end]
    return " " + GAP.join(cells).rstrip()


def shortened(text: str, size: int) -> str:
    """`text` in at most `size` columns, without its middle if it is longer."""
    if cell_len(text) <= size:
        return text
    tail = ""
    for character in reversed(text):
        if cell_len(character + tail) > (size - 1) // 2:
            break
        tail = character + tail
    return set_cell_size(text, size - 1 - cell_len(tail)) + "…" + tail
