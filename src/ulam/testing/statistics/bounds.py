"""The two tests that everything is made of: exact binomials, and G over pools that expect enough draws.

Binomial   two-sided: twice the smaller tail. For coins of unequal chances it is a bound with their mean chance, at least
           one success away from the mean (Hoeffding 1956, "On the distribution of the number of successes in independent trials").
G          2 sum c ln(c / e), divided by Williams' w, against chi-square at a tenth of its share of alpha: so far out the
           approximation is a little too generous. Pearson's statistic is left out: it passes the quantile at 1e-11 two hundred
           times too often where a pool expects 25 draws, G less than three times (computed exactly in the tests).
           Missing an alternative: the non-central chi-square.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...core.errors import ModelError
from .tally import Part

Numbers: TypeAlias = NDArray[Any]

LEAST = 25
"""Draws that every pool expects, at least."""

CAUTION = 10
"""What a chi-square probability is multiplied by before it is believed."""


@cache
def stats() -> Any:
    """scipy's distributions. Raises `ModelError` where scipy is not installed."""
    try:
        from scipy import stats
    except ImportError as fault:
        raise ModelError(f'this test needs the extra "testing", which is not installed (no {fault.name})', fix='pip install "ulam[testing]"') from None
    return stats


# exact binomials


def binomial_p(seen: Numbers, n: int, p: Numbers) -> Numbers:
    """The probability, for each entry, of a number of successes as far off as `seen` in n trials of chance p."""
    binom, p = stats().binom, np.clip(p, 0, 1)
    return np.minimum(1.0, 2 * np.minimum(binom.cdf(seen, n, p), binom.sf(seen - 1, n, p)))


def binomial_range(n: int, p: Numbers, level: float) -> tuple[Numbers, Numbers]:
    """The least and the largest number of successes whose `binomial_p` is above `level`."""
    binom, p = stats().binom, np.clip(p, 0, 1)
    return binom.ppf(level / 2, n, p), binom.isf(level / 2, n, p)


def binomial_missed(n: int, p: Numbers, q: Numbers, share: float) -> float:
    """The probability that the most powerful of the tests for chances p passes although the chances are q."""
    if not len(p):
        return 1.0
    low, high = binomial_range(n, p, share / len(p))
    binom, q = stats().binom, np.clip(q, 0, 1)
    return float((binom.cdf(high, n, q) - binom.cdf(low - 1, n, q)).min())


def worst_of(name: str, seen: Numbers, expected: Numbers, each: Numbers, label: Callable[[int], str]) -> Part:
    """Several tests as one part, Bonferroni: the one with the smallest p is told."""
    if not len(each):
        return Part(name, 0.0, 1.0, "nothing to compare")
    i = int(np.argmin(each))
    return Part(name, float(seen[i]), min(1.0, float(each[i]) * len(each)), f"{label(i)}: {int(seen[i])} drawn, {expected[i]:.4g} expected")


# G


def pool_starts(expected: Numbers, least: float) -> NDArray[np.int64]:
    """Where pools of neighbours begin, if each takes the next numbers, all positive, until they add to `least`; what is left joins the last."""
    total, starts, before = np.cumsum(expected), [0], 0.0
    enough = least * (1 - 1e-9)  # 25 less rounding is 25
    while (end := int(np.searchsorted(total, before + enough))) < len(total):
        starts.append(end + 1)
        before = total[end]
    return np.array(starts[:-1] or [0])


def divergence(p: Numbers, q: Numbers) -> float:
    """sum of p ln(p/q) - p + q, 0 ln 0 = 0: Kullback-Leibler where both add to the same, and never negative; inf where q alone is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return max(0.0, float((np.where(p > 0, p * np.log(p / q), 0.0) - p + q).sum()))


def g_part(name: str, g: float, freedom: int) -> Part:
    """A G that is already divided by w, as a part."""
    if not freedom:
        return Part(name, 0.0, 1.0, "one pool, nothing to compare")
    return Part(name, float(g), min(1.0, CAUTION * float(stats().chi2.sf(g, freedom))), f"G = {g:.1f}, chi-square({freedom})")


def g_missed(noncentrality: float, freedom: int, share: float) -> float:
    """The probability that G stays within its share although its mean is larger by `noncentrality`."""
    if not freedom or not np.isfinite(noncentrality):
        return float(not freedom)
    return float(stats().ncx2.cdf(stats().chi2.isf(share / CAUTION, freedom), freedom, noncentrality))
