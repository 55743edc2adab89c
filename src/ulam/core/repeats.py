"""Repeats: how much each token of a row's history counts, by the distance of its occurrences.

The history is the tokens of a scope, newest last; the newest has distance 0. An occurrence weighs 1 inside the window,
falls in a straight line over the next `fade` distances, and weighs 0 beyond. What a penalty does with
the weight is its own rule. Without a window, what counts is tallied once and carried on from token to token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array
from .context import Context, History, Scope
from .errors import OutOfRange, TokenOutOfRange
from .method import Transform
from .schedule import extremes


def distance_weights(length: int, window: int, fade: int, slope: float) -> NDArray[np.float64]:
    """Weights of the newest `length` tokens, oldest first; `slope` is the weight of the older half of the window."""
    distance = np.arange(length - 1, -1, -1)
    weight = np.clip(1 - (distance - window) / fade, 0.0, 1.0) if fade else np.ones(length)
    if slope != 1:
        weight[distance >= length - length // 2] = slope
    return weight


@dataclass
class Tally:
    """What occurred in a history of `length` tokens: by id, how often, and at which place last (0 is the first); `below` holds ids that are none."""

    counts: NDArray[np.int64]
    newest: NDArray[np.int64]
    length: int
    below: NDArray[np.int64]

    @classmethod
    def of(cls, tokens: NDArray[np.int64]) -> Tally:
        ids = tokens[tokens >= 0]
        counts = np.bincount(ids)
        newest = np.zeros(len(counts), np.int64)
        newest[ids] = np.flatnonzero(tokens >= 0)  # of one id, the last assignment stays
        return cls(counts, newest, len(tokens), tokens[tokens < 0])

    def add(self, token: int) -> None:
        if token >= len(self.counts):
            room = np.zeros(max(token + 1, 2 * len(self.counts)) - len(self.counts), np.int64)
            self.counts, self.newest = np.concatenate([self.counts, room]), np.concatenate([self.newest, room])
        self.counts[token] += 1
        self.newest[token] = self.length
        self.length += 1

    def copy(self) -> Tally:
        return Tally(self.counts.copy(), self.newest.copy(), self.length, self.below)

    def outside(self, width: int) -> list[int]:
        """Ids that a row of `width` does not have."""
        return [*self.below.tolist(), *(width + np.flatnonzero(self.counts[width:])).tolist()]

    def weights(self, width: int, every: bool, slope: float) -> NDArray[np.float64]:
        """As `Repeats.weights`, of one row; with `every`, the count."""
        counts, newest = self.counts[:width], self.newest[:width]
        out = np.zeros(width)
        out[: len(counts)] = counts if every else np.where((newest < self.length // 2) & (slope != 1), slope, 1.0) * (counts > 0)
        return out


class Repeats(Transform):
    """Base of the penalties on repetition, which all look at the same window of the same history.

    window  number of newest tokens, or `all`; 0 makes the stage neutral
    scope   which tokens: `prompt`, `generated` or `all`
    fade    over how many older tokens the weight falls to 0; needs a finite window
    """

    window: int | str
    scope: Scope
    fade: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.window, str) and np.any(extremes(self.fade) > 0):
            raise OutOfRange(
                f"{self.name}: fade={self.fade} needs a finite window", stage=self.name, parameter="fade", fix=f"{self.name}(..., window=64, fade={self.fade})"
            )

    def init(self, history: History) -> Tally | None:
        """The tally of the scope; none for a window, whose few tokens are counted anew."""
        return None if not isinstance(self.window, str) or self.neutral(1).all() else Tally.of(history.tokens(self.scope))

    def advance(self, state: Tally, token: int, z: Array) -> Tally:
        if self.scope != "prompt":
            state.add(token)
        return state

    def fork(self, state: Tally | None) -> Tally | None:
        return None if state is None else state.copy()

    def weights(self, z: Array, context: Context, *, every: bool = False, slope: Any = 1.0) -> NDArray[np.float64]:
        """What each token weighs in each row, [B, V] on the host: its newest occurrence, or with `every` the sum over all (without a slope).

        Raises `TokenOutOfRange` for a history that holds an id the row does not have.
        """
        rows, width = z.shape
        out = np.zeros((rows, width))
        for b, history in enumerate(context.rows):
            window, fade, slant = (x[b] if isinstance(x, np.ndarray) else x for x in (self.window, self.fade, slope))
            if isinstance(window, str):
                tally: Tally = context.state(self, b)
                self.check(tally.outside(width), width, b)
                out[b] = tally.weights(width, every, float(slant))
                continue
            tokens = history.tokens(self.scope, int(window) + int(fade))
            self.check(tokens[(tokens < 0) | (tokens >= width)].tolist(), width, b)
            weight = distance_weights(len(tokens), min(int(window), len(tokens)), int(fade), float(slant))
            if every:
                out[b] = np.bincount(tokens, weight, width)
            else:
                np.maximum.at(out[b], tokens, weight)  # weights never grow with distance, so the newest is the largest
        return out

    def check(self, outside: list[int], width: int, row: int) -> None:
        if outside:
            what = f"{self.name}: token id {outside[0]} of the history is outside 0 to {width - 1}"
            raise TokenOutOfRange(what, stage=self.name, row=row, fix="a history of this model's tokens")
