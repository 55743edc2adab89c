"""A vocabulary: bytes to text, tokens by id, by text and by word."""

from __future__ import annotations

from typing import Any

import pytest

from ulam.core.errors import NeedsTokenizer, TokenOutOfRange
from ulam.core.values import Word
from ulam.core.vocabulary import Vocabulary


def encode(text: str) -> list[int]:
    return {"b": [1], " cat": [2]}.get(text, [0] * len(text))


WORDS = Vocabulary([b"a", b"b", b" cat", b"\xc3", b"\xa9", b"", b"\n\t"], names={5: "<end>"}, start=5, ends=[5], encode=encode)


def test_bytes_become_text_only_together() -> None:
    assert WORDS.decode([0, 2, 3, 4]) == "a cat\u00e9"
    assert WORDS.decode([3]) == "\ufffd"
    assert WORDS.decode([0, 5, 1]) == "ab"  # a special token has no text
    assert WORDS.decode([]) == ""


@pytest.mark.parametrize(("token", "shown"), [(2, "␣cat"), (3, "⟨C3⟩"), (5, "<end>"), (6, "⏎⇥"), (0, "a")])
def test_tokens_for_people(token: int, shown: str) -> None:
    assert WORDS.show(token) == shown


@pytest.mark.parametrize(("token", "found"), [(4, 4), (" cat", 2), ("b", 1), ("<end>", 5), (Word("end"), 5), (Word("bos"), 5)])
def test_tokens_are_found_by_id_text_and_word(token: Any, found: int) -> None:
    assert WORDS.resolve(token) == found


def test_a_text_of_several_tokens_is_not_one() -> None:
    with pytest.raises(NeedsTokenizer, match=r"'aa' is 2 tokens here \(\[0, 0\]\), not one"):
        WORDS.resolve("aa")


def test_a_quoted_word_is_a_text() -> None:
    with pytest.raises(NeedsTokenizer, match=r"'end' is 3 tokens"):
        WORDS.resolve("end")


@pytest.mark.parametrize(("ends", "start", "word"), [((), None, "end"), ((0, 1), None, "end"), ((0,), None, "bos"), ((0,), 1, "eos")])
def test_a_word_that_names_no_single_token(ends: tuple[int, ...], start: int | None, word: str) -> None:
    with pytest.raises(NeedsTokenizer, match=f"no single token for the word {word}"):
        Vocabulary([b"a", b"b"], ends=ends, start=start).resolve(Word(word))


@pytest.mark.parametrize("token", [7, -1, 2.0, True, "1", None])
def test_what_is_no_id(token: Any) -> None:
    with pytest.raises(TokenOutOfRange, match="is outside 0 to 6"):
        WORDS.check(token)


def test_special_ids_must_exist() -> None:
    for wrong in ({"ends": [3]}, {"start": 3}, {"names": {3: "<x>"}}):
        with pytest.raises(TokenOutOfRange):
            Vocabulary([b"a"], **wrong)  # type: ignore[arg-type]


def test_a_vocabulary_without_text_says_so() -> None:
    with pytest.raises(NeedsTokenizer, match="no tokenizer"):
        Vocabulary([b"a"]).encode("a")


def test_an_encoder_cannot_invent_ids() -> None:
    with pytest.raises(TokenOutOfRange):
        Vocabulary([b"a"], encode=lambda text: [3]).encode("a")


def test_size_and_ends() -> None:
    assert len(WORDS) == 7
    assert Vocabulary([b"a", b"b", b"c"], ends=[2, 0, 2]).ends == (0, 2)
    assert repr(WORDS) == "Vocabulary(7 tokens, start 5, ends [5])"
