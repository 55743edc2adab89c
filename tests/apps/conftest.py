"""The command line inside this process: what a command writes where, and its exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ulam.apps.cli import sample as sample_module
from ulam.apps.cli.main import main
from ulam.core.vocabulary import Vocabulary
from ulam.models.table import Table, abc


class Stream(io.TextIOWrapper):
    """A stream of this process that a test reads afterwards; a terminal if it says so."""

    def __init__(self, terminal: bool = False, content: bytes = b""):
        super().__init__(io.BytesIO(content), encoding="ascii", newline="\n")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def written(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()  # type: ignore[attr-defined]


@dataclass
class Result:
    code: int
    stdout: bytes
    stderr: str

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def receipt(self) -> str:
        """The last line of standard error."""
        return self.stderr.splitlines()[-1] if self.stderr else ""


Ulam = Callable[..., Result]


@pytest.fixture
def ulam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ulam]:
    """`ulam("Once", "temperature=0.8")`. Standard input is a terminal unless `piped` (a real pipe) or `stdin` is given."""
    monkeypatch.delenv("ULAM_MODEL", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    ends: list[Any] = []

    def command(*words: str, piped: bytes | None = None, stdin: Any = None, terminal: bool = False, stdout: Any = None) -> Result:
        out, err = stdout or Stream(terminal), Stream(terminal)
        given = stdin or Stream(terminal=True)
        if piped is not None:
            read, write = os.pipe()
            with os.fdopen(write, "wb") as end:
                end.write(piped)
            given = os.fdopen(read, encoding="ascii")
            ends.append(given)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", given)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = main(words)
        return Result(code, out.written(), err.written().decode())

    yield command
    for end in ends:
        end.close()


class Broken(Table):
    """`abc` with rows that are NaN once they hold a b."""

    def __init__(self, probs: tuple[float, ...] = (0.5, 0.25, 0.25)) -> None:
        super().__init__({}, abc().vocabulary, otherwise=probs, name="broken")

    def _read(self, prefixes: Sequence[tuple[int, ...]]) -> Any:
        logits = super()._read(prefixes)
        logits[[1 in prefix for prefix in prefixes]] = np.nan
        return logits


class Pieces(Table):
    """Bytes that make whole characters only now and then: parts of the euro sign, an escape, a letter, the end."""

    def __init__(self) -> None:
        tokens = [b"\xe2", b"\x82", b"\xac", b"\x1b[2J", b"a", b"\n", b""]
        vocabulary = Vocabulary(tokens, names={6: "<end>"}, ends=[6], encode=lambda text: [4] * len(text))
        super().__init__({}, vocabulary, otherwise=lambda prefix: (0.25, 0.25, 0.25, 0.0625, 0.0625, 0.0625, 0.0625), name="pieces")


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`models(broken=Broken())`: more names for `-m`."""

    def add(**named: Any) -> None:
        load = sample_module.load
        monkeypatch.setattr(sample_module, "load", lambda spec: named[spec] if spec in named else load(spec))

    return add


def lines(result: Result) -> Sequence[str]:
    return result.out.splitlines()
