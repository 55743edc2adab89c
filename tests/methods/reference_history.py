"""The methods that toss a coin or look back once more, token by token, in plain Python and as their definitions read."""

from __future__ import annotations

from tests.methods.reference import INF, SLACK, Row, kept, order, probabilities, top_p


def xtc(z: Row, threshold: float, exempt: list[int]) -> Row:
    """The branch in which the coin falls on heads."""
    p = probabilities(z)
    top = [i for i in order(z) if p[i] >= threshold * (1 - SLACK) and i not in exempt]
    return kept(z, [i for i in range(len(z)) if i not in top[:-1]])


def mixture(z: Row, probability: float, threshold: float, exempt: list[int], T: float = 1.0) -> Row:
    """The law of `xtc` and a temperature after it."""
    heads, tails = (probabilities([x / T if x > -INF else -INF for x in row]) for row in (xtc(z, threshold, exempt), z))
    return [probability * h + (1 - probability) * t for h, t in zip(heads, tails, strict=True)]


def top_p_decay(z: Row, generated: list[int], p: float, decay: float, floor: float, reset: list[int]) -> Row:
    t = 0
    for token in generated:
        t = 0 if token in reset else t + 1
    return top_p(z, max(floor, p * decay**t))


def ends_with(tokens: list[int], suffix: list[int]) -> bool:
    return len(suffix) <= len(tokens) and all(tokens[len(tokens) - len(suffix) + i] == suffix[i] for i in range(len(suffix)))


def common_suffix(left: list[int], right: list[int]) -> int:
    n = 0
    while n < min(len(left), len(right)) and left[-1 - n] == right[-1 - n]:
        n += 1
    return n


def dry(z: Row, tokens: list[int], multiplier: float, base: float, allowed_length: int, window: int | str, breakers: list[list[int]]) -> Row:
    if window == 0 or multiplier == 0:
        return z
    h = tokens if window == "all" else tokens[-int(window) :]
    room = len(h) - max((j for j in range(1, len(h) + 1) for each in breakers if ends_with(h[:j], each)), default=0)
    out = list(z)
    for t in set(h):
        longest = max((min(common_suffix(h[:j], h), room) for j in range(1, len(h)) if h[j] == t), default=0)
        if longest >= allowed_length and [t] not in breakers:
            out[t] = z[t] - min(multiplier * base ** (longest - allowed_length), 1e30)
    return out


def sequence_bias(z: Row, tokens: list[int], bias: dict[tuple[int, ...], float]) -> Row:
    out = []
    for i, x in enumerate(z):
        total = sum(b for sequence, b in bias.items() if ends_with([*tokens, i], list(sequence)))
        out.append(x + max(-1e30, min(1e30, total)))
    return out


def length_decay(z: Row, position: int, factor: float, start: int, ends: list[int]) -> Row:
    late = max(position - start, 0)
    return [x + max(-1e30, min(1e30, abs(x) * (factor**late - 1))) if i in ends and late and x > -INF else x for i, x in enumerate(z)]
