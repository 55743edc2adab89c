"""Text that comes in: arguments, files, standard input. All of it is UTF-8, and an error says where it is not."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ...core.errors import UsageError
from ...render.terminal import is_terminal


def read_text(text: str | None, file: str | None, from_input: bool, note: Callable[[str], None], verb: str = "") -> tuple[str, bool]:
    """The text to continue, or what else `verb` does with it, and whether it is standard input and an argument together.

    text        the argument, or None
    file        the value of `-f`; `-` is standard input
    from_input  whether standard input was asked for by `-`
    note        told that somebody may have to wait

    Standard input is read when it was asked for, when there is no other text, and when it is a pipe or a file beside
    an argument: its text comes first, then a blank line, then the argument. One line end at the end of a pipe or a
    file is the file's, not the text's. Raises `UsageError` if there is nothing to read.
    """
    if file is not None and text is not None:
        raise UsageError(f"there are two texts: one in {file} and one with -p", fix=f"cat {file} | ulam - -p TEXT, for the file and then the text")
    if file is not None and file != "-":
        return drop_line_end(read_file(file)), False
    from_input = from_input or file == "-"
    example = f'ulam {verb + " " if verb else ""}"Once upon a time"'
    if text is not None and not from_input and not is_piped():
        return text, False
    if text is None and not from_input and is_terminal(sys.stdin):
        raise UsageError(f"there is no text to {verb or 'continue'}", fix=example)
    piped = drop_line_end(read_input(note, example))
    if text is None and not piped:
        what = f"standard input is empty, so there is nothing to {verb or 'continue'}"
        raise UsageError(what, fix=example if verb else 'ulam "" begins a text from nothing')
    return "\n\n".join(part for part in (piped, text) if part), bool(piped and text)


def is_piped() -> bool:
    """Whether standard input is a pipe or a file: something that ends."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def read_input(note: Callable[[str], None], example: str) -> str:
    """All of standard input, with a word to the person who waits for it. `example` is a command that needs none."""
    if sys.stdin is None:
        raise UsageError("standard input is closed, so there is nothing to read", fix=example)
    if is_piped() and os.name == "posix" and not select.select([sys.stdin], [], [], 1)[0]:
        note("waiting for standard input, which comes before the text; to leave it out: < /dev/null")
    return decode(sys.stdin.buffer.read(), "standard input")


def read_file(path: str) -> str:
    """The text of a file. Raises `UsageError`."""
    try:
        return decode(Path(path).read_bytes(), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or 'it is not a file').lower()}") from None


def decode(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"{name} is not UTF-8: byte {raw[error.start]:#04x} at offset {error.start}"
        raise UsageError(what, fix="iconv -f latin1 -t utf-8, with the encoding that it really has") from None


def check_arguments(words: Sequence[str]) -> None:
    """Every word of the command is UTF-8. Raises `UsageError`."""
    for number, word in enumerate(words, 1):
        decode(os.fsencode(word), f"argument {number}")


def drop_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def unescape(text: str) -> str:
    r"""A stop string as it is meant: `\n`, `\t` and `\\` for what a shell makes hard to type."""
    for_backslash = "\0"
    return text.replace(r"\\", for_backslash).replace(r"\n", "\n").replace(r"\t", "\t").replace(for_backslash, "\\")
