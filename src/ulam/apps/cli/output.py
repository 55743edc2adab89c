"""What goes to standard output, or to a file in its place: text, one JSON object, or a JSON object for every event."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

from ...core.errors import UsageError
from ...decode import Run, SampleEvent, TokenEvent
from ...decode.samples import token_entry
from ...render.terminal import is_terminal, visible

Format = Literal["text", "json", "jsonl"]
SUFFIXES: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".txt": "text", "": "text"}


class Writer:
    """Hears of everything in a run and writes what it wants to."""

    def start(self, run: Run) -> None: ...

    def token(self, event: TokenEvent) -> None: ...

    def sample(self, event: SampleEvent) -> None: ...

    def end(self, run: Run, code: int, message: str | None) -> None:
        """The run is over, with this exit code and, if samples failed, what went wrong."""

    def fail(self, code: int, message: str) -> None:
        """The run broke off."""


class TextWriter(Writer):
    """The samples' texts, in order: a sample is written when those before it are, and while it is drawn if it streams.

    On a terminal several samples have a header each. Elsewhere a line `---` stands between them; with `null`, every
    text ends with a NUL instead of a line end.
    """

    def __init__(self, out: TextIO, n: int, *, streams: bool, null: bool):
        self.out, self.n, self.streams, self.null, self.terminal = out, n, streams, null, is_terminal(out)
        self.now = 0
        self.begun = False
        self.waiting: dict[int, str] = {}
        self.complete: set[int] = set()

    def token(self, event: TokenEvent) -> None:
        if self.streams and event.text:
            self.add(event.row, event.text)

    def sample(self, event: SampleEvent) -> None:
        self.complete.add(event.row)
        self.add(event.row, event.text if self.streams else event.sample.text)

    def add(self, row: int, text: str) -> None:
        self.waiting[row] = self.waiting.get(row, "") + text
        while self.now in self.waiting:
            text = self.waiting.pop(self.now)
            self.out.write(self.head() + (visible(text) if self.terminal else text))
            self.begun = True
            if self.now in self.complete:
                self.out.write("\0" if self.null else "\n")
                self.now, self.begun = self.now + 1, False
        self.out.flush()

    def fail(self, code: int, message: str) -> None:
        if self.begun:
            self.out.write("\n")
            self.out.flush()

    def head(self) -> str:
        if self.begun or self.n == 1:
            return ""
        if self.terminal:
            return f"── {self.now + 1}/{self.n} ──\n"
        return "---\n" if self.now and not self.null else ""


class JsonWriter(Writer):
    """The whole run as one object, in the shape `ulam.samples/1`."""

    def __init__(self, out: TextIO, extra: dict[str, Any]):
        self.out, self.extra = out, extra

    def end(self, run: Run, code: int, message: str | None) -> None:
        self.write({**run.samples.to_document(), **self.extra})

    def write(self, value: dict[str, Any]) -> None:
        # on a terminal nothing in a text may act on it; JSON has signs of its own for that
        self.out.write(json.dumps(value, ensure_ascii=is_terminal(self.out), allow_nan=False) + "\n")
        self.out.flush()


class JsonLinesWriter(JsonWriter):
    """An object for every event: `start`, `token`, `sample`, and one last, `end` or `error`."""

    def start(self, run: Run) -> None:
        row, self.vocabulary = run.rows[0], run.model.vocabulary
        head = {key: value for key, value in run.samples.to_document().items() if key not in ("samples", "seconds")}
        prompt = {"text": row.prompt, "tokens": row.prompt_size}
        self.write({"event": "start", **head, "recipe": str(row.recipe), "recipe_id": row.recipe.id, "prompt": prompt, "n": run.n, **self.extra})

    def token(self, event: TokenEvent) -> None:
        entry = {"index": event.row, "position": event.position, "token": token_entry(event.token, self.vocabulary), "text": event.text}
        self.write({"event": "token", **entry, "model_log_prob": event.model_log_prob, "recipe_log_prob": event.recipe_log_prob})

    def sample(self, event: SampleEvent) -> None:
        known = ("steps", "prompt", "recipe", "recipe_id")
        self.write({"event": "sample", **{key: value for key, value in event.sample.to_dict(self.vocabulary).items() if key not in known}})

    def end(self, run: Run, code: int, message: str | None) -> None:
        what = {"event": "end"} if message is None else {"event": "error", "message": message}
        self.write({**what, "code": code, "samples": len(run.finished), "seconds": round(run.seconds, 3)})

    def fail(self, code: int, message: str) -> None:
        self.write({"event": "error", "code": code, "message": message})


def format_of(path: Path | None, json: bool, jsonl: bool) -> Format:
    """The format that was asked for, by a flag or by the suffix of the file. Raises `UsageError` if they disagree."""
    asked = {"json": json, "jsonl": jsonl}
    flags: list[Format] = [name for name in ("json", "jsonl") if asked[name]]
    if len(flags) > 1:
        raise UsageError("--json is one object and --jsonl one for every event; choose one")
    if path is None:
        return flags[0] if flags else "text"
    if path.suffix not in SUFFIXES:
        raise UsageError(f"cannot write {path.suffix}: a result is .json, .jsonl or .txt", fix=f"-o {path.with_suffix('.json')}")
    if flags and flags[0] != SUFFIXES[path.suffix]:
        raise UsageError(f"--{flags[0]} does not go with {path}", fix=f"-o {path.with_suffix('.' + flags[0])}")
    return SUFFIXES[path.suffix]


@contextmanager
def opened(path: Path | None, force: bool) -> Iterator[TextIO]:
    """Standard output, or a file that is there, whole, when the block ends well. Raises `UsageError` for what cannot be written."""
    if path is None:
        yield sys.stdout
        return
    if path.is_dir():
        raise UsageError(f"-o {path} is a directory", fix=f"-o {path / 'out.json'}")
    if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    if path.exists() and not force:
        raise UsageError(f"{path} exists", fix=f"another path, or -o {path} --force")
    path = path.resolve()  # a link stays a link
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        file = part.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or 'not a file').lower()}") from None
    try:
        with file:
            yield file
        os.replace(part, path)
    except BaseException:
        part.unlink()
        raise
