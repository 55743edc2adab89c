"""One draw from each of many laws: as often as predicted, decade by decade of probability.

Math      row b has the law p_b and the draw x_b. Decade d holds, in every row, the outcomes of probability in
          (10^-(d+1), 10^-d]; all below 10^-9 are one decade. Draws that fall into a decade are a sum of B independent coins with
          chances m_b = sum of p_b over it. Their tails are bounded by those of the binomial with the mean chance, at least one draw
          away from the mean, and by 1 nearer than that; Bonferroni over the decades. Outcomes of probability 0 must not be drawn.
          It sees what no test on one repeated row can: draws given to the wrong row. The laws must not depend on the draws:
          those after prefixes of a fixed text, not of the text that is drawn.
Source    Hoeffding 1956, "On the distribution of the number of successes in independent trials", Annals of Mathematical Statistics 27.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...core.errors import UsageError
from .bounds import Numbers, binomial_p, binomial_range, stats, worst_of
from .tally import Tally, check_chance, support

DECADES = 10


def calibration(laws: ArrayLike, drawn: ArrayLike, alpha: float = 1e-9) -> Tally:
    """Compare draws [B] of many rows with the laws [B, V] they were drawn from: predicted against observed, by decade.

    Raises `UsageError` for what are no laws, or draws that are no outcomes of theirs.
    """
    probs, tokens = as_laws(laws), np.asarray(drawn)
    if tokens.shape != probs.shape[:1] or tokens.dtype.kind not in "iu" or not ((tokens >= 0) & (tokens < probs.shape[1])).all():
        raise UsageError(f"{list(tokens.shape)} draws for laws of shape {list(probs.shape)}", fix="one outcome a row, 0 to V - 1")
    n, decade = len(probs), decades(probs)
    seen = np.bincount(decade[np.arange(n), tokens], minlength=DECADES + 1)
    chance = masses(decade, probs) / n
    impossible, there = int(seen[DECADES]), np.flatnonzero(chance[:DECADES])
    seen, expected = seen[there], n * chance[there]
    each = np.where(np.abs(seen - expected) < 1, 1.0, binomial_p(seen, n, chance[there]))
    part = worst_of("calibration", seen, expected, each, lambda i: f"probability 1e-{there[i] + 1} to 1e-{there[i]}")
    return Tally(n, len(there), alpha, (support(impossible), part))


def calibration_miss(laws: ArrayLike, others: ArrayLike, alpha: float = 1e-9) -> float:
    """The probability, at most, that `calibration` finds nothing wrong with draws from `others` [B, V] where `laws` were promised.

    By the same bound: the smallest over the decades, and over what is impossible.
    """
    probs, wrong = as_laws(laws), as_laws(others)
    if wrong.shape != probs.shape:
        raise UsageError(f"laws of shape {list(probs.shape)} beside {list(wrong.shape)}", fix="another law for every row")
    n, decade, binom = len(probs), decades(probs), stats().binom
    p, q = masses(decade, probs) / n, masses(decade, wrong) / n
    p, q = p[there := np.flatnonzero(p)], q[there]
    low, high = binomial_range(n, p, check_chance(alpha, "alpha") / len(there))
    # nearer than one draw to its mean everything passes
    below, above, mean = np.floor(np.minimum(low - 1, n * p - 1)), np.floor(np.maximum(high, n * p + 1)), n * q
    passes = np.where(above <= mean - 1, binom.cdf(above, n, np.minimum(q, 1)), np.where(below >= mean, binom.sf(below, n, np.minimum(q, 1)), 1.0))
    unseen = np.prod(1 - np.where(probs > 0, 0.0, wrong).sum(axis=1))
    return float(min(unseen, passes.min()))


def as_laws(laws: Any) -> Numbers:
    """Laws [B, V] in float64, each divided by its sum."""
    probs = np.asarray(laws, dtype=np.float64)
    if probs.ndim != 2 or not probs.size or not (probs >= 0).all() or not (np.abs(probs.sum(axis=1) - 1) <= 1e-6).all():
        raise UsageError("these are no laws: probabilities [B, V], none negative, every row adding to one within 1e-6")
    return probs / probs.sum(axis=1, keepdims=True)


def decades(probs: Numbers) -> Numbers:
    """The decade of every probability, 0 for 0.1 to 1; `DECADES` for what is impossible."""
    with np.errstate(divide="ignore"):
        return np.where(probs > 0, np.minimum(np.floor(-np.log10(probs)), DECADES - 1), DECADES).astype(np.int64)


def masses(decade: Numbers, probs: Numbers) -> Numbers:
    """Mass of every decade, summed over the rows, [DECADES + 1]."""
    return np.bincount(decade.ravel(), probs.ravel(), DECADES + 1)
