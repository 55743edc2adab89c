"""tokenizer.json to exact bytes, byte-level BPE; what has no bytes of one token is refused by name. Other kinds: `test_tokenizer_kinds.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.tiny import END, SIZE, tiny_tokenizer
from ulam.core.errors import ModelError
from ulam.core.values import Word
from ulam.core.vocabulary import Vocabulary
from ulam.models.builtin import Llama
from ulam.models.tokenizer import byte_letters, read_vocabulary


def read(tokenizer: Tokenizer, size: int | None = None, **more: Any) -> Vocabulary:
    known = {"start": 0, "ends": (0,)} | more
    return read_vocabulary(tokenizer.to_str().encode(), "t/tokenizer.json", size=size or tokenizer.get_vocab_size(), **known)


def test_the_letters_are_those_of_the_library() -> None:
    """Every byte of UTF-8 text, through the library's own pre-tokenizer and back."""
    letters = byte_letters()
    for point in (*range(0x20), *range(0x7F, 0x800), 0x800, 0xFFFF, 0x10000, 0x10FFFF):
        raw = chr(point).encode()
        written = "".join(piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(chr(point)))
        assert written.translate(letters).encode("latin-1") == raw
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert sorted("".join(alphabet).translate(letters).encode("latin-1")) == list(range(256))


def test_letters_outside_the_alphabet_are_no_bytes() -> None:
    for letter in (" ", "\n", "\x7f", "\xa0", "\xad", "日"):
        with pytest.raises(UnicodeEncodeError):
            letter.translate(byte_letters()).encode("latin-1")


def test_tokens_names_start_and_end(tiny: Llama) -> None:
    vocabulary = tiny.vocabulary
    assert vocabulary.names == {0: END}
    assert vocabulary.tokens[0] == b""
    assert all(vocabulary.tokens[1:])
    assert {bytes([byte]) for byte in range(256)} <= set(vocabulary.tokens)
    assert vocabulary.resolve(END) == vocabulary.resolve(Word("end")) == vocabulary.resolve(Word("bos")) == 0
    assert vocabulary.show(vocabulary.resolve(" the")) == "␣the"


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_text_comes_back(text: str) -> None:
    vocabulary = VOCABULARY
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert b"".join(vocabulary.tokens[i] for i in ids) == text.encode()


VOCABULARY = read(tiny_tokenizer())


def test_added_tokens() -> None:
    """A special one has a name and no text; another has its text, and is matched in texts, as in transformers."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens(["<|pad|>"])
    tokenizer.add_tokens([AddedToken("naïve fox", normalized=False)])
    vocabulary = read(tokenizer)
    assert vocabulary.names == {0: END, SIZE: "<|pad|>"}
    assert vocabulary.tokens[SIZE] == b""
    assert vocabulary.tokens[SIZE + 1] == "naïve fox".encode()
    assert SIZE + 1 in vocabulary.encode("a naïve fox")
    assert vocabulary.decode(vocabulary.encode("a naïve fox")) == "a naïve fox"
    assert read(tokenizer, ends=(0, SIZE + 1)).names[SIZE + 1] == "naïve fox"


def test_truncation_and_padding_are_not_obeyed() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    assert read(tokenizer).encode("The cat sat on the mat") == VOCABULARY.encode("The cat sat on the mat")


def test_a_size_that_differs_is_refused() -> None:
    for size, words in (
        (SIZE - 1, "has 320 tokens with ids up to 319, the model has 319 rows"),
        (10**12, "has 320 tokens and the model has 1000000000000 rows"),
    ):
        with pytest.raises(ModelError, match=words):
            read(tiny_tokenizer(), size)


def test_rows_without_a_token_are_tokens_without_text() -> None:
    vocabulary = read(tiny_tokenizer(), SIZE + 2)
    assert len(vocabulary) == SIZE + 2
    assert vocabulary.tokens[SIZE:] == (b"", b"")
    assert vocabulary.show(SIZE + 1) == f"<unused {SIZE + 1}>"
    assert vocabulary.encode("The cat") == VOCABULARY.encode("The cat")


def dropout() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a": 0}, [], dropout=0.5))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def two_letters() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.decoder = decoders.Replace("ab", " ")
    return tokenizer


def ctc() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.decoder = decoders.CTC()
    return tokenizer


def as_a_whole() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("a", "b")])
    return tokenizer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (dropout, "is a BPE tokenizer with dropout, whose ids are random"),
        (two_letters, 'has a decoder, "Replace", from which the bytes of a token cannot be told'),
        (ctc, 'has a decoder, "CTC", from which the bytes of a token cannot be told'),
        (as_a_whole, r"has a decoder that changes a text as a whole: Fuse \+ Replace"),
    ],
)
def test_what_has_no_bytes_of_one_token_is_refused_by_name(make: Callable[[], Tokenizer], words: str) -> None:
    with pytest.raises(ModelError, match=f"t/tokenizer.json {words}"):
        read(make())


def test_a_token_that_is_not_in_byte_letters_is_named() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "b c": 1}, []))
    tokenizer.decoder = decoders.ByteLevel()
    with pytest.raises(ModelError, match=r'token 1 of t/tokenizer\.json, "b c", is not written in byte-level letters'):
        read(tokenizer)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"model": {"type": "BPE"}}', json.dumps({"version": "\x1b[31m9"}).encode()])
def test_what_is_no_tokenizer_is_refused(raw: bytes) -> None:
    with pytest.raises(ModelError, match=r"t/tokenizer\.json is not a tokenizer: ") as error:
        read_vocabulary(raw, "t/tokenizer.json", size=SIZE, start=0, ends=(0,))
    assert error.value.what.isprintable()
