"""Entropies of probabilities and distances between two lists of them. All in nats; 0 log 0 is 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ..core.errors import OutOfRange

Pairs: TypeAlias = Sequence[tuple[float, float]]
"""Both probabilities of every outcome."""


def entropy(probs: Iterable[float]) -> float:
    """-sum of p ln p."""
    return abs(math.fsum(p * math.log(p) for p in probs if p))


def renyi(probs: Sequence[float], alpha: float) -> float:
    """Entropy of order alpha: ln(sum of p^alpha) / (1 - alpha), with its limits at 0, 1 and infinity (Renyi 1961)."""
    if not alpha >= 0:
        raise OutOfRange(f"alpha={alpha} is outside [0, inf]", parameter="alpha", fix="alpha=2")
    positive = [p for p in probs if p]
    if alpha == 1:
        return entropy(positive)
    if abs(alpha - 1) < 0.1:  # near 1 the sum is nearly 1, and its distance from 1 has more digits
        return abs(math.log1p(math.fsum(p * math.expm1((alpha - 1) * math.log(p)) for p in positive)) / (1 - alpha))
    top = max(positive)
    if alpha == math.inf:
        return abs(math.log(top))
    # relative to the largest, so that no power underflows to a sum of 0
    return abs((alpha * math.log(top) + math.log(math.fsum((p / top) ** alpha for p in positive))) / (1 - alpha))


def kl(pairs: Pairs) -> float:
    """sum of p ln(p/q); inf where q is 0 and p is not."""
    if any(p and not q for p, q in pairs):
        return math.inf
    return max(0.0, math.fsum(p * math.log(p / q) for p, q in pairs if p))


def overlap(pairs: Pairs) -> float:
    """Bhattacharyya coefficient: sum of sqrt(p q), 1 for equal laws."""
    return min(1.0, math.fsum(math.sqrt(p) * math.sqrt(q) for p, q in pairs))


def hellinger(pairs: Pairs) -> float:
    """sqrt of half the sum of (sqrt p - sqrt q)^2, which keeps its digits where laws are near."""
    return min(1.0, math.sqrt(math.fsum((math.sqrt(p) - math.sqrt(q)) ** 2 for p, q in pairs) / 2))


def samples_to_tell(pairs: Pairs, false_alarm: float, miss: float) -> float:
    """The least n with BC^(2n) <= false_alarm x miss; inf for equal laws."""
    for name, x in (("false_alarm", false_alarm), ("miss", miss)):
        if not 0 < x < 1:
            raise OutOfRange(f"{name}={x} is outside (0, 1)", parameter=name, fix=f"{name}=1e-6")
    apart = hellinger(pairs) ** 2
    if apart == 0:
        return math.inf
    if apart == 1:
        return 1
    return math.ceil((math.log(false_alarm) + math.log(miss)) / (2 * math.log1p(-apart)))
