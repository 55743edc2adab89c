"""Suffixes: how far a history repeats itself at its end, at every distance, kept from token to token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suffixes:
    """A history and how many of its last tokens also stand so many tokens earlier. A value, so that a fork copies nothing.

    A token costs one pass over the arrays, whatever repeats.

    tokens   [L] ids, the newest first
    agree    [L] at i: how many of the newest tokens stand i + 1 tokens earlier too, in their order. What followed there is
             `tokens[i]`
    reach    how many of the newest tokens to remember; None for all
    """

    tokens: NDArray[np.int64]
    agree: NDArray[np.int64]
    reach: int | None = None

    @classmethod
    def of(cls, tokens: Sequence[int], reach: int | None = None) -> Suffixes:
        """After these tokens, oldest first."""
        newest_first = np.array(tokens, np.int64)[::-1][:reach]
        return cls(newest_first, np.array([*agreements(newest_first.tolist())[1:], 0][: len(newest_first)], np.int64), reach)

    def add(self, token: int) -> Suffixes:
        """One more token: it goes on with what it has followed before, and ends the rest."""
        agree = np.where(self.tokens == token, self.agree + 1, 0)
        return Suffixes(np.append(token, self.tokens)[: self.reach], np.append(agree, 0)[: self.reach], self.reach)

    def followers(self, window: int, least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tokens that followed where at least `least` tokens agree inside the newest `window`, and how many do."""
        inside = min(window, len(self.tokens)) - 1
        where = np.flatnonzero(self.agree[: max(inside, 0)] >= least)
        length = np.minimum(self.agree[where], inside - where)
        return self.tokens[where][length >= least], length[length >= least]


def agreements(tokens: list[int]) -> list[int]:
    """At i, how many tokens from place i on are those from the start (the Z function; Main and Lorentz 1984); at 0 all of them."""
    found, low, high = [len(tokens)] * min(1, len(tokens)), 0, 0
    for i in range(1, len(tokens)):
        size = min(high - i, found[i - low]) if i < high else 0
        while i + size < len(tokens) and tokens[size] == tokens[i + size]:
            size += 1
        found.append(size)
        if i + size > high:
            low, high = i, i + size
    return found
