"""Forty beginnings of stories that come with the package: rows to measure on, where nobody has prompts of their own."""

from __future__ import annotations

from pathlib import Path


def bundled() -> list[str]:
    """The prompts, one line each."""
    return (Path(__file__).parent / "prompts.txt").read_text(encoding="utf-8").splitlines()
