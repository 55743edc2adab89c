"""Training text: files to documents, with the errors a person can make.

A document is what stands between marks `<|endoftext|>`; a file without a mark is one document. The model learns
where documents begin and end, so a file of many short texts teaches more about beginnings and endings
than one long text does.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import TrainingTextError

END = "<|endoftext|>"
SMALLEST = 2000  # characters: below this a tokenizer and a held-out part make no sense
HELD_OUT = 0.05  # share of the characters that validation gets where no text is given for it


@dataclass(frozen=True)
class Source:
    """A file that was read: its name without folders, its bytes, and their hash in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Corpus:
    """Documents to learn from and documents to measure on, and the files they came from (none if made from strings)."""

    train: Sequence[str]
    valid: Sequence[str]
    train_sources: Sequence[Source] = ()
    valid_sources: Sequence[Source] = ()

    @property
    def sha256(self) -> str:
        """A hash of all documents, in order, in hex."""
        parts = [len(text).to_bytes(8, "little") + text.encode() for side in (self.train, (END,), self.valid) for text in side]
        return hashlib.sha256(b"".join(parts)).hexdigest()


def read_corpus(paths: Sequence[Path], valid: Sequence[Path] = ()) -> Corpus:
    """Read training files and validation files; without the latter, the end of the training text is held out.

    Raises `TrainingTextError` for what cannot be read, is not UTF-8 text, is too short, or is on both sides.
    """
    documents, sources = read_documents(paths, SMALLEST)
    if not valid:
        return Corpus(*hold_out(documents), sources)
    held, held_sources = read_documents(valid, 1)
    hashes = {source.sha256: source.name for source in sources}
    for source in held_sources:
        if source.sha256 in hashes:
            what = f"{source.name} has the same bytes as the training file {hashes[source.sha256]}: its loss would show memory, not learning"
            raise TrainingTextError(what, fix="validate on text that is not trained on, or name no text for it: the last twentieth is then held out")
    return Corpus(documents, held, sources, held_sources)


def read_documents(paths: Sequence[Path], smallest: int) -> tuple[list[str], list[Source]]:
    """The documents of UTF-8 text files, in order, at least `smallest` characters of them."""
    documents: list[str] = []
    sources: list[Source] = []
    for path in map(Path, paths):
        try:
            raw = path.read_bytes()
        except OSError as fault:
            raise TrainingTextError(f"cannot read {path}: {fault.strerror or fault}", fix="give the path of a UTF-8 text file") from None
        sources.append(Source(path.name, len(raw), hashlib.sha256(raw).hexdigest()))
        parts = (part.strip("\n") for part in decoded(raw, path).replace("\r\n", "\n").split(END))
        documents += [part for part in parts if part.strip()]
    size = sum(map(len, documents))
    names = ", ".join(map(str, paths))
    if size == 0:
        raise TrainingTextError(f"nothing to learn from: {names or 'no file'} holds no text", fix="give a text file of at least some pages")
    if size < smallest:
        what = f"{size} characters in {names} are too few to train on (at least {smallest})"
        raise TrainingTextError(what, fix="give more text; a megabyte makes a readable model")
    return documents, sources


def decoded(raw: bytes, path: Path) -> str:
    """Bytes as UTF-8 text, or the error that says what they are."""
    to_utf8 = f"-t utf-8 {shlex.quote(str(path))} > {shlex.quote(path.stem + '.utf8.txt')}"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TrainingTextError(f"{path} is UTF-16 text, not UTF-8", fix=f"iconv -f utf-16 {to_utf8}")
    if b"\0" in raw:
        raise TrainingTextError(f"{path} is binary (a zero byte at offset {raw.index(0)}), not text", fix="give UTF-8 text files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise TrainingTextError(f"{path} is not UTF-8 text (byte offset {fault.start})", fix=f"iconv -f latin1 {to_utf8}") from None


def hold_out(documents: Sequence[str], fraction: float = HELD_OUT) -> tuple[list[str], list[str]]:
    """Split off the end of the text for validation: whole documents while they fit, else the tail of the last one.

    Both sides hold text, whatever the documents, if there are two characters of it.
    """
    kept, held = list(documents), []
    wanted = max(1, round(fraction * sum(map(len, kept))))
    missing = wanted
    while len(kept) > 1 and len(kept[-1]) <= missing:
        missing -= len(kept[-1])
        held.insert(0, kept.pop())
    if 2 * missing > wanted:
        last = kept.pop()
        at = max(1, len(last) - missing)
        spaces = [last.rfind(space, max(1, at - missing), at + 1) for space in " \n"]
        at = max(spaces) if max(spaces) > 0 else at  # not inside a word, where there are words
        kept.append(last[:at])
        held.insert(0, last[at:])
    return kept, held
