"""The keyed function U, which watermarks read, and the exact tails that their detectors need.

U(key, context, token, domain) is a number of (0, 1) that looks random to whoever does not know the key; it is not a source of
randomness. The context, some token ids, is hashed by FNV-1a (64 bits; Fowler, Noll, Vo 1991) over the ids as 4-byte little-endian
integers. Philox4x32-10 with the key, low word first, and the counter (hash low, hash high, token, domain) gives words x0 to x3;
U = (2k + 1) 2^-53 with k the top 52 bits of x0 2^32 + x1. Every stage has a domain of its own: 1 green_list, 2 gumbel_watermark, 3 + layer synthid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Array, finite_rows
from .context import Context, History
from .errors import InvalidLogits, TokenOutOfRange, UsageError
from .method import Chooser, host
from .noise import philox

GREEN_LIST, GUMBEL_WATERMARK, SYNTHID = 1, 2, 3
"""Domains; synthid has one a layer, from its own on."""

Hashes = NDArray[np.uint64]


def in_range(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """`ids` if all of them are 0 to 2^32 - 1. Raises `TokenOutOfRange`."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < 2**32:
        raise TokenOutOfRange(f"token id {int(ids.min()) if ids.min() < 0 else int(ids.max())} is outside 0 to 2^32 - 1", fix="ids of a model's vocabulary")
    return ids


def context_hashes(contexts: ArrayLike) -> Hashes:
    """The hash [N] of contexts [N, width] of token ids. `TokenOutOfRange` for an id outside 0 to 2^32 - 1."""
    ids = in_range(np.asarray(contexts, dtype=np.int64))
    out = np.full(ids.shape[0], 0xCBF29CE484222325, np.uint64)
    for column in ids.T.astype(np.uint64):
        for shift in (0, 8, 16, 24):
            out = (out ^ ((column >> np.uint64(shift)) & np.uint64(0xFF))) * np.uint64(0x100000001B3)
    return out


def windows(tokens: Sequence[int], width: int) -> Hashes:
    """The hash of every `width` successive tokens, oldest first; the last is the context of the token to come."""
    ids = np.asarray(tokens, dtype=np.int64)
    if len(ids) < width:
        return np.empty(0, np.uint64)
    return context_hashes(np.lib.stride_tricks.sliding_window_view(ids, width))


