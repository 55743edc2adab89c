"""The methods that toss a coin or look back once more, token by token, in plain Python and as their definitions read."""

from __future__ import annotations

from tests.methods.reference import INF, SLACK, Row, kept, order, probabilities


def xtc(z: Row, threshold: float, exempt: list[int]) -> Row:
    """The branch in which the coin falls on heads."""
    p = probabilities(z)
    top = [i for i in order(z) if p[i] >= threshold * (1 - SLACK) and i not in exempt]
    return kept(z, [i for i in range(len(z)) if i not in top[:-1]])


def mixture(z: Row, probability: float, threshold: float, exempt: list[int], T: float = 1.0) -> Row:
    """The law of `xtc` and a temperature after it."""
    heads, tails = (probabilities([x / T if x > -INF else -INF for x in row]) for row in (xtc(z, threshold, exempt), z))
    return [probability * h + (1 - probability) * t for h, t in zip(heads, tails, strict=True)]
