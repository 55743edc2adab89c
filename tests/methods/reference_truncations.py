"""The truncations by threshold and by shape, and the reshapings, once more in plain Python, as their definitions read."""

from __future__ import annotations

import math

from tests.methods.reference import INF, SLACK, Row, kept, order, probabilities


def log_probs(z: Row) -> Row:
    total = math.log(math.fsum(math.exp(x - max(z)) for x in z))
    return [x - max(z) - total for x in z]


def entropy(z: Row) -> float:
    return math.fsum(-math.exp(x) * x for x in log_probs(z) if x > -INF)


def at_least(z: Row, threshold: float) -> Row:
    """The tokens whose log-probability reaches a threshold, and the first maximum."""
    return kept(z, [i for i, x in enumerate(log_probs(z)) if x >= threshold - SLACK or i == order(z)[0]])


def top_a(z: Row, a: float) -> Row:
    return z if a == 0 else at_least(z, math.log(a) + 2 * max(log_probs(z)))


def epsilon_cutoff(z: Row, e: float) -> Row:
    return z if e == 0 else at_least(z, math.log(e))


def eta_cutoff(z: Row, e: float) -> Row:
    return z if e == 0 else at_least(z, min(math.log(e), math.log(e) / 2 - entropy(z)))


def top_n_sigma(z: Row, n: float) -> Row:
    if n == INF:
        return z
    down = [z[i] - max(z) for i in order(z)]
    mean = math.fsum(down) / len(down)
    reach = n * math.hypot(*(x - mean for x in down)) / math.sqrt(len(down))
    return kept(z, [i for i in order(z) if z[i] - max(z) >= -reach - SLACK * max(1.0, reach)])


def p_less(z: Row, norm: bool) -> Row:
    p = probabilities(z)
    agree = math.fsum(x * x for x in p)
    if norm and len(z) > 1:
        agree = (len(z) * agree - 1) / (len(z) - 1)
    return kept(z, [i for i in order(z) if p[i] >= agree * (1 - SLACK) or i == order(z)[0]])
