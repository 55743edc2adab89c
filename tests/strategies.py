"""Hypothesis strategies for what the whole house works on: rows of logits and histories that have broken samplers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ulam.core.context import History

Rows = NDArray[np.float64]

ordinary = st.floats(-30, 30).map(lambda x: round(x, 6))
levels = st.integers(-3, 3).map(float)
halves = st.integers(0, 12).map(lambda k: -k * math.log(2.0))
huge = st.sampled_from([1e4, -1e4, 700.0, -745.0, 1e30, -1e30])
tiny = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e-310, 2.0**-149, -(2.0**-126), 1e-30, -1e-9])


@st.composite
def rows(draw: st.DrawFn, min_width: int = 1, max_width: int = 12, holes: bool = True, entries: st.SearchStrategy[float] | None = None) -> Rows:
    """One row of logits [V]: ordinary, tied, dyadic, huge or tiny entries, some of them -inf, at least one finite."""
    width = draw(st.integers(min_width, max_width))
    kind = entries if entries is not None else draw(st.sampled_from([ordinary, levels, halves, ordinary | levels | huge | tiny]))
    row = np.array(draw(st.lists(kind, min_size=width, max_size=width)))
    if holes and draw(st.booleans()):
        gone = np.array(draw(st.lists(st.booleans(), min_size=width, max_size=width)))
        gone[draw(st.integers(0, width - 1))] = False
        row[gone] = -np.inf
    return row


@st.composite
def wide_rows(draw: st.DrawFn, widths: st.SearchStrategy[int]) -> Rows:
    """One row [V] of any width: a short row again and again, moved a little or not at each turn, in order or with its tokens mixed."""
    width, short = draw(widths), draw(rows(2, 9))
    row = np.resize(short, width) + draw(st.sampled_from([0.0, 1e-3, -(2.0**-30)])) * (np.arange(width) // len(short))
    return row[np.random.default_rng(draw(st.integers(0, 9))).permutation(width)] if draw(st.booleans()) else row


def untied_rows(min_width: int = 1, max_width: int = 12) -> st.SearchStrategy[Rows]:
    """Rows without ties: distinct multiples of 1/64 with no pattern to them."""
    return st.lists(st.integers(-1500, 1500), min_size=min_width, max_size=max_width, unique=True).map(lambda steps: np.array(steps) / 64)


def histories(width: int, longest: int = 12) -> st.SearchStrategy[History]:
    """Histories over `width` tokens, with repeats."""
    tokens: Any = st.lists(st.integers(0, width - 1), max_size=longest)
    return st.builds(History, tokens, tokens)
