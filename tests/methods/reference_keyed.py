"""The keyed stages once more, token by token, in whole numbers and plain Python. Slow, and independent of the library's arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

WORD = 2**32


def fnv1a(tokens: Sequence[int]) -> int:
    """FNV-1a, 64 bits, over ids as 4-byte little-endian integers."""
    found = 14695981039346656037
    for byte in b"".join(token.to_bytes(4, "little") for token in tokens):
        found = (found ^ byte) * 1099511628211 % 2**64
    return found


def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]:
    """Philox4x32-10, as its paper writes it."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for turn in range(10):
        left, right = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        k = (k0 + turn * 0x9E3779B9) % WORD, (k1 + turn * 0xBB67AE85) % WORD
        c0, c1, c2, c3 = right // WORD ^ c1 ^ k[0], right % WORD, left // WORD ^ c3 ^ k[1], left % WORD
    return c0, c1, c2, c3


def U(key: int, context: Sequence[int], token: int, domain: int) -> Fraction:
    h = fnv1a(context)
    x0, x1, _, _ = philox((h % WORD, h // WORD, token, domain), (key % WORD, key // WORD))
    return Fraction(2 * ((x0 * WORD + x1) // 2**12) + 1, 2**53)


def green_list(z: Sequence[float], tokens: Sequence[int], key: int, gamma: float, delta: float, width: int) -> list[float]:
    if len(tokens) < width:
        return list(z)
    context = tokens[len(tokens) - width :]
    return [x + delta if U(key, context, i, 1) < Fraction(gamma) else x for i, x in enumerate(z)]


def is_marked(generated: Sequence[int], width: int, repeats: str) -> bool:
    """Whether the next token is drawn by the key."""
    contexts = [tuple(generated[t - width : t]) for t in range(width, len(generated) + 1)]
    return bool(contexts) and (repeats == "keyed" or contexts[-1] not in contexts[:-1])


def gumbel_watermark(z: Sequence[float], generated: Sequence[int], key: int, width: int) -> int:
    keys = [x - math.log(-math.log(U(key, generated[len(generated) - width :], i, 2))) if x > -math.inf else -math.inf for i, x in enumerate(z)]
    return keys.index(max(keys))


def bits(generated: Sequence[int], key: int, layers: int, width: int, size: int) -> list[list[int]]:
    context = generated[len(generated) - width :]
    return [[int(U(key, context, i, 3 + layer) < Fraction(1, 2)) for i in range(size)] for layer in range(layers)]


def tournament(p: Sequence[Fraction], g: Sequence[Sequence[int]]) -> list[Fraction]:
    """Both contestants of every round written out: of two draws the one with the greater bit wins, a coin decides between equals."""
    q = list(p)
    for layer in g:
        after = [Fraction(0)] * len(q)
        for i, first in enumerate(q):
            for j, second in enumerate(q):
                for winner, chance in ((i, Fraction(1 + layer[i] - layer[j], 2)), (j, Fraction(1 + layer[j] - layer[i], 2))):
                    after[winner] += first * second * chance
        q = after
    return q


def scored(tokens: Sequence[int], width: int, prompt: Sequence[int] = ()) -> list[tuple[tuple[int, ...], int]]:
    """Contexts, each once, with the token that came after it first."""
    found: dict[tuple[int, ...], int] = {}
    text = [*prompt, *tokens]
    for t in range(max(width, len(prompt)), len(text)):
        found.setdefault(tuple(text[t - width : t]), text[t])
    return list(found.items())
