"""Bytes to text as they come, and where a stop string cuts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ulam.decode.text import TextStream

from .checks import check_characters, check_stops, check_stops_in_the_loop, cut, told

LETTERS = st.sampled_from(["a", "b", "é", "€", "🙂", "\n", "\ufffd"])
BYTES = st.lists(LETTERS.map(str.encode) | st.binary(min_size=1, max_size=2), max_size=8).map(b"".join)
WORDS = st.lists(st.lists(LETTERS, min_size=1, max_size=4).map("".join), max_size=3)


@st.composite
def pieces(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    marks = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=6)))
    return [raw[a:b] for a, b in zip((0, *marks), (*marks, len(raw)), strict=True)]


def test_every_cut_of_whole_and_broken_characters() -> None:
    check_characters()


@given(st.data(), st.binary(max_size=20) | BYTES)
def test_any_bytes_in_any_pieces(data: st.DataObject, raw: bytes) -> None:
    assert told(data.draw(pieces(raw))) == (raw.decode("utf-8", "replace"), None)


def test_stop_strings_do_not_see_the_borders_of_tokens() -> None:
    check_stops()


def test_stop_strings_in_the_loop() -> None:
    check_stops_in_the_loop()


@given(st.data(), BYTES, WORDS)
def test_any_stop_strings_in_any_pieces(data: st.DataObject, raw: bytes, words: list[str]) -> None:
    assert told(data.draw(pieces(raw)), words) == cut(raw.decode("utf-8", "replace"), words)


@given(st.data(), BYTES, WORDS)
def test_what_was_said_stands_and_nothing_certain_waits(data: st.DataObject, raw: bytes, words: list[str]) -> None:
    """After each piece: the text so far, without its longest end that may still become a stop string."""
    stream, said, fed = TextStream(words), "", b""
    whole, _ = cut(raw.decode("utf-8", "replace"), words)
    for piece in data.draw(pieces(raw)):
        fed += piece
        said += stream.feed(piece)
        assert whole.startswith(said)
        if stream.stopped_by is None:
            certain = TextStream().feed(fed)
            waiting = max((n for n in range(len(certain) + 1) if any(len(w) > n and w.startswith(certain[len(certain) - n :]) for w in words)), default=0)
            assert said == certain[: len(certain) - waiting]
        else:
            assert said == whole


def test_a_character_waits_for_its_rest() -> None:
    stream = TextStream()
    assert [stream.feed(bytes([byte])) for byte in "é🙂".encode()] == ["", "é", "", "", "", "🙂"]
    assert stream.finish() == ""
    assert [stream.feed(b"\xf0\x9f"), stream.finish()] == ["", "\ufffd"]


def test_text_that_may_become_a_stop_string_waits() -> None:
    stream = TextStream(["\n\nUser:"])
    assert [stream.feed(piece) for piece in (b"Hi\n", b"\n", b"Us", b"ed")] == ["Hi", "", "", "\n\nUsed"]
    assert [stream.feed(piece) for piece in (b"\n\nUse", b"r: x")] == ["", ""]
    assert stream.stopped_by == "\n\nUser:"
    assert stream.feed(b"more") == ""
    assert stream.finish() == ""


def test_the_stop_string_that_is_complete_first_cuts() -> None:
    assert told([b"xabc"], ["abc", "b"]) == ("xa", "b")
    assert told([b"xab"], ["b", "ab"]) == ("x", "ab")  # complete together: the longer one
    assert told([b"aabab"], ["ab"]) == ("a", "ab")


def test_a_stop_string_made_of_a_broken_character() -> None:
    assert told([b"a\xe2\x82"], ["\ufffd"]) == ("a", "\ufffd")
    assert told([b"a\xe2", b"b"], ["\ufffdb"]) == ("a", "\ufffdb")
