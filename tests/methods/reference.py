"""Every transform once more, token by token, in plain Python and as its definition reads. Slow, and independent of the library's arrays."""

from __future__ import annotations

import math

INF = math.inf
SLACK = 2.0**-40

Row = list[float]


def probabilities(z: Row) -> Row:
    weights = [math.exp(x - max(z)) for x in z]
    return [w / math.fsum(weights) for w in weights]


def kept(z: Row, tokens: list[int]) -> Row:
    return [x if i in tokens else -INF for i, x in enumerate(z)]


def order(z: Row) -> list[int]:
    return sorted((i for i in range(len(z)) if z[i] > -INF), key=lambda i: (-z[i], i))


def until(tokens: list[int], p: Row, mass: float) -> list[int]:
    """The shortest prefix whose mass is at least `mass`, up to rounding."""
    for j in range(1, len(tokens)):
        if math.fsum(p[i] for i in tokens[:j]) >= mass * (1 - SLACK):
            return tokens[:j]
    return tokens


def temperature(z: Row, T: float) -> Row:
    if T == 0:
        return kept(z, order(z)[:1])
    return [(x - max(z)) / T for x in z]  # up to a constant


def top_k(z: Row, k: int) -> Row:
    return z if k == 0 else kept(z, order(z)[:k])


def top_p(z: Row, p: float) -> Row:
    return z if p == 1 else kept(z, until(order(z), probabilities(z), p))


def min_p(z: Row, a: float) -> Row:
    return z if a == 0 else kept(z, [i for i, x in enumerate(z) if x > -INF and x - max(z) >= math.log(a) - SLACK])


def typical_p(z: Row, p: float) -> Row:
    if p == 1:
        return z
    probs = probabilities(z)
    surprise = {i: -(z[i] - max(z) - math.log(math.fsum(math.exp(x - max(z)) for x in z))) for i in order(z)}
    entropy = math.fsum(probs[i] * s for i, s in surprise.items())
    by_deviation = sorted(surprise, key=lambda i: (round(abs(surprise[i] - entropy) / SLACK), i))
    return kept(z, until(by_deviation, probs, p))


def occurrences(token: int, tokens: list[int], window: int | str, fade: int) -> Row:
    """The weights of every occurrence, newest first."""
    out = []
    for distance, each in enumerate(reversed(tokens)):
        if each == token and (window == "all" or distance < int(window) + fade):
            out.append(1.0 if window == "all" or distance < int(window) else 1 - (distance - int(window)) / fade)
    return out


def repetition_penalty(z: Row, tokens: list[int], r: float, window: int | str, fade: int, slope: float, on: str) -> Row:
    if r == 1 or window == 0:
        return z
    if on == "log_probs":
        z = [x - max(z) - math.log(math.fsum(math.exp(y - max(z)) for y in z)) for x in z]
    length = len(tokens) if window == "all" else min(int(window), len(tokens))
    out = list(z)
    for token in set(tokens):
        weights = occurrences(token, tokens, window, fade)
        if not weights:
            continue
        distance = list(reversed(tokens)).index(token)
        strength = 1 + (r - 1) * (slope if distance < length and distance >= length - length // 2 else weights[0])
        out[token] = z[token] / strength if z[token] > 0 else z[token] * strength
    return out


def presence_penalty(z: Row, tokens: list[int], a: float, window: int | str, fade: int) -> Row:
    return [x - a * max(occurrences(i, tokens, window, fade), default=0.0) if window else x for i, x in enumerate(z)]


def frequency_penalty(z: Row, tokens: list[int], a: float, window: int | str, fade: int) -> Row:
    return [x - a * math.fsum(occurrences(i, tokens, window, fade)) if window else x for i, x in enumerate(z)]


def logit_bias(z: Row, bias: dict[int, float]) -> Row:
    return [x + max(-1e30, min(1e30, bias.get(i, 0.0))) for i, x in enumerate(z)]
