"""Suffixes against their definition, made at once and token by token."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core import suffixes
from ulam.core.suffixes import Suffixes, agreements

histories = st.lists(st.integers(-1, 2), max_size=14) | st.integers(0, 14).map(lambda n: [5] * n)


def agreeing(tokens: list[int], distance: int) -> int:
    """How many tokens at the end stand `distance` tokens earlier too, counted one by one."""
    size = 0
    while size + distance < len(tokens) and tokens[-1 - size] == tokens[-1 - size - distance]:
        size += 1
    return size


def expected(tokens: list[int], window: int, least: int) -> list[tuple[int, int]]:
    inside = tokens[max(0, len(tokens) - window) :]
    found = [(inside[-distance], agreeing(inside, distance)) for distance in range(1, len(inside))]
    return [(token, size) for token, size in found if size >= least]


def said(state: Suffixes, window: int, least: int) -> list[tuple[int, int]]:
    tokens, sizes = state.followers(window, least)
    return list(zip(tokens.tolist(), sizes.tolist(), strict=True))


@given(histories, st.integers(0, 14), st.none() | st.integers(1, 9), st.integers(0, 16), st.integers(1, 4))
def test_what_followed_and_how_much_agrees(tokens: list[int], known: int, reach: int | None, window: int, least: int) -> None:
    state = Suffixes.of(tokens[:known], reach)
    for token in tokens[known:]:
        before = state, said(state, window, least)
        state = state.add(token)
        assert said(before[0], window, least) == before[1]  # a value: what comes later does not touch it
    window = window if reach is None else min(window, reach)
    assert said(state, window, least) == expected(tokens, window, least)
    assert said(Suffixes.of(tokens, reach), window, least) == expected(tokens, window, least)


@given(histories)
def test_agreements_from_the_start(tokens: list[int]) -> None:
    backwards = tokens[::-1]
    assert agreements(tokens) == [len(tokens), *(agreeing(backwards, i) for i in range(1, len(tokens)))][: len(tokens)]


def forgets_the_run(tokens: list[int]) -> list[int]:
    return [min(size, 2) for size in agreements(tokens)]


def overlaps_not(tokens: list[int]) -> list[int]:
    return [min(size, i) if i else size for i, size in enumerate(agreements(tokens))]


@pytest.mark.parametrize("wrong", [forgets_the_run, overlaps_not])
def test_wrong_agreements_are_seen(wrong: Callable[[list[int]], list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [0, 1, 0, 1, 0, 1]
    assert said(Suffixes.of(tokens), 6, 1) == expected(tokens, 6, 1) == [(0, 4), (0, 2)]
    monkeypatch.setattr(suffixes, "agreements", wrong)
    assert said(Suffixes.of(tokens), 6, 1) != expected(tokens, 6, 1)
