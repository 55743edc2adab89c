"""tokenizer.json to a vocabulary: the exact bytes of every token of a byte-level BPE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from ..core.errors import ModelError
from ..core.values import print_value
from ..core.vocabulary import Vocabulary

BYTE_LEVEL = "use a checkpoint with a byte-level BPE tokenizer"


def byte_letters() -> dict[int, str]:
    """How byte-level BPE writes the 256 bytes, letter to byte (as a character), for `str.translate`.

    Radford et al. 2019 (GPT-2): a byte that is a visible Latin-1 character stands for itself, the others take the code
    points from 256 on, in order. Those others are no letters themselves, so they become a character that is no byte.
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {256 + i: chr(byte) for i, byte in enumerate(hidden)} | {byte: "\uffff" for byte in hidden}


def decoders(description: Any) -> set[str]:
    """The kinds of decoder in the `decoder` of a tokenizer.json, sequences opened."""
    if not description:
        return set()
    if description["type"] == "Sequence":
        return {kind for each in description["decoders"] for kind in decoders(each)}
    return {description["type"]}


def other_kind(description: dict[str, Any]) -> str | None:
    """What keeps the tokenizer of a tokenizer.json from being a byte-level BPE, in words; None if it is one."""
    model, found = description["model"], decoders(description.get("decoder"))
    if model.get("byte_fallback") or found & {"ByteFallback", "Metaspace"}:
        return "a SentencePiece tokenizer"
    if model.get("type", "BPE") != "BPE":
        return f"a {model['type']} tokenizer"
    if found != {"ByteLevel"}:
        return f"a BPE tokenizer with the decoder {' + '.join(sorted(found)) or 'none'}"
    return "a BPE tokenizer with dropout, whose ids are random" if model.get("dropout") else None


def read_vocabulary(raw: bytes, shown: str, *, size: int, start: int | None, ends: Sequence[int]) -> Vocabulary:
    """The vocabulary of a tokenizer.json, which must have exactly the ids 0 to `size` - 1.

    Special tokens have a name and no bytes; other added tokens have the bytes of their text. A special token's name
    inside a text is read as that token, as `transformers` reads it. Raises `ModelError`, in which `shown` is the file.
    """
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the library raises no narrower one
        raise ModelError(f"{shown} is not a tokenizer: {print_value(str(error).splitlines()[0])}", fix="save it again with save_pretrained") from None
    if (found := other_kind(json.loads(raw))) is not None:
        raise ModelError(f"{shown} is {found}; this version of ulam reads byte-level BPE only", fix=BYTE_LEVEL)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    written = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    if len(written) != size or max(written) != size - 1:
        raise ModelError(
            f"{shown} has {len(written)} tokens with ids up to {max(written, default=-1)}, the model has {size} rows",
            fix="make both one size, in transformers: model.resize_token_embeddings(len(tokenizer))",
        )
    added = tokenizer.get_added_tokens_decoder()
    names = {i: token.content for i, token in added.items() if token.special or i == start or i in ends}
    letters = byte_letters()

    def text(i: int) -> bytes:
        if i in added:
            return b"" if i in names else added[i].content.encode()
        try:
            return written[i].translate(letters).encode("latin-1")
        except UnicodeEncodeError:
            raise ModelError(f"token {i} of {shown}, {print_value(written[i])}, is not written in byte-level letters", fix=BYTE_LEVEL) from None

    tokens = [text(i) for i in range(size)]
    return Vocabulary(tokens, names=names, start=start, ends=ends, encode=lambda text: tokenizer.encode(text, add_special_tokens=False).ids)
