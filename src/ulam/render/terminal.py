"""A terminal: text that cannot act on it, and what it can do."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {0x7F: "␡"}
MARKS = (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
VISIBLE = CONTROLS | {code: f"⟨U+{code:04X}⟩" for code in MARKS}


def visible(text: str) -> str:
    """`text` with control characters, escape sequences and marks of direction as signs: `␛`, `⟨U+202E⟩`.

    Tabs and line ends stay. One character at a time, so that pieces of a text may be shown one by one.
    """
    return text.translate(VISIBLE)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at this stream as it is written."""
    return stream is not None and not stream.closed and stream.isatty()


def dim(text: str) -> str:
    """`text` for a terminal, fainter than the rest; as it is where escape codes are not wanted."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[2m{text}\x1b[22m"


def width(stream: TextIO | None) -> int:
    """Columns of a terminal; 100 for anything else."""
    return shutil.get_terminal_size((100, 24)).columns if is_terminal(stream) else 100
