"""Runs the commands and the code of a Markdown page, and writes what they print into it.

    python docs/run.py docs/lecture.md            # run, and rewrite the outputs on the page
    python docs/run.py --check README.md          # run, and fail where the page shows something else

Three kinds of fenced blocks are run, from top to bottom:

    console   lines `$ ulam ...`, each followed by what the command prints
    python    lines `>>> ...`, as typed at a fresh prompt, each followed by what it prints; or plain code, which shares its names with
              all other plain code of the page, and what it prints stands in a `text` block after it
"""

from __future__ import annotations

import code
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```\n(?:\n?```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
SPEED = re.compile(r"[\d.]+k?(?= tok/s)")


@dataclass(frozen=True)
class Block:
    """One block of a page: what is run, and what the page says that it prints (None where it says nothing)."""

    kind: str
    body: str
    told: str | None
    line: int

    @property
    def title(self) -> str:
        return f"line {self.line}: {self.body.splitlines()[0][:70]}"


def blocks(page: str) -> list[Block]:
    return [Block(found[1], found[2], found[3], page.count("\n", 0, found.start()) + 1) for found in BLOCK.finditer(page)]


def run(block: Block, names: dict[str, Any]) -> str:
    """The block with the outputs that it has now."""
    if block.kind == "console":
        body = "\n".join(f"$ {line[2:]}\n{printed(line[2:])}" for line in block.body.splitlines() if line.startswith("$ "))
        return f"```console\n{body}```\n"
    if block.body.startswith(">>> "):
        return f"```python\n{typed(block.body.splitlines())}```\n"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile("\n" * block.line + block.body, "the page", "exec"), names)  # so that a traceback has the line of the page
    return f"```python\n{block.body}```\n" + (f"\n```text\n{said.getvalue()}```\n" if said.getvalue() else "")


def printed(command: str) -> str:
    """What a shell command of the page prints, both streams in order."""
    words = shlex.split(command)
    assert words[0] == "ulam", command
    plain = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
    words[:1] = [sys.executable, "-m", "ulam"]
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=plain, text=True, timeout=120, cwd=ROOT
    ).stdout


def typed(lines: list[str]) -> str:
    """Lines typed at the Python prompt, each with what it prints."""
    console, out = code.InteractiveConsole(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        for line in (line[4:] for line in lines if line.startswith(">>> ")):
            out.write(f">>> {line}\n")
            console.push(line)
            if line.startswith("for "):
                console.push("")
                out.write("\n")
    return out.getvalue()


def steady(text: str) -> str:
    """Without the one number that no two runs share."""
    return SPEED.sub("N", text)


def shown(block: Block) -> str:
    """The block as it stands on the page."""
    return f"```{block.kind}\n{block.body}```\n" + (f"\n```text\n{block.told}```\n" if block.told is not None else "")


def runs(page: str) -> Iterator[tuple[Block, str]]:
    """Every block and what it is now, run one after the other."""
    names: dict[str, Any] = {"__name__": "__main__"}  # where dataclasses look up their module
    for block in blocks(page):
        yield block, run(block, names)


def main(words: list[str]) -> int:
    check = words[:1] == ["--check"]
    stale, began = 0, time.perf_counter()
    for path in map(Path, words[1:] if check else words):
        page = path.read_text(encoding="utf-8")
        fresh: list[str] = []
        for block, now in runs(page):
            same = steady(shown(block)) == steady(now)
            stale += not same
            print(f"{path} {block.title}" + ("" if same else "   CHANGED"), f"({time.perf_counter() - began:.0f} s)", flush=True)
            fresh.append(now)
        if not check:
            parts = iter(fresh)
            path.write_text(BLOCK.sub(lambda found: next(parts), page), encoding="utf-8")  # noqa: B023
    return 6 if check and stale else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(sys.argv[1:]))
