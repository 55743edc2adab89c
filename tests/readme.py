"""The README's transcripts: run every command it shows, and compare or rewrite what it printed.

    python -m tests.readme        # rewrite the outputs in README.md with what the commands print now
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
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
SPEED = re.compile(r"[\d.]+k?(?= tok/s)")


def printed(command: str) -> str:
    """What a shell command of the README prints, both streams in order."""
    words = shlex.split(command)
    assert words[0] == "ulam", command
    words[:1] = [sys.executable, "-m", "ulam"]
    plain = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=plain, text=True, timeout=120).stdout


def typed(lines: list[str]) -> str:
    """Lines typed at the Python prompt, each with what it prints."""
    console, out = code.InteractiveConsole(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        for line in lines:
            out.write(f">>> {line}\n")
            console.push(line)
            if line.startswith("for "):
                console.push("")
                out.write("\n")
    return out.getvalue()


def render(kind: str, block: str) -> str:
    """A block with the outputs that its commands print now."""
    if kind == "console":
        return "\n".join(f"$ {line[2:]}\n{printed(line[2:])}" for line in block.splitlines() if line.startswith("$ "))
    return typed([line[4:] for line in block.splitlines() if line.startswith(">>> ")])


def blocks() -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in BLOCK.finditer(README.read_text(encoding="utf-8"))]


def steady(text: str) -> str:
    """Without the one number that no two runs share."""
    return SPEED.sub("N", text)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda found: f"```{found[1]}\n{render(found[1], found[2])}```", text), encoding="utf-8")


if __name__ == "__main__":
    main()
