"""Signs of life: only on a terminal, only after a second, and gone before the text begins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count

import pytest

from ulam.apps.cli import progress

from .conftest import Stream, Ulam


class Clock:
    """Time that passes by steps when it is asked for."""

    def __init__(self, step: float):
        self.times = count(0.0, step)

    def perf_counter(self) -> float:
        return next(self.times)


def drawn(monkeypatch: pytest.MonkeyPatch, *, step: float, terminal: bool = True, wanted: bool = True, beside_text: bool = False) -> str:
    errors = Stream(terminal)
    errors.reconfigure(encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(progress, "time", Clock(step))
    line = progress.Progress(4, wanted=wanted, beside_text=beside_text)
    for _ in range(20):
        line.count(tokens=1)
    line.count(samples=1)
    before = errors.written()
    line.count(tokens=1)
    if beside_text:
        assert errors.written() == before
    line.stop()
    return errors.written().decode()


def test_it_counts_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(monkeypatch, step=0.1)
    assert "of 4 samples" in shown
    assert "tok/s" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor comes back


def test_it_makes_room_for_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tokens" in drawn(monkeypatch, step=0.1, beside_text=True)


@pytest.mark.parametrize("more", [{"step": 0.01}, {"step": 1, "terminal": False}, {"step": 1, "wanted": False}])
def test_otherwise_it_is_silent(monkeypatch: pytest.MonkeyPatch, more: dict[str, float]) -> None:
    assert drawn(monkeypatch, **more) == ""  # type: ignore[arg-type]


class Impatient:
    """A timer for which a second is over at once."""

    def __init__(self, seconds: float, tell: Callable[[], None]):
        assert seconds == 1
        self.tell = tell

    def start(self) -> None:
        self.tell()

    def cancel(self) -> None:
        self.tell = lambda: pytest.fail("told after it was cancelled")


def test_a_model_that_takes_long_to_load_is_named(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.threading, "Timer", Impatient)
    assert ulam("abc", "-m", "abc").stderr.startswith("loading abc ...\n── abc")
    assert ulam("abc", "-m", "abc", "-q").stderr == ""
