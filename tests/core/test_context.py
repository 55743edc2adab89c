"""Histories: scopes, windows across the end of the prompt, and the choice of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.context import Context, History
from ulam.core.vocabulary import Vocabulary

PAST = History([1, 2, 3], [4, 5])


@pytest.mark.parametrize(
    ("scope", "last", "tokens"),
    [
        ("prompt", None, [1, 2, 3]),
        ("generated", None, [4, 5]),
        ("all", None, [1, 2, 3, 4, 5]),
        ("prompt", 2, [2, 3]),
        ("generated", 1, [5]),
        ("all", 1, [5]),
        ("all", 2, [4, 5]),
        ("all", 3, [3, 4, 5]),
        ("all", 9, [1, 2, 3, 4, 5]),
        ("all", 0, []),
        ("prompt", 0, []),
    ],
)
def test_scope_and_window(scope: str, last: int | None, tokens: list[int]) -> None:
    assert PAST.tokens(scope, last).tolist() == tokens  # type: ignore[arg-type]


small = st.lists(st.integers(0, 9), max_size=6)


@given(small, small, st.integers(0, 14))
def test_a_window_is_the_end_of_the_whole(prompt: list[int], generated: list[int], last: int) -> None:
    past = History(prompt, generated)
    for scope in ("prompt", "generated", "all"):
        whole = past.tokens(scope).tolist()  # type: ignore[arg-type]
        assert past.tokens(scope, last).tolist() == (whole[-last:] if last else [])  # type: ignore[arg-type]


def test_the_position_counts_generated_tokens() -> None:
    assert (History().position, PAST.position) == (0, 2)
    assert History().tokens().dtype == np.int64


def test_rows_are_selected_repeated_and_left_out() -> None:
    vocabulary = Vocabulary([b"a", b"b"])
    context = Context([History([0]), History([1]), PAST], vocabulary)
    chosen = context.select(np.array([2, 0, 2]))
    assert chosen.rows == [PAST, History([0]), PAST]
    assert chosen.vocabulary is vocabulary
    assert Context().rows == ()
