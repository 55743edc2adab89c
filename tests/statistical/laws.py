"""What statistical tests share: laws near a given one, which they are meant to see, and tables of pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Probs = NDArray[np.float64]

V = 2000
LAW = np.random.default_rng(3).permutation(np.arange(1, V + 1) ** -1.1)
LAW /= LAW.sum()
TENTH = int(np.argsort(-LAW)[9])
"""A law of many tokens, long-tailed as those of language models, in no order; and its tenth most probable token."""


def spread(law: Probs, distance: float) -> Probs:
    """A law at this total variation, spread evenly: in order of probability every other outcome has too much, in proportion, and the rest too little."""
    order = np.argsort(-law, kind="stable")
    more = np.zeros(len(law), bool)
    more[order[1::2]] = True
    up, down = law[more].sum(), law[~more].sum()
    return np.where(more, law * (1 + distance / up), law * (1 - distance / down))


def one_outcome(law: Probs, outcome: int, factor: float) -> Probs:
    """A law in which one outcome has its probability times `factor`, and the others share the difference in proportion."""
    other = law * (1 - factor * law[outcome]) / (1 - law[outcome])
    other[outcome] = factor * law[outcome]
    return other


def frequent(law: Probs, n: int) -> NDArray[np.int64]:
    """A number for every outcome: 0 for the rare ones together, 1, 2, ... for those that n draws have often enough to be one row of a table."""
    often = n * law > 7 * n**0.5  # rows are pooled below 5 sqrt(n), which is then six deviations away
    return np.where(often, np.cumsum(often), 0)


def table_of(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each pair of numbers was drawn."""
    size = int(max(first.max(), second.max())) + 1
    return np.bincount(first * size + second, minlength=size * size).reshape(size, size)