def uniforms(key: int, hashes: ArrayLike, tokens: ArrayLike, domain: ArrayLike) -> NDArray[np.float64]:
    """U for hashes of contexts, token ids and domains that broadcast against one another."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    context, token, place = np.broadcast_arrays(np.asarray(hashes, np.uint64), np.asarray(tokens, np.uint64), np.asarray(domain, np.uint64))
    words = tuple(word.astype(np.uint32) for word in (context & low, context >> shift, token, place))
    x0, x1, _, _ = philox(words, (key & 0xFFFFFFFF, key >> 32))  # type: ignore[arg-type]
    k = ((x0.astype(np.uint64) << shift) | x1) >> np.uint64(12)
    return (2 * k.astype(np.float64) + 1) * 2.0**-53


def row_uniforms(key: int, hashes: Hashes, size: int, domain: int) -> NDArray[np.float64]:
    """U of every token of a vocabulary, [B, V], for contexts given by hash [B]."""
    out = np.empty((len(hashes), size))
    step = max(1, 2**18 // size)  # what Philox holds meanwhile stays small
    for first in range(0, len(hashes), step):
        block = slice(first, first + step)
        out[block] = uniforms(key, hashes[block, None], np.arange(size), domain)
    return out


@dataclass
class Past:
    """What a keyed chooser carries of a row: a cache of its history.

    newest   up to `width` newest generated tokens
    met      the contexts so far, by hash
    context  the hash of the context of the next token, or None before there is one
    again    whether that context was met before
    """

    newest: list[int]
    met: set[int]
    context: int | None = None
    again: bool = False


class KeyedChooser(Chooser):
    """Base of the choosers that watermark a text: the context is the last `width` generated tokens.

    Where there are fewer, or (`repeats=plain`) the context has occurred before in this text, the token is an ordinary draw, so that no
    two draws of a text read the same U. `law` is then p exactly: of the ordinary draw, and of the others on average over keys.
    """

    keyed = True
    key: int
    width: int
    repeats: str

    def init(self, history: History) -> Past:
        hashes: list[int] = windows(history.generated, self.width).tolist()
        newest = [int(token) for token in history.generated[max(0, len(history.generated) - self.width) :]]
        return Past(newest, set(hashes), hashes[-1] if hashes else None, bool(hashes) and hashes[-1] in hashes[:-1])

    def advance(self, state: Past, token: int, z: Array) -> Past:
        state.newest = [*state.newest, token][-self.width :]
        if len(state.newest) == self.width:
            state.context = int(context_hashes([state.newest])[0])
            state.again = state.context in state.met
            state.met.add(state.context)
        return state

    def rows(self, z: Array, context: Context) -> tuple[NDArray[np.float64], NDArray[np.bool_], Hashes]:
        """Rows [B, V] to draw from, float64; which of them are marked; the hash of the context of each. Raises `InvalidLogits`."""
        rows = host(z)
        if not finite_rows(rows).all():
            raise InvalidLogits("a row to draw from has NaN, +inf or no finite entry")
        past: list[Past] = [context.state(self, b) for b in range(len(rows))]
        marked = [each.context is not None and not (each.again and self.repeats == "plain") for each in past]
        return rows, np.array(marked, bool), np.array([each.context or 0 for each in past], np.uint64)


@dataclass(frozen=True)
class Detection:
    """What a detector says of a text.

    score    its statistic; large where the text carries the mark
    p_value  probability, over keys, that a text written without the key scores at least as high: exact, as far as U looks random
    n        tokens scored: those with a whole context before them, each context once
    """

    score: float
    p_value: float
    n: int


def scored(tokens: Sequence[int], width: int, before: Sequence[int] = ()) -> tuple[Hashes, NDArray[np.int64]]:
    """What a detector looks at: hashes of contexts [N], each once, and the token after each, its first time.

    `before` are tokens that are context alone. Raises `TokenOutOfRange`, and `UsageError` for what is no list of ids.
    """
    ids = np.concatenate([token_list(before)[max(0, len(before) - width) :], token_list(tokens)])
    after = ids[width:]
    hashes = windows(ids.tolist(), width)[: len(after)]
    first = np.sort(np.unique(hashes, return_index=True)[1])
    return hashes[first], after[first]


def token_list(tokens: Sequence[int]) -> NDArray[np.int64]:
    """A text's token ids, [N]."""
    ids = np.asarray(tokens)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise UsageError(f"a detector reads a list of token ids, found {type(tokens).__name__}", fix="detect(sample.tokens), or vocabulary.encode(text)")
    return in_range(ids.astype(np.int64))


def binomial_detection(hits: int, n: int, chance: float, tokens: int) -> Detection:
    """Of `n` independent events of this chance `hits` have happened: the standard score and the exact tail."""
    score = (hits - n * chance) / math.sqrt(n * chance * (1 - chance)) if n else 0.0
    return Detection(score, binomial_tail(hits, n, chance), tokens)


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X the number of successes among n, each with chance 0 < p < 1."""
    if not 0 < k <= n:
        return 1.0 if k <= 0 else 0.0
    upper = k > n * p
    first = k if upper else k - 1  # the larger end of the smaller tail, from where terms fall
    log_term = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1) + first * math.log(p) + (n - first) * math.log1p(-p)
    i = np.arange(first, n) if upper else np.arange(first, 0, -1)
    ratios = (n - i) / (i + 1) * (p / (1 - p)) if upper else i / (n - i + 1) * ((1 - p) / p)
    tail = math.exp(log_term) * (1 + float(np.cumprod(ratios).sum()))
    return min(tail, 1.0) if upper else max(1 - tail, 0.0)


def gamma_tail(x: float, n: int) -> float:
    """P(X >= x) for X the sum of n independent exponential variables of mean 1: at most n - 1 events of a Poisson process by time x."""
    if x <= 0 or n == 0:
        return 1.0
    upper = x > n
    first = n - 1 if upper else n  # terms fall from here: down to 0, or up without end
    log_term = first * math.log(x) - x - math.lgamma(first + 1)
    ratios = np.arange(first, 0, -1) / x if upper else x / np.arange(n + 1, n + 100 + 12 * math.isqrt(n))
    tail = math.exp(log_term) * (1 + float(np.cumprod(ratios).sum()))
    return min(tail, 1.0) if upper else max(1 - tail, 0.0)
