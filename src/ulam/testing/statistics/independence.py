"""Whether draws hang together: joint tables, and how often two draws agree.

Pairs must not overlap: of draws x1, x2, x3, x4 the pairs are (x1, x2) and (x3, x4).

Math      two_way: n pairs counted in a table [R, C]. Rows are pooled from the rarest up until each has 5 sqrt(n) pairs, and
          columns likewise, so that every cell expects 25; G against what the margins expect, (R - 1)(C - 1) degrees of freedom,
          w = 1 + (n sum 1/r - 1)(n sum 1/c - 1) / (6 n (R - 1)(C - 1)). The margins are those of the draws: no law is needed.
          agreements: pairs of independent draws from p agree with probability sum p^2, so their number is binomial.
Source    Williams 1976, "Improved likelihood ratio tests for complete contingency tables", Biometrika 63.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ...core.errors import UsageError
from .bounds import LEAST, Numbers, divergence, g_missed, g_part, pool_starts
from .draws import as_law, draws_match
from .tally import Tally, check_chance


def two_way(counts: ArrayLike, alpha: float = 1e-9) -> Tally:
    """Whether the two members of a pair are independent, from a table [R, C] of how often each pair was drawn; their laws may differ."""
    table = np.asarray(counts)
    if table.ndim != 2 or table.dtype.kind not in "iu" or (table < 0).any() or not table.any():
        raise UsageError("a table of counts [R, C] is wanted, whole numbers, none negative, not all 0", fix="np.add.at(table, (first, second), 1)")
    n = int(table.sum())
    joint = pooled(table, n)
    expected = joint.sum(axis=1, keepdims=True) * (joint.sum(axis=0, keepdims=True) / n)
    freedom = (joint.shape[0] - 1) * (joint.shape[1] - 1)
    return Tally(n, joint.size, alpha, (g_part("independence", 2 * divergence(joint, expected) / williams(expected), freedom),))


def two_way_miss(joint: ArrayLike, n: int, alpha: float = 1e-9) -> float:
    """The probability that `two_way` finds nothing wrong with n pairs from a joint law [R, C], as in `miss_probability`, but for pools
    that are those of the expected margins. Raises `UsageError` for what is no law."""
    law = np.asarray(joint, dtype=np.float64)
    if law.ndim != 2:
        raise UsageError(f"a joint law is a table [R, C], not of shape {list(law.shape)}", fix="np.outer(p, q)")
    table = pooled(n * as_law(law.ravel()).reshape(law.shape), n)
    expected = table.sum(axis=1, keepdims=True) * (table.sum(axis=0, keepdims=True) / n)
    apart = 2 * min(divergence(table, expected), divergence(expected, table)) / williams(expected)
    return g_missed(apart, (table.shape[0] - 1) * (table.shape[1] - 1), check_chance(alpha, "alpha"))


def agreements(first: ArrayLike, second: ArrayLike, law: ArrayLike, alpha: float = 1e-9) -> Tally:
    """Whether two draws from `law` [V] agree as often as independent ones; `first` and `second` are the outcomes of n pairs.

    `miss_probability` and `draws_needed` of the law [sum p^2, 1 - sum p^2] say what it sees.
    """
    one, other, chance = np.asarray(first), np.asarray(second), float((as_law(law) ** 2).sum())
    if one.shape != other.shape:
        raise UsageError(f"{list(one.shape)} draws beside {list(other.shape)}", fix="one of each in every pair")
    size = len(np.asarray(law))
    if not all(each.dtype.kind in "iu" and ((each >= 0) & (each < size)).all() for each in (one, other) if each.size):
        raise UsageError(f"a draw is no outcome of a law of {size}", fix=f"outcomes 0 to {size - 1}")
    agreed = int((one == other).sum())
    return draws_match({"agree": agreed, "differ": one.size - agreed}, {"agree": chance, "differ": 1 - chance}, alpha)


def pooled(table: Numbers, n: int) -> Numbers:
    """The table with its rare rows together, and its rare columns."""
    for _ in range(2):
        margin = table.sum(axis=1)
        order = np.flatnonzero(margin)[np.argsort(margin[margin > 0], kind="stable")]
        table = np.add.reduceat(table[order], pool_starts(margin[order], (LEAST * n) ** 0.5)).T
    return table


def williams(expected: Numbers) -> float:
    """w of a table: expected draws [R, C], products of margins."""
    rows, columns, n = expected.sum(axis=1), expected.sum(axis=0), expected.sum()
    freedom = (len(rows) - 1) * (len(columns) - 1)
    return float(1 + ((n / rows).sum() - 1) * ((n / columns).sum() - 1) / (6 * n * max(1, freedom)))
