"""Draws of one law: compared with it, and how sure that is.

Math      n independent draws, outcome i drawn c_i times, law p_i. Four parts; the last three share alpha equally.
          support       no outcome with p_i = 0 was drawn
          whole law     from the least likely outcome up, outcomes are pooled until every pool expects 25 draws; G over the K
                        pools, K - 1 degrees of freedom, w = 1 + (sum 1/p - 1) / (6 n (K - 1))
          tails         for j = 1, 2, ... while n 2^-j >= 1: draws of the least likely outcomes that have together at most 2^-j; exact
          each outcome  draws of it; exact. Sees one outcome that the whole law dilutes.
          A part's p counts all the tests in it (Bonferroni), and the p of the tally counts the parts.
Source    Williams 1976, "Improved likelihood ratio tests for complete contingency tables", Biometrika 63 (w);
          Cochran 1952, "The chi-square test of goodness of fit", Annals of Mathematical Statistics 23 (pools, power).
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ...core.errors import UsageError
from .bounds import LEAST, Numbers, binomial_missed, binomial_p, divergence, g_missed, g_part, pool_starts, worst_of
from .tally import Part, Tally, check_chance, support

Probs: TypeAlias = ArrayLike | Mapping[Any, Any]
"""Probabilities [V], or by outcome."""


def draws_match(counts: ArrayLike | Mapping[Any, int], law: Probs, alpha: float = 1e-9) -> Tally:
    """Compare how often every outcome was drawn with its probability; the module says how.

    counts  whole numbers [V], or by outcome: a `Counter`
    law     probabilities [V] that add to one within 1e-6, or by outcome: `dict(ulam.law(...))`
    alpha   the probability of a false alarm, at most
    Raises `UsageError` for what are no counts or no law.
    """
    names, probs, seen = side_by_side(law, counts)
    if seen.dtype.kind not in "iu" or (seen < 0).any():
        raise UsageError("counts are whole numbers, none of them negative", fix="np.bincount(tokens, minlength=len(law))")
    cells = Cells(probs, int(seen.sum()), alpha)
    return Tally(cells.n, len(cells.starts), alpha, cells.parts(seen.astype(np.int64), names))


def miss_probability(law: Probs, alternative: Probs, n: int, alpha: float = 1e-9) -> float:
    """The probability that `draws_match` finds nothing wrong with n draws from `alternative` where `law` was promised.

    An upper bound: the smallest over the parts, each with the pools, sets and limits that `draws_match` would use. Exact for
    all parts but the whole law; there the non-central chi-square with non-centrality 2n min(KL(q|p), KL(p|q)) over the pools.
    The smaller divergence makes it err upwards wherever it says less than 1 % (computed in the tests). For a shift of total
    variation d that is spread evenly over the pools it is 4 n d^2.
    """
    _, probs, others = side_by_side(law, alternative)
    return Cells(probs, n, alpha).missed(as_law(others))


def draws_needed(law: Probs, alternative: Probs, alpha: float = 1e-9, miss: float = 1e-6) -> int:
    """How many draws bring `miss_probability` down to `miss`. A few per cent less may do too: limits move in whole draws and pools.

    Raises `UsageError` if 10^12 are not enough, and for a `miss` outside (0, 1).
    """
    check_chance(miss, "miss")
    enough = 1
    while miss_probability(law, alternative, enough, alpha) > miss:
        enough *= 2
        if enough > 10**12:
            raise UsageError("10^12 draws do not tell this alternative from the law", fix="an alternative that is further away")
    few = enough // 2
    while enough - few > max(1, enough // 100):
        n = (few + enough) // 2
        few, enough = (n, enough) if miss_probability(law, alternative, n, alpha) > miss else (few, n)
    return enough


class Cells:
    """What is compared: the pools, the sets of least likely outcomes and the outcomes, which the law [V] and n decide."""

    def __init__(self, law: Numbers, n: int, alpha: float):
        if n == 0:
            raise UsageError("there are no draws to compare", fix="at least one draw")
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
            raise UsageError(f"n={n} is no number of draws", fix="n=10000")
        self.law, self.n, self.share = law, int(n), check_chance(alpha, "alpha") / 3
        possible = np.flatnonzero(law)
        self.order = possible[np.argsort(law[possible], kind="stable")]
        self.starts = pool_starts(self.n * law[self.order], LEAST)
        halves = 0.5 ** np.arange(1, self.n.bit_length())
        sizes = np.unique(np.searchsorted(np.cumsum(law[self.order]), halves, side="right"))
        self.sizes = sizes[sizes > 0]
        self.freedom = len(self.starts) - 1
        self.w = 1 + ((1 / self.pooled(law)).sum() - 1) / (6 * self.n * max(1, self.freedom))

    def pooled(self, x: Numbers) -> Numbers:
        """[V] to sums over the pools."""
        return np.add.reduceat(x[self.order], self.starts)

    def tails(self, x: Numbers) -> Numbers:
        """[V] to sums over the nested sets of least likely outcomes."""
        return np.cumsum(x[self.order])[self.sizes - 1]

    def parts(self, counts: Numbers, names: list[Any]) -> tuple[Part, ...]:
        n, law, order = self.n, self.law, self.order
        g = 2 * divergence(self.pooled(counts), n * self.pooled(law)) / self.w
        seen, chance = self.tails(counts), self.tails(law)
        return (
            support(int(counts[law == 0].sum())),
            g_part("whole law", g, self.freedom),
            worst_of("tails", seen, n * chance, binomial_p(seen, n, chance), lambda i: f"the rarest, {chance[i]:.3g} together"),
            worst_of("each outcome", counts[order], n * law[order], binomial_p(counts[order], n, law[order]), lambda i: f"outcome {names[order[i]]}"),
        )

    def missed(self, other: Numbers) -> float:
        n, law, order = self.n, self.law, self.order
        p, q = self.pooled(law), self.pooled(other)
        return min(
            float((1 - other[law == 0].sum()) ** n),
            g_missed(2 * n * min(divergence(q, p), divergence(p, q)) / self.w, self.freedom, self.share),
            binomial_missed(n, self.tails(law), self.tails(other), self.share),
            binomial_missed(n, law[order], other[order], self.share),
        )


def side_by_side(law: Any, other: Any) -> tuple[list[Any], Numbers, Numbers]:
    """Names of outcomes, the law [V] adding to one, and what goes with it [V]."""
    if isinstance(law, Mapping) is not isinstance(other, Mapping):
        raise UsageError("one is a mapping and the other is not", fix="two arrays [V], or two mappings from outcomes")
    if isinstance(law, Mapping):
        names = list(dict.fromkeys([*law, *other]))
        law, other = [float(law.get(name, 0)) for name in names], [other.get(name, 0) for name in names]
    else:
        names = list(range(len(law)))
    probs, beside = as_law(law), np.asarray(other)
    if beside.shape != probs.shape:
        raise UsageError(f"a law of shape {list(probs.shape)} beside an array of shape {list(beside.shape)}", fix="one entry an outcome")
    return names, probs, beside


def as_law(probs: Any) -> Numbers:
    """Probabilities [V] in float64, divided by their sum. Raises `UsageError` unless that is one within 1e-6."""
    law = np.asarray(probs, dtype=np.float64)
    if law.ndim != 1 or not (law >= 0).all() or not abs(law.sum() - 1) <= 1e-6:
        raise UsageError("this is no law: probabilities [V], none of them negative, that add to one within 1e-6", fix="recipe.distribution(logits).probs")
    return law / law.sum()
