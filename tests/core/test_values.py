"""The value grammar: printing and parsing are inverse, and what cannot be read is named with its place."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import RecipeError
from ulam.core.values import Reader, Word, print_number, print_value

numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_\-]{0,8}", fullmatch=True).filter(lambda w: w not in ("true", "false") and not w.startswith("inf")).map(Word)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = numbers | st.booleans() | words | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 10**6) | texts | words, inner, max_size=4), max_leaves=12
)


def same(a: Any, b: Any) -> bool:
    """Equal in value, a bool apart from a number and a word apart from a text; 1 and 1.0 are printed alike and are the same number."""
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and same(list(a.items()), list(b.items()))
    if isinstance(a, (int, float)) and not isinstance(a, bool):
        return isinstance(b, (int, float)) and not isinstance(b, bool) and a == b
    return type(a) is type(b) and a == b


@given(values)
def test_printing_and_parsing_are_inverse(value: Any) -> None:
    reader = Reader(print_value(value))
    assert same(reader.value(), value)
    reader.blanks()
    assert reader.at == len(reader.text)


@given(values)
def test_printing_is_stable(value: Any) -> None:
    once = print_value(value)
    assert print_value(Reader(once).value()) == once


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_bit(x: float) -> None:
    text = print_number(x)
    assert float(text) == x
    assert len(text) <= len(repr(x))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8, "0.8"),
        (1.0, "1"),
        (1e-3, "0.001"),
        (1e-7, "1e-7"),
        (1e22, "1e22"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (True, "true"),
        (Word("generated"), "generated"),
        ("generated", '"generated"'),
        ('say "a"\n', '"say \\"a\\"\\n"'),
        ([1, 2.5, Word("end")], "[1, 2.5, end]"),
        ((), "[]"),
        ({50256: -5, " cat": 2.5}, '{50256: -5, " cat": 2.5}'),
    ],
)
def test_printed_forms(value: Any, text: str) -> None:
    assert print_value(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("  .5", 0.5),
        ("5.", 5.0),
        ("+3", 3),
        ("-2e3", -2000.0),
        ("infinite", Word("infinite")),
        ("top-p", Word("top-p")),
        ('"\\u00e9"', "\u00e9"),
        ("[ ]", []),
        ("[1,[2 , 3]]", [1, [2, 3]]),
        ("{ }", {}),
        ("false", False),
    ],
)
def test_read_forms(text: str, value: Any) -> None:
    assert same(Reader(text).value(), value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "character 1: expected a value, found the end"),
        ("[1, ", "character 5: expected a value, found the end"),
        ("[1 2]", 'character 4: expected ",", found "2]"'),
        ("{1 2}", 'character 4: expected ":", found "2}"'),
        ("{1: 2, 1: 3}", "every key of the map once"),
        ("{true: 2}", "as the key"),
        ('{["a"]: 2}', "as the key"),
        ('"open', "expected a value"),
        ('"\\x"', "a string with JSON escapes"),
        ("?", 'found "?"'),
    ],
)
def test_what_cannot_be_read(text: str, place: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Reader(text).value()
    assert place in str(caught.value)
    assert str(caught.value).splitlines()[-1].strip() == "^"


def test_a_word_is_not_the_text_of_its_name() -> None:
    assert Word("end") != "end"
    assert len({Word("end"), "end"}) == 2
