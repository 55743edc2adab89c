"""The header of a GGUF file, read without trusting it: settings, tensors, and whether the file holds all it promises.

    GGUF · version · number of tensors · number of settings · settings · tensors · padding · data

A setting is a key, a type and a value; a tensor is a name, its dimensions, a type and the place of its data. Every size is
compared with the file before anything is read or skipped, so a broken or truncated file is a `ModelError` of one line, in
time that grows with the header alone. Whoever opens the file afterwards (a C library, which may end the process) gets one
whose header adds up, and whose list of tokens does not name one twice. Lists are skipped: no vocabulary is kept.

Source    the GGUF specification of ggml, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import ModelError
from ..core.values import print_value

CHUNK = 2**20  # bytes read at a time
TEXT_LIMIT = 2**20  # bytes of a key or of a text that is kept; chat templates are the longest
ALIGNMENT = 32
DIMENSIONS = 4
TEXT, LIST = 8, 9
TOKENS = "tokenizer.ggml.tokens"
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Types of a value that is a number or a truth value, and how `struct` reads them."""

HEADS = ("head_count", "head_count_kv", "key_length", "value_length")
POSSIBLE = {"block_count": (1, 512), **{f"attention.{name}": (0, 2**14) for name in HEADS}}
POSSIBLE |= {f"attention.layer_norm{kind}_epsilon": (0, 1) for kind in ("", "_rms")}
"""Least and most of a number. llama.cpp has 512 layers; the other bounds are wider than any network."""

