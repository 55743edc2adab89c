"""Signs of life on standard error, for work that has lasted a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...render.receipt import counted, number
from ...render.terminal import is_terminal


class Progress:
    """Counts tokens and samples in one line of a terminal.

    wanted       False if the text itself shows that there is progress, or nobody wants to hear
    beside_text  whether the text goes to the same terminal: the line goes away when it begins
    """

    def __init__(self, n: int, *, wanted: bool, beside_text: bool):
        self.n, self.wanted, self.beside_text = n, wanted and is_terminal(sys.stderr), beside_text
        self.tokens = self.samples = 0
        self.started = time.perf_counter()
        self.line: Any = None

    def count(self, tokens: int = 0, samples: int = 0) -> None:
        self.tokens, self.samples = self.tokens + tokens, self.samples + samples
        seconds = time.perf_counter() - self.started
        if self.samples and self.beside_text:
            self.stop()
        if not self.wanted or seconds < 1:
            return
        if self.line is None:
            from rich.console import Console  # most runs are over before this is needed

            self.line = Console(stderr=True, highlight=False).status("", spinner_style="none")
            self.line.start()
        done = f"{self.samples} of {counted(self.n, 'sample')} · " if self.n > 1 else ""
        self.line.update(f"{done}{counted(self.tokens, 'token')} · {number(self.tokens / seconds)} tok/s")

    def stop(self) -> None:
        """Take the line away, for good."""
        self.wanted = False
        if self.line is not None:
            self.line.stop()
            self.line = None


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
