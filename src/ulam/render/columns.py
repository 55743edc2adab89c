"""Aligned columns of plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

INTERVAL = re.compile(r"([\[(][^\s,()\[\]]+),[ \u00a0]([^\s,()\[\]]+[\])])")


def columns(rows: Sequence[Sequence[str]], width: int, indent: int = 2) -> str:
    """Rows of cells as lines, two spaces between columns; every line of a row's last cell is wrapped into its own column."""
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    margin = indent + sum(size + 2 for size in widths)
    lines: list[str] = []
    for row in rows:
        head = " " * indent + "".join(f"{cell:<{size}}  " for cell, size in zip(row, widths, strict=False))
        wrapped = [line for part in row[-1].split("\n") for line in wrap(part, max(24, width - margin))] or [""]
        lines += [(head + wrapped[0]).rstrip(), *(" " * margin + line for line in wrapped[1:])]
    return "\n".join(lines) + "\n"


def wrap(line: str, width: int) -> list[str]:
    """A line as lines of at most `width` columns, all as far in as the first. An interval stays whole: `[0, 1]`."""
    inside = " " * (len(line) - len(line.lstrip()))
    bound = INTERVAL.sub("\\1,\u00a0\\2", line.strip())
    lines = textwrap.wrap(bound, width, initial_indent=inside, subsequent_indent=inside, break_on_hyphens=False)
    return [INTERVAL.sub("\\1, \\2", each) for each in lines]


def flow(words: Sequence[str], width: int, indent: int = 2) -> str:
    """Words one after the other, in lines of at most `width` columns."""
    return textwrap.fill("  ".join(words), width, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False) + "\n"
