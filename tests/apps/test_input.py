"""The text: an argument, a flag, a file, a pipe, and two of them together."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from .conftest import Result, Stream, Ulam


def prompt_of(result: Result) -> str:
    assert result.code == 0, result.stderr
    return json.loads(result.out)["prompt"]["text"]


@pytest.fixture
def read(ulam: Ulam, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The prompt that a command reads, whatever characters it holds."""
    from ulam.core.vocabulary import Vocabulary
    from ulam.models.table import Table

    letters = Vocabulary([b"a", b"b"], start=0, encode=lambda text: [0] * len(text))
    monkeypatch.setattr("ulam.apps.cli.sample.load", lambda spec: Table({}, letters, otherwise=lambda prefix: (0.5, 0.5)))
    return lambda *words, **more: prompt_of(ulam("--json", "--max-tokens", "1", *words, **more))


def test_an_argument(read) -> None:  # type: ignore[no-untyped-def]
    assert read("Once upon a time") == "Once upon a time"
    assert read("-p", "Once", "temperature=0.8") == "Once"
    assert read("ends with a line\n") == "ends with a line\n"


def test_the_name_of_a_verb_as_a_text(ulam: Ulam, read) -> None:  # type: ignore[no-untyped-def]
    assert read("--", "methods") == "methods"
    assert read("-p", "methods") == "methods"
    assert prompt_of(ulam("sample", "methods", "--json")) == "methods"


@pytest.mark.parametrize("word", ["why", "serve", "compare", "studio", "batch", "help"])
def test_a_verb_of_another_version_is_a_text(ulam: Ulam, read, word: str) -> None:  # type: ignore[no-untyped-def]
    assert prompt_of(ulam(word, "--json")) == word


def test_a_text_that_begins_with_a_dash(read) -> None:  # type: ignore[no-untyped-def]
    assert read("--", "-5 degrees", "greedy") == "-5 degrees"
    assert read("-p", "--what?") == "--what?"


def test_the_empty_text_starts_from_nothing(read) -> None:  # type: ignore[no-untyped-def]
    assert read("") == ""
    assert read("", "greedy") == ""


def test_a_pipe_without_a_text(read) -> None:  # type: ignore[no-untyped-def]
    assert read(piped=b"Once\nupon\n") == "Once\nupon"
    assert read(piped="é€\r\n".encode()) == "é€"
    assert read(piped=b"Once\n\n") == "Once\n"
    assert read("-", piped=b"Once") == "Once"
    assert read("-", "greedy", piped=b"Once") == "Once"
    assert read("-f", "-", piped=b"Once") == "Once"


def test_a_pipe_and_a_text(ulam: Ulam, read) -> None:  # type: ignore[no-untyped-def]
    assert read("In short:", piped=b"A long letter.\n") == "A long letter.\n\nIn short:"
    assert read("-", "-p", "In short:", piped=b"A long letter.\n") == "A long letter.\n\nIn short:"
    assert read("In short:", piped=b"") == "In short:"
    assert "standard input, then the text" in ulam("In short:", piped=b"A letter.").receipt
    assert "standard input" not in ulam("In short:").receipt


def test_standard_input_that_is_no_pipe_is_left_alone_beside_a_text(read) -> None:  # type: ignore[no-untyped-def]
    assert read("Once", stdin=Stream(content=b"not asked for")) == "Once"
    with open(os.devnull, encoding="ascii") as nothing:
        assert read("Once", stdin=nothing) == "Once"


def test_a_file(read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "letter.txt"
    path.write_bytes("Dear diary, é\n".encode())
    assert read("-f", str(path)) == "Dear diary, é"
    assert read("--file", str(path), "temperature=0.8") == "Dear diary, é"
    assert read("-f", str(path), piped=b"not asked for") == "Dear diary, é"
    with path.open(encoding="ascii") as file:
        assert read(stdin=file) == "Dear diary, é"
    with path.open(encoding="ascii") as file:
        assert read("And then", stdin=file) == "Dear diary, é\n\nAnd then"


@pytest.mark.parametrize(
    ("words", "more", "says"),
    [
        (["-q"], {}, "there is no text to continue"),
        ([], {"piped": b""}, "standard input is empty"),
        ([], {"piped": b"\n"}, "standard input is empty"),
        (["-"], {"piped": b""}, "standard input is empty"),
        ([], {"piped": b"Once\xff upon"}, "standard input is not UTF-8: byte 0xff at offset 4"),
        (["-f", "no/such.txt"], {}, "cannot read no/such.txt: no such file or directory"),
        (["-f", "."], {}, "cannot read .: is a directory"),
        (["-f", "x", "-p", "y"], {}, "there are two texts"),
        (["ab\udce9"], {}, "argument 1 is not UTF-8: byte 0xe9 at offset 2"),
        (["ab", "--stop", "\udcff"], {}, "argument 3 is not UTF-8: byte 0xff at offset 0"),
    ],
)
def test_what_cannot_be_read(ulam: Ulam, words: list[str], more: dict[str, bytes], says: str) -> None:
    result = ulam(*words, *(["-m", "abc"] if words[:1] != ["-q"] else []), **more)
    assert result.code == 2
    assert result.stdout == b""
    assert says in result.stderr


def test_a_file_that_is_not_utf8(ulam: Ulam, tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("größer".encode("latin1"))
    result = ulam("-f", str(path), "-m", "abc")
    assert result.code == 2
    assert f"{path} is not UTF-8: byte 0xf6 at offset 2" in result.stderr


def test_the_recipe_is_read_before_the_pipe(ulam: Ulam) -> None:
    """An error in the command does not wait for the text."""
    read, write = os.pipe()
    with os.fdopen(write, "wb"), os.fdopen(read) as never_ends:
        assert ulam("-", "topp=0.9", stdin=never_ends).code == 2


def test_a_reader_who_waits_is_told_why(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("select.select", lambda *streams: ([], [], []))
    assert "waiting for standard input" in ulam("ab", "-m", "abc", piped=b"a").stderr
    assert "waiting" not in ulam("ab", "-m", "abc", "-q", piped=b"a").stderr


def test_closed_standard_input(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulam.apps.cli.reading.sys.stdin", None)
    from ulam.apps.cli.main import main

    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    assert main(["-m", "abc"]) == 2
    assert "standard input is closed" in errors.getvalue()


def test_no_word_on_a_terminal_is_help(ulam: Ulam) -> None:
    result = ulam()
    assert result.code == 0
    assert result.out.startswith("ulam: sample text from a trained language model")
