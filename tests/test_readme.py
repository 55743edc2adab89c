"""The README shows what the commands print: each is run as it stands there."""

from __future__ import annotations

import pytest

from .readme import blocks, render, steady

SHOWN = blocks()


def test_the_readme_has_transcripts() -> None:
    assert sum(block.count("$ ulam") for _, block in SHOWN) >= 8
    assert any(kind == "python" for kind, _ in SHOWN)


@pytest.mark.parametrize(("kind", "block"), SHOWN, ids=[block.splitlines()[0][:60] for _, block in SHOWN])
def test_every_transcript_is_what_the_command_prints(kind: str, block: str) -> None:
    assert steady(render(kind, block)) == steady(block)


def test_a_transcript_that_is_stale_is_seen() -> None:
    kind, block = next(shown for shown in SHOWN if "error:" in shown[1])
    assert steady(render(kind, block)) == steady(block)
    stale = block.replace("error:", "fault:")
    assert steady(render(kind, stale)) != steady(stale)
