"""Ctrl-C, and a reader that goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from .conftest import Broken, Stream, Ulam


class Interrupted(Broken):
    """Every letter is an a; at its k-th step somebody presses Ctrl-C, once or more often."""

    def __init__(self, step: int, times: int = 1):
        super().__init__((1, 0, 0))
        self.left, self.times = step, times

    def step(self, state, tokens):  # type: ignore[no-untyped-def]
        self.left -= 1
        if self.left == 0:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return super().step(state, tokens)


@pytest.fixture(autouse=True)
def handler_comes_back() -> Iterator[None]:
    """Ctrl-C as Python has it, wherever the tests run; it is as before afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_once_finishes_the_step_and_keeps_the_text(ulam: Ulam, models: Callable[..., None], more: list[str]) -> None:
    models(slow=Interrupted(step=4))
    result = ulam("a", "-m", "slow", "--max-tokens", "100", *more)
    assert result.code == 130
    assert result.out == "aaaaa\n"
    assert result.receipt.startswith("── broken · 5 tokens")
    assert result.receipt.endswith("· cancelled")
    assert len(result.stderr.splitlines()) == 1


def test_once_keeps_every_sample(ulam: Ulam, models: Callable[..., None]) -> None:
    models(slow=Interrupted(step=2))
    result = ulam("a", "-m", "slow", "-n", "3", "--max-tokens", "100")
    assert result.code == 130
    assert result.out == "aaa\n---\naaa\n---\naaa\n"
    assert result.receipt.endswith("· cancelled")


def test_once_keeps_the_json(ulam: Ulam, models: Callable[..., None]) -> None:
    models(slow=Interrupted(step=2))
    result = ulam("a", "-m", "slow", "--json")
    assert result.code == 130
    (sample,) = json.loads(result.out)["samples"]
    assert sample["finish_reason"] == "cancelled"
    assert sample["text"] == "aaa"
    models(slow=Interrupted(step=2))
    last = json.loads(ulam("a", "-m", "slow", "--jsonl").out.splitlines()[-1])
    assert (last["event"], last["code"]) == ("end", 130)


def test_once_keeps_a_file(ulam: Ulam, models: Callable[..., None], tmp_path) -> None:  # type: ignore[no-untyped-def]
    models(slow=Interrupted(step=2))
    assert ulam("a", "-m", "slow", "-o", str(tmp_path / "x.txt")).code == 130
    assert (tmp_path / "x.txt").read_text() == "aaa\n"


def test_twice_leaves_at_once(ulam: Ulam, models: Callable[..., None], tmp_path) -> None:  # type: ignore[no-untyped-def]
    models(slow=Interrupted(step=4, times=2))
    result = ulam("a", "-m", "slow", "--max-tokens", "100", "--stream")
    assert result.code == 130
    assert result.out == "aaaa\n"
    assert result.stderr == "── interrupted\n"
    models(slow=Interrupted(step=4, times=2))
    assert ulam("a", "-m", "slow", "-o", str(tmp_path / "x.txt")).code == 130
    assert not [*tmp_path.iterdir()]


def test_while_the_model_loads(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulam.apps.cli.sample.load", lambda spec: signal.raise_signal(signal.SIGINT))
    result = ulam("a")
    assert result.code == 130
    assert result.stdout == b""
    assert result.stderr == "── interrupted\n"


class Closed(Stream):
    """A reader that has gone after some writes."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def write(self, text: str) -> int:
        self.after -= 1
        if self.after < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize(
    "words", [["a", "-m", "abc"], ["a", "-m", "abc", "--stream"], ["a", "-m", "abc", "--json"], ["a", "-m", "abc", "--jsonl"], ["methods"], ["--help"]]
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_closed_output_ends_quietly(ulam: Ulam, words: list[str], after: int) -> None:
    result = ulam(*words, stdout=Closed(after))
    assert result.code == 141 if after == 0 else result.code in (0, 141)
    assert "error" not in result.stderr


def real(max_tokens: int) -> subprocess.Popen[bytes]:
    """A process that draws, whose text is read as it comes."""
    command = [sys.executable, "-m", "ulam", "abc", "-m", "abc", "--stream", "--max-tokens", str(max_tokens)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)


def test_a_real_reader_that_leaves() -> None:
    with real(max_tokens=100_000) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) in (b"a", b"b", b"c")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_real_interrupt() -> None:
    with real(max_tokens=100_000) as process:
        assert process.stdout is not None
        start = process.stdout.read(1)  # it is drawing
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert set((start + rest).decode()) <= {*"abc\n"}
    assert rest.endswith(b"\n")
    assert errors.decode().endswith("· cancelled\n")


def test_output_that_was_never_open() -> None:
    done = subprocess.run(f'"{sys.executable}" -m ulam abc -m abc >&-', shell=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 141
    assert done.stderr == b""
