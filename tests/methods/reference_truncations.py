"""The truncations by threshold and by shape, and the reshapings, once more in plain Python, as their definitions read."""

from __future__ import annotations

import math

from tests.methods.reference import INF, SLACK, Row, kept, order, probabilities, temperature


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


def bends(z: Row) -> Row:
    """How much the curve of falling probabilities bends at each token but the last two."""
    q = [probabilities(z)[i] for i in order(z)]
    return [abs(q[k] - 2 * q[k + 1] + q[k + 2]) for k in range(len(q) - 2)]


def tail_free(z: Row, share: float) -> Row:
    d, n = bends(z), len(order(z))
    if share == 1 or n <= 2 or math.fsum(d) <= SLACK:
        return z
    beyond = [k for k in range(1, n - 1) if math.fsum(d[:k]) / math.fsum(d) > share + SLACK]
    return kept(z, order(z)[: min(beyond, default=n - 1)])


def top_h(z: Row, a: float) -> Row:
    if a == 1:
        return z
    cut = [kept(z, order(z)[:k]) for k in range(1, len(order(z)) + 1)]
    return next((row for row in reversed(cut) if entropy(row) <= a * entropy(z) + SLACK), cut[0])


def smoothing(z: Row, factor: float, curve: float) -> Row:
    if factor == 0:
        return z
    k, c = factor * (3 - curve) / 2, factor * (curve - 1) / 2
    return [max(z) - min(k * (x - max(z)) ** 2 + c * (max(z) - x) ** 3, 1e30) if x > -INF else x for x in z]


def skew(z: Row, x: float) -> Row:
    """Probabilities."""
    p, gamma = probabilities(z), math.exp(x)
    out, before = [0.0] * len(z), 0.0
    for i in order(z):
        after = before + p[i]
        out[i] = after**gamma - before**gamma
        before = after
    return out


def dynamic_temperature(z: Row, low: float, high: float, exponent: float) -> Row:
    n = len(order(z))
    if n == 1:
        return z
    r = min(max(entropy(z) / math.log(n), 0.0), 1.0)
    return temperature(z, low + (high - low) * r**exponent)
