"""Training text: files to documents, with the errors a person can make.

A document is what stands between lines that read `<|endoftext|>`; a file without such a line is one
document. The model learns where documents begin and end, so a file of many short texts teaches more
about beginnings and endings than one long text does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from ..core.errors import TrainingTextError

END = "<|endoftext|>"
SMALLEST = 2000  # characters: below this a tokenizer and a held-out part make no sense


def read_documents(paths: Sequence[Path]) -> list[str]:
    """The documents of UTF-8 text files, in order. Raises `TrainingTextError`."""
    documents: list[str] = []
    for path in paths:
        try:
            raw = Path(path).read_bytes()
        except OSError as fault:
            raise TrainingTextError(f"cannot read {path}: {fault.strerror or fault}", fix="give the path of a UTF-8 text file") from None
        if b"\0" in raw:
            raise TrainingTextError(f"{path} is binary (a zero byte at offset {raw.index(0)}), not text", fix="give UTF-8 text files")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as fault:
            raise TrainingTextError(f"{path} is not UTF-8 text (byte offset {fault.start})", fix=f"iconv -f latin1 -t utf-8 {path} > {Path(path).stem}.utf8.txt") from None
        parts = (part.strip("\n") for part in text.replace("\r\n", "\n").split(END))
        documents += [part for part in parts if part.strip()]
    size = sum(map(len, documents))
    if size == 0:
        raise TrainingTextError(f"nothing to learn from: {', '.join(map(str, paths))} holds no text", fix="give a text file of at least some pages")
    if size < SMALLEST:
        raise TrainingTextError(f"{size} characters are too few to train on (at least {SMALLEST})", fix="give more text; a megabyte makes a readable model")
    return documents


def hold_out(documents: list[str], fraction: float = 0.05) -> tuple[list[str], list[str]]:
    """Split off the last `fraction` of the text for validation: whole documents, or the tail of a single one."""
    if len(documents) >= 20:
        count = max(1, round(len(documents) * fraction))
        return documents[:-count], documents[-count:]
    text = "\n\n".join(documents)
    cut = text.rfind(" ", 0, round(len(text) * (1 - fraction)))
    cut = cut if cut > 0 else round(len(text) * (1 - fraction))
    return [text[:cut]], [text[cut:].lstrip()]
