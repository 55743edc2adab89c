"""tokenizer.json to a vocabulary: the exact bytes of every token, whatever kind of tokenizer it is.

A tokenizer's `decoder` is a list of steps, and each does to a token alone what it does to it in the middle of a text; so a
token's bytes are its name after these steps, and the bytes of a text are those of its tokens, one after the other. The
tokenizer's own decode differs in two places only: at the beginning of a text it drops the space that SentencePiece (`▁the`)
and WordPiece put before every word, and writes the `##` of WordPiece (old BPE drops a space at the end, `the</w>`); and every
byte of a broken character is U+FFFD there, where several of them may be one U+FFFD here.

To and fro: `encode` gives ids whose bytes are the text, or `NeedsTokenizer` where no ids have them (WordPiece keeps no line
ends, some tokenizers no capitals). `encode_prompt` gives what the tokenizer makes of a text that begins, its space included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer

from ..core.errors import ModelError, NeedsTokenizer
from ..core.values import print_value
from ..core.vocabulary import Vocabulary
from .notes import unused

KINDS = "use a checkpoint whose tokenizer is BPE, Unigram, WordPiece or WordLevel, saved by transformers"
BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
CLEANED = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"))
CLEANED = (*CLEANED, (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))

Step = Callable[[str | bytes], str | bytes]


def byte_letters() -> dict[int, str]:
    """How byte-level BPE writes the 256 bytes, letter to byte (as a character), for `str.translate`.

    Radford et al. 2019 (GPT-2): a byte that is a visible Latin-1 character stands for itself, the others take the code
    points from 256 on, in order. Those others are no letters themselves, so they become a character that is no byte.
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {256 + i: chr(byte) for i, byte in enumerate(hidden)} | {byte: "\uffff" for byte in hidden}


def byte_level(_: dict[str, Any]) -> Step:
    letters = byte_letters()
    return lambda token: str(token).translate(letters).encode("latin-1")


def replace(description: dict[str, Any]) -> Step | None:
    """A letter for another; a pattern may see more than one token, and has no meaning for one alone."""
    before = description["pattern"].get("String", "")
    return on_text(lambda token: token.replace(before, description["content"])) if len(before) == 1 else None


def byte_fallback(_: dict[str, Any]) -> Step:
    return on_text(lambda token: bytes([int(token[3:5], 16)]) if BYTE.fullmatch(token) else token)


def metaspace(description: dict[str, Any]) -> Step:
    return on_text(lambda token: token.replace(description["replacement"], " "))


def word_piece(description: dict[str, Any]) -> Step:
    """`##ing` goes on with a word, everything else begins one; the library's tidying of spaces looks at one token at a time too."""
    prefix, cleanup = description["prefix"], CLEANED if description["cleanup"] else ()

    def text(token: str) -> str:
        token = token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
        for before, after in cleanup:
            token = token.replace(before, after)
        return token

    return on_text(text)


def bpe_suffix(description: dict[str, Any]) -> Step:
    return on_text(lambda token: token.replace(description["suffix"], " "))


def same(_: dict[str, Any]) -> Step:
    return lambda token: token


def ends_only(description: dict[str, Any]) -> Step | None:
    """Spaces cut off a whole text, which leaves the middle of one as it is."""
    return same(description) if description["content"] == " " else None


def on_text(change: Callable[[str], str | bytes]) -> Step:
    """A step that leaves alone what is bytes already."""
    return lambda token: token if isinstance(token, bytes) else change(token)


STEPS: dict[str, Callable[[dict[str, Any]], Step | None]] = {
    "ByteLevel": byte_level,
    "Replace": replace,
    "ByteFallback": byte_fallback,
    "Metaspace": metaspace,
    "WordPiece": word_piece,
    "BPEDecoder": bpe_suffix,
    "Fuse": same,
    "Strip": ends_only,
}
"""What a step of a decoder does to one token, by its type in tokenizer.json; None for one whose settings do not allow to say."""


def steps(description: Any, shown: str) -> list[tuple[str, Step]]:
    """The steps of the `decoder` of a tokenizer.json, sequences opened. Raises `ModelError` for one that has no meaning for a token alone."""
    if not description:
        return [("none", on_text(lambda token: f" {token}"))]  # the library joins such tokens with spaces
    kind = str(description["type"])
    if kind == "Sequence":
        found = [step for each in description["decoders"] for step in steps(each, shown)]
        fused = [kind for kind, _ in found].index("Fuse") if any(kind == "Fuse" for kind, _ in found) else len(found)
        if any(kind not in ("Fuse", "Strip") for kind, _ in found[fused:]):
            raise ModelError(f"{shown} has a decoder that changes a text as a whole: {' + '.join(kind for kind, _ in found)}", fix=KINDS)
        return found
    step = STEPS[kind](description) if kind in STEPS else None
    if step is None:
        raise ModelError(f"{shown} has a decoder, {print_value(kind)}, from which the bytes of a token cannot be told", fix=KINDS)
    return [(kind, step)]


