"""Vocabularies that are written down: ids in order, ends without bytes, the longest token that fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import UsageError
from ulam.models import alphabet, words


def test_an_alphabet() -> None:
    vocabulary = alphabet("xy", end="<end>")
    assert vocabulary.tokens == (b"x", b"y", b"")
    assert (vocabulary.names, vocabulary.ends, vocabulary.start) == ({2: "<end>"}, (2,), None)
    assert vocabulary.encode("yxx") == [1, 0, 0]
    assert alphabet("xy").ends == ()
    assert [vocabulary.show(i) for i in range(3)] == ["x", "y", "<end>"]


def test_the_longest_token_that_fits() -> None:
    vocabulary = words(["a", "ab", "abc", "c", "cd", "$", "é"], ends=[5])
    assert vocabulary.encode("abccd") == [2, 4]
    assert vocabulary.encode("abaé") == [1, 0, 6]
    assert vocabulary.encode("") == []
    assert vocabulary.tokens[6] == "é".encode()


def test_what_no_token_fits_is_named() -> None:
    """`abcd` could be ab + cd; from left to right it is abc and then nothing. The end is not text."""
    vocabulary = words(["ab", "abc", "cd", " ", "$"], ends=[4])
    with pytest.raises(UsageError, match="'d' is not in the alphabet of this model: ab, abc, cd, ␣\n"):
        vocabulary.encode("abcd")
    with pytest.raises(UsageError, match=r"'\$ab' is not in the alphabet"):
        vocabulary.encode("ab $abcd")
    with pytest.raises(UsageError, match=r"'x' is not in the alphabet of this model: .* and 5 more"):
        words([chr(0x4E00 + i) for i in range(25)]).encode("x")
    with pytest.raises(UsageError):
        words(["$"], ends=[0]).encode("$")


def test_tokens_that_are_none() -> None:
    """Of two that are written alike the first could never be meant, and a text of nothing would fit everywhere."""
    for make in (lambda: alphabet("aba"), lambda: alphabet("ab", end="a"), lambda: words(["$", "x", "$"], ends=[0, 2])):
        with pytest.raises(UsageError, match=r'the token "[a$]" is there 2 times'):
            make()
    for make in (lambda: alphabet("ab", end=""), lambda: words(["a", ""]), lambda: alphabet("\ud800")):
        with pytest.raises(UsageError, match="is no token"):
            make()


@given(st.lists(st.text("ab c", min_size=1, max_size=3), min_size=1, max_size=6, unique=True), st.data())
def test_decoding_gives_the_text_back(texts: list[str], data: st.DataObject) -> None:
    vocabulary = words([*texts, *sorted(set("ab c") - set(texts))])
    text = data.draw(st.text("ab c", max_size=12))
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    for at in range(len(ids)):  # no longer token fits anywhere
        rest = vocabulary.decode(ids[at:])
        assert len(vocabulary.tokens[ids[at]]) == max(len(token) for token in vocabulary.tokens if rest.startswith(token.decode()))
