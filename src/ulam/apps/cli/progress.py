"""Signs of life on standard error, for work that has lasted a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...render.numbers import probability
from ...render.receipt import counted, number
from ...render.terminal import is_terminal


class Line:
    """One line of a terminal that says how far the work is; `stop` takes it away."""

    def __init__(self, wanted: bool):
        self.wanted = wanted and is_terminal(sys.stderr)
        self.started = time.perf_counter()
        self.line: Any = None

    def show(self, tell: Callable[[float], str]) -> None:
        """`tell` says how far it is, given the seconds since the start."""
        seconds = time.perf_counter() - self.started
        if not self.wanted or seconds < 1:
            return
        if self.line is None:
            from rich.console import Console  # most work is over before this is needed

            self.line = Console(stderr=True, highlight=False).status("", spinner_style="none")
            self.line.start()
        self.line.update(tell(seconds))

    def stop(self) -> None:
        """Take the line away, for good."""
        self.wanted = False
        if self.line is not None:
            self.line.stop()
            self.line = None


class Progress(Line):
    """Counts tokens and samples.

    wanted       False if the text itself shows that there is progress, or nobody wants to hear
    beside_text  whether the text goes to the same terminal: the line goes away when it begins
    """

    def __init__(self, n: int, *, wanted: bool, beside_text: bool):
        super().__init__(wanted)
        self.n, self.beside_text = n, beside_text
        self.tokens = self.samples = 0

    def count(self, tokens: int = 0, samples: int = 0) -> None:
        self.tokens, self.samples = self.tokens + tokens, self.samples + samples
        if self.samples and self.beside_text:
            self.stop()
        self.show(self.told)

    def told(self, seconds: float) -> str:
        done = f"{self.samples} of {counted(self.n, 'sample')} · " if self.n > 1 else ""
        return f"{done}{counted(self.tokens, 'token')} · {number(self.tokens / seconds)} tok/s"


class Paths(Line):
    """Counts the paths of one law after another, in the order of their names."""

    def __init__(self, *names: str, wanted: bool):
        super().__init__(wanted)
        self.names = iter(names)
        self.name, self.paths, self.mass = "", 0, 0.0

    def watch(self, paths: int, mass: float) -> None:
        if paths <= self.paths or not self.name:
            self.name = next(self.names)
        self.paths, self.mass = paths, mass
        self.show(lambda seconds: f"law{self.told()}")

    def told(self) -> str:
        return f" · {self.name} · {counted(self.paths, 'path')}, {probability(self.mass)} of the probability" if self.name else ""


@contextmanager
def after_a_second(tell: Callable[[], None]) -> Iterator[None]:
    """`tell` is called if the block lasts a second."""
    timer = threading.Timer(1, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