def without_first_space(whole: dict[str, Any]) -> dict[str, Any]:
    """The description of a tokenizer that puts no space before a text: of SentencePiece's two ways to do it, neither."""

    def quiet(part: Any) -> Any:
        if isinstance(part, list):
            return [quiet(each) for each in part if not (isinstance(each, dict) and each.get("type") == "Prepend")]
        if not isinstance(part, dict):
            return part
        part = {key: quiet(value) for key, value in part.items()}
        if part.get("type") == "Metaspace":
            part["prepend_scheme"] = "never"
        if part.get("type") == "ByteLevel":
            part["add_prefix_space"] = False
        return part

    normalizer = whole.get("normalizer")
    alone = isinstance(normalizer, dict) and normalizer.get("type") == "Prepend"
    return whole | {"normalizer": None if alone else quiet(normalizer), "pre_tokenizer": quiet(whole.get("pre_tokenizer"))}


def parsed(raw: bytes, shown: str) -> tuple[Tokenizer, dict[str, Any]]:
    """A tokenizer.json as the library reads it, and its description. Raises `ModelError`."""
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the library raises no narrower one
        raise ModelError(f"{shown} is not a tokenizer: {print_value(str(error).splitlines()[0])}", fix="save it again with save_pretrained") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, json.loads(raw)


def read_vocabulary(raw: bytes, shown: str, *, size: int, start: int | None, ends: Sequence[int]) -> Vocabulary:
    """The vocabulary of a tokenizer.json for a model whose logits have `size` entries.

    Special tokens have a name and no bytes; other added tokens have the bytes of their text. A special token's name
    inside a text is read as that token, as `transformers` reads it. Entries that the tokenizer has no token for, with which
    many models fill up their matrices, are tokens called `<unused 32001>` without bytes: what the model says of them is left
    as it is. Raises `ModelError`, in which `shown` is the file, for a tokenizer with more tokens than the model has entries.
    """
    tokenizer, whole = parsed(raw, shown)
    if whole["model"].get("dropout"):
        raise ModelError(f"{shown} is a BPE tokenizer with dropout, whose ids are random", fix="save it with dropout None")
    written = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    if max(written, default=-1) >= size or not written:
        raise ModelError(
            f"{shown} has {len(written)} tokens with ids up to {max(written, default=-1)}, the model has {size} rows",
            fix="make both one size, in transformers: model.resize_token_embeddings(len(tokenizer))",
        )
    if size > 2 * max(written) + 2**16:
        raise ModelError(f"{shown} has {len(written)} tokens and the model has {size} rows", fix="the tokenizer that belongs to the model")
    todo = steps(whole.get("decoder"), shown)
    added = tokenizer.get_added_tokens_decoder()
    names = {i: token.content for i, token in added.items() if token.special or i == start or i in ends}
    names |= {i: unused(i) for i in range(size) if i not in written}
    unknown = whole["model"].get("unk_token"), whole["model"].get("unk_id")
    names |= {i: token for i, token in written.items() if token == unknown[0] or i == unknown[1]}

    def text(i: int) -> bytes:
        token: str | bytes = written.get(i, "")
        if i in names:
            return b""
        if i in added and any(kind == "ByteLevel" for kind, _ in todo):
            return added[i].content.encode()
        try:
            for _, step in todo:
                token = step(token)
        except UnicodeEncodeError:
            raise ModelError(f"token {i} of {shown}, {print_value(written[i])}, is not written in byte-level letters", fix=KINDS) from None
        return token if isinstance(token, bytes) else token.encode()

    tokens = [text(i) for i in range(size)]
    spaceless = without_first_space(whole)
    plain = tokenizer if spaceless == whole else parsed(json.dumps(spaceless).encode(), shown)[0]

    def encode(text: str) -> list[int]:
        ids = plain.encode(text, add_special_tokens=False).ids
        if b"".join(names[i].encode() if i in names else tokens[i] for i in ids) != text.encode():
            raise NeedsTokenizer(f"no tokens of this model have exactly the text {print_value(text[:40])}", fix="other words, or token ids: [3, 17, 4]")
        return ids

    return Vocabulary(
        tokens,
        names=names,
        start=start,
        ends=ends,
        encode=encode,
        encode_prompt=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    )
