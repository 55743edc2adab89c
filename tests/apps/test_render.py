"""Text, numbers and columns for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.render.columns import columns
from ulam.render.receipt import counted, number, receipt
from ulam.render.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\rb\x08\x07", "a␍b␈␇"),
        ("\x7f\x00", "␡␀"),
        ("\u202eevil\u2066", "⟨U+202E⟩evil⟨U+2066⟩"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("tab\tline\nend", "tab\tline\nend"),
        ("é € 漢 👩\u200d👩", "é € 漢 👩\u200d👩"),
    ],
)
def test_nothing_acts_on_the_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_what_is_shown_holds_no_control_character(text: str) -> None:
    shown = visible(text)
    assert not [c for c in shown if (ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    assert visible(shown) == shown


@given(st.text(), st.text())
def test_pieces_are_shown_like_the_whole(one: str, two: str) -> None:
    assert visible(one) + visible(two) == visible(one + two)


@pytest.mark.parametrize(
    ("x", "text"), [(-58.314, "-58.3"), (0.0, "0"), (-0.0, "0"), (1203.7, "1204"), (99.96, "100"), (0.512, "0.512"), (-142.4, "-142"), (1 / 3, "0.333")]
)
def test_numbers(x: float, text: str) -> None:
    assert number(x) == text


def test_counts() -> None:
    assert [counted(0, "token"), counted(1, "token"), counted(2, "token")] == ["0 tokens", "1 token", "2 tokens"]


def test_the_receipt_breaks_between_parts_only() -> None:
    parts = ["abc", "24 tokens", "temperature=0.8 top_p=0.95", "stopped: length"]
    assert receipt(parts, None) == "── abc · 24 tokens · temperature=0.8 top_p=0.95 · stopped: length"
    assert receipt(parts, 40) == "── abc · 24 tokens\n   temperature=0.8 top_p=0.95\n   stopped: length"
    assert receipt(parts, 50) == "── abc · 24 tokens · temperature=0.8 top_p=0.95\n   stopped: length"


def test_columns() -> None:
    rows = [("a", "12", "one two three four five six seven"), ("long", "3", ""), ("b", "", "x\n  deeper in")]
    assert columns(rows, width=36) == ("  a     12  one two three four five\n            six seven\n  long  3\n  b         x\n              deeper in\n")


def test_an_interval_is_not_broken() -> None:
    assert columns([("p", "a mass of the tokens in [0, 1]")], width=32, indent=0) == "p  a mass of the tokens in\n   [0, 1]\n"
    assert columns([("p", "a mass of the tokens in (-inf, inf) nats")], width=34, indent=0) == "p  a mass of the tokens in\n   (-inf, inf) nats\n"