F32 = 0
PLAIN = {F32: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
PACKED = {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 20: (32, 18), 39: (32, 17), 40: (64, 36), 41: (128, 18)}
K_QUANTS = {10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 15: 292, 16: 66, 17: 74, 18: 98, 19: 50, 21: 110, 22: 82, 23: 136, 29: 56, 34: 54, 35: 66}
BLOCKS = {kind: (1, size) for kind, size in PLAIN.items()} | PACKED | {kind: (256, size) for kind, size in K_QUANTS.items()}
"""Numbers in a block and bytes of a block, by type of tensor. Of a type that is not here only the place of the data is checked."""


@dataclass(frozen=True)
class Header:
    """What stands before the data.

    settings  value by key; numbers, truth values and texts
    lists     type and number of entries by key
    types     the types of the tensors
    length    bytes before the data
    """

    settings: dict[str, Any]
    lists: dict[str, tuple[int, int]]
    types: frozenset[int]
    length: int


class Cursor:
    """Reads a file from its start, never past its end."""

    def __init__(self, file: BinaryIO, size: int, shown: str):
        self.file, self.size, self.shown = file, size, shown
        self.held, self.first, self.at = b"", 0, 0  # bytes at hand, where they begin in the file, where reading goes on

    def broken(self, what: str) -> ModelError:
        return ModelError(f"{self.shown} is broken or cut short: {what}", fix="copy or download it again")

    def need(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise self.broken(f"{what} ends beyond the file, which has {self.size:,} bytes")

    def take(self, count: int, what: str) -> bytes:
        self.need(count, what)
        begin = self.at - self.first
        if begin + count > len(self.held):
            self.file.seek(self.at)
            self.held, self.first, begin = self.file.read(max(count, CHUNK)), self.at, 0
            if len(self.held) < count:
                raise self.broken(f"{what} cannot be read")
        self.at += count
        return self.held[begin : begin + count]

    def skip(self, count: int, what: str) -> None:
        self.need(count, what)
        self.at += count

    def number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def text(self, what: str) -> str:
        length = self.number("<Q", what)
        if length > TEXT_LIMIT:
            raise self.broken(f"{what} has {length:,} bytes")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError:
            raise self.broken(f"{what} is not UTF-8") from None


def read_value(cursor: Cursor, kind: int, what: str) -> Any:
    """A number, a truth value or a text."""
    if kind == TEXT:
        return cursor.text(what)
    if kind not in NUMBERS:
        raise cursor.broken(f"{what} is of the type {kind}, which does not exist")
    value = cursor.number(NUMBERS[kind], what)
    return float(str(np.float32(value))) if NUMBERS[kind] == "<f" else value  # 0.7, not 0.699999988079071


def skip_list(cursor: Cursor, what: str, unlike: bool) -> tuple[int, int]:
    """The type and the number of entries of a list, which is passed over. Texts that are to be `unlike` are compared; empty ones may repeat."""
    kind, count = cursor.number("<I", what), cursor.number("<Q", what)
    if kind in NUMBERS:
        cursor.skip(count * struct.calcsize(NUMBERS[kind]), what)
    elif kind == TEXT:
        cursor.need(8 * count, what)
        seen: set[bytes] = set()
        for i in range(count):
            length = cursor.number("<Q", what)
            if not unlike:
                cursor.skip(length, what)
            elif length:
                if (text := cursor.take(length, what).partition(b"\0")[0]) in seen:  # llama.cpp reads up to a zero
                    raise cursor.broken(f"{what} names {print_value(text.decode(errors='replace')[:80])} twice, the second time as {i}")
                seen.update([text] if text else [])
    else:
        raise cursor.broken(f"{what} is a list of the type {kind}")
    return kind, count


def check_numbers(cursor: Cursor, settings: dict[str, Any]) -> None:
    """The numbers by which llama.cpp ends the process are such as networks have."""
    kind = settings.get("general.architecture")
    for name, (least, most) in POSSIBLE.items():
        value = settings.get(f"{kind}.{name}", most)
        if isinstance(value, (int, float)) and not least <= value <= most:
            raise cursor.broken(f"{print_value(f'{kind}.{name}')} is {print_value(value)}, which no network has")


def check_tokens(cursor: Cursor, lists: dict[str, tuple[int, int]]) -> None:
    """The lists about tokens are of one length, and of the types that they must have."""
    _, tokens = lists.get(TOKENS, (TEXT, 0))
    for key, allowed in ((TOKENS, (TEXT,)), ("tokenizer.ggml.scores", (6,)), ("tokenizer.ggml.token_type", (4, 5))):
        kind, count = lists.get(key, (allowed[0], tokens))
        if kind not in allowed or count != tokens:
            raise cursor.broken(f"{key} has {count} entries of the type {kind} for {tokens} tokens")


def check_tensor(cursor: Cursor, names: set[str], alignment: int) -> tuple[int, int]:
    """The type of a tensor, and where its data end, counted from where all data begin."""
    name = cursor.text("the name of a tensor")
    what = f"the tensor {print_value(name[:80])}"
    if name in names:
        raise cursor.broken(f"{what} is there twice")
    names.add(name)
    if (count := cursor.number("<I", what)) > DIMENSIONS:
        raise cursor.broken(f"{what} has {count} dimensions")
    shape = struct.unpack(f"<{count}Q", cursor.take(8 * count, what))
    kind, offset = cursor.number("<I", what), cursor.number("<Q", what)
    block, size = BLOCKS.get(kind, (1, 0))
    if offset % alignment or (shape and shape[0] % block):
        raise cursor.broken(f"{what} does not begin or end at the border of a block")
    return kind, offset + math.prod(shape) // block * size


def read(cursor: Cursor) -> Header:
    if cursor.size < 4 or cursor.take(4, "its first word") != b"GGUF":
        raise ModelError(f"{cursor.shown} is not a GGUF file: it does not begin with GGUF", fix="give a model that was converted to GGUF")
    version = cursor.number("<I", "its version")
    if version not in (2, 3):
        known = "its bytes are in big-endian order" if version in (2 << 24, 3 << 24) else f"its version is {version}"
        raise ModelError(f"{cursor.shown} cannot be read: {known}; ulam reads versions 2 and 3, little-endian", fix="convert the model again")
    tensors, count = cursor.number("<Q", "the number of tensors"), cursor.number("<Q", "the number of settings")
    cursor.need(24 * tensors + 13 * count, "the header")  # the least that they take
    settings: dict[str, Any] = {}
    lists: dict[str, tuple[int, int]] = {}
    for _ in range(count):
        key = cursor.text("a key")
        what = f"the setting {print_value(key[:80])}"
        if key in settings or key in lists:
            raise cursor.broken(f"{what} is there twice")
        kind = cursor.number("<I", what)
        if kind == LIST:
            lists[key] = skip_list(cursor, what, key == TOKENS)
        else:
            settings[key] = read_value(cursor, kind, what)
    check_numbers(cursor, settings)
    check_tokens(cursor, lists)
    alignment = settings.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise cursor.broken(f"general.alignment is {print_value(alignment)}, which is not a power of 2")
    names: set[str] = set()
    found = [check_tensor(cursor, names, alignment) for _ in range(tensors)]
    length = -(-cursor.at // alignment) * alignment
    if (missing := length + max((end for _, end in found), default=0) - cursor.size) > 0 and tensors:
        raise cursor.broken(f"its tensors need {missing:,} bytes more than the {cursor.size:,} that it has")
    return Header(settings, lists, frozenset(kind for kind, _ in found), length)


def read_header(path: Path, shown: str) -> Header:
    """The header of a GGUF file, which errors call `shown`. Raises `ModelError` for a file that is missing, broken, cut short or of another kind."""
    if not os.path.isfile(path):
        what = f"{shown} is a directory" if os.path.isdir(path) else f"there is no {shown}; nothing is downloaded"
        raise ModelError(what, fix="give the path of a .gguf file")
    try:
        with path.open("rb") as file:
            return read(Cursor(file, os.fstat(file.fileno()).st_size, shown))
    except OSError as error:
        raise ModelError(f"{shown} cannot be read: {error.strerror}", fix="check its permissions") from None


def proposed(header: Header) -> dict[str, Any]:
    """The sampling settings that a file proposes, by their keys in it: `general.sampling.temp` and others. Nothing applies them."""
    return {key: value for key, value in header.settings.items() if key.startswith("general.sampling.")}


def sampling(path: Path) -> dict[str, Any]:
    """The sampling settings that a GGUF file proposes, by their keys in it. Raises `ModelError` for a broken file."""
    return proposed(read_header(path, str(path)))
