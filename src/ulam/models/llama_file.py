"""A GGUF file opened by llama.cpp, quietly, and its vocabulary.

A token's bytes are what llama.cpp writes for it in the middle of a text. Special tokens (control tokens, the unknown token,
start and ends) have their name and no bytes. Ends are all tokens at which llama.cpp ends a text. The start token is there
if the file says that texts begin with it.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from pathlib import Path

from ..core.errors import ModelError, NeedsTokenizer
from ..core.values import print_value
from ..core.vocabulary import Vocabulary
from .gguf_file import Header
from .llama_api import api, heard
from .notes import unused

SPACE = "tokenizer.ggml.add_space_prefix"
SENTENCEPIECE = (api.LLAMA_VOCAB_TYPE_SPM, api.LLAMA_VOCAB_TYPE_UGM)  # kinds of tokenizer that may put a space before a text


class OpenFile:
    """A model of llama.cpp, or its vocabulary alone; its memory is given back with the object.

    path     a file whose header was checked
    shown    how errors call it
    spaced   False: its tokenizer puts no space before a text; it is opened for its vocabulary alone

    Raises `ModelError` for what llama.cpp cannot open.
    """

    def __init__(self, path: Path, shown: str, spaced: bool = True):
        given = api.llama_model_default_params()
        if not spaced:
            given.vocab_only = True
            overrides = (api.llama_model_kv_override * 2)()
            overrides[0].tag, overrides[0].key = api.LLAMA_KV_OVERRIDE_TYPE_BOOL, SPACE.encode()
            overrides[0].value.val_bool = False
            given.kv_overrides = overrides
        heard.clear()
        self.model = api.llama_model_load_from_file(str(path).encode(), given)
        if self.model is None:
            said = heard[0].replace(str(path), shown) if heard else "no reason given"
            raise ModelError(f"llama.cpp cannot open {shown}: {print_value(said[:200])}", fix="a newer llama-cpp-python, or convert the model again")
        weakref.finalize(self, api.llama_model_free, self.model)
        self.vocab = api.llama_model_get_vocab(self.model)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, special tokens by their names, without start or end token."""
        raw = text.encode()
        room = len(raw) + 16
        ids = (api.llama_token * room)()
        count = api.llama_tokenize(self.vocab, raw, len(raw), ids, room, False, True)
        if count < 0:
            raise NeedsTokenizer(f"llama.cpp makes no tokens of the text {print_value(text[:40])}", fix="other words, or token ids: [3, 17, 4]")
        return list(ids[:count])

    def piece(self, token: int) -> bytes:
        """The bytes of a token in the middle of a text; special tokens have none."""
        room = 64
        while True:
            out = ctypes.create_string_buffer(room)
            count = api.llama_token_to_piece(self.vocab, token, out, room, 0, False)
            if count >= 0:
                return out.raw[:count]
            room = -count


def read_vocabulary(file: OpenFile, header: Header, path: Path, shown: str) -> Vocabulary:
    """The vocabulary of an opened file. Raises `ModelError` for one without an end token, or with a start or end token that it does not have."""
    vocab, size = file.vocab, api.llama_vocab_n_tokens(file.vocab)
    start = api.llama_vocab_bos(vocab) if api.llama_vocab_get_add_bos(vocab) else None
    for name, what in (("eos", "no end token, so no text would end"), *([("bos", "no start token, with which its texts begin")] if start is not None else [])):
        key = f"tokenizer.ggml.{name}_token_id"  # without it llama.cpp takes an id of its own
        fix = f'name it in a copy, with the package gguf: gguf-new-metadata --special-token {name} "</s>" {shown} new.gguf'
        if key not in header.settings:
            raise ModelError(f"{shown} names {what} ({key})", fix=fix)
        if type(i := header.settings[key]) is not int or not 0 <= i < size:
            raise ModelError(f"{shown}: {key} is {print_value(i)}, which is no token id from 0 to {size - 1}", fix=fix)
    ends = [i for i in range(size) if api.llama_vocab_is_eog(vocab, i)]
    special = {*ends, *([] if start is None else [start])}
    tokens = [b"" if i in special else file.piece(i) for i in range(size)]
    names = {i: (api.llama_vocab_get_text(vocab, i) or b"").decode("utf-8", "replace") or unused(i) for i, raw in enumerate(tokens) if not raw}
    spaced = api.llama_vocab_type(vocab) in SENTENCEPIECE and header.settings.get(SPACE, True) is not False
    plain = OpenFile(path, shown, spaced=False) if spaced else file
    return Vocabulary(tokens, names=names, start=start, ends=ends, encode=exactly(plain.encode, tokens, names), encode_prompt=file.encode)


def exactly(encode: Callable[[str], list[int]], tokens: list[bytes], names: dict[int, str]) -> Callable[[str], list[int]]:
    """`encode`, or `NeedsTokenizer` where the bytes of its ids are not the text."""

    def checked(text: str) -> list[int]:
        ids = encode(text)
        if b"".join(names[i].encode() if i in names else tokens[i] for i in ids) != text.encode():
            raise NeedsTokenizer(f"no tokens of this model have exactly the text {print_value(text[:40])}", fix="other words, or token ids: [3, 17, 4]")
        return ids

    return checked
