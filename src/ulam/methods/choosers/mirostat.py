"""Mirostat: draw from the k likeliest tokens, k from a power law fitted to the row, and move k so that texts have a chosen surprise.

Math      mu in bits, 2 tau at the first token; q_1 >= q_2 >= ... the probabilities in order, n of them, M = min(m, n). Zipf's law
          q_i ~ i^-s is fitted to the first M: s = sum t_i b_i / sum t_i^2 over i < M, t_i = ln((i + 1) / i), b_i = ln(q_i / q_(i+1)).
          k is how many tokens a Zipf law over V words keeps at mu bits: with e = s - 1, k = (2^mu e / (1 - V^-e))^(1/s), rounded
          down, at least 1 and at most n; e / (1 - V^-e) is 1 / ln V where |e| < 1e-9, and k = n where s <= 0. Keep the first k
          (ties by id); renormalise; draw as `categorical`. Then mu becomes mu - eta (S - tau), S = -log2 of the drawn token's
          probability: in the row that entered (`observed=input`), or in the one that was drawn from (`observed=kept`).
Shapes    logits [B, V] nats; tau bits, (0, inf), eta a share, (0, 1], each a number or [B]; m tokens, an integer, [2, inf); carries mu, a
          float a row; returns token ids [B].
Neutral   none
Edges     n = 1 gives k = 1. The fit is in float64, from differences of logits, so no probability underflows in it. k has a relative
          slack of 2^-40 for rounding. A token of no probability, which no draw gives but a text that is scored may hold, leaves mu
          as it is.
Errors    OutOfRange for tau, eta, m, and for a schedule: mu is what changes from token to token.
Cost      O(V log V)
Claims    batch, fork, nonempty. Not law: it draws from the row it has cut. The law of a step given mu is exact, and that of a text is
          their product.
Source    Basu, Ramachandran, Keskar, Varshney 2020, "Mirostat: a neural text decoding algorithm that directly controls perplexity",
          arXiv 2007.14966, algorithm 1. Its authors' code takes 101 tokens into the fit, rounds k to the nearest, adds 1, and has eta = 1.
Elsewhere llama.cpp `mirostat=1` and koboldcpp: `observed=kept`, m = 100; llama.cpp drops every other stage but bias and temperature,
          koboldcpp keeps mu from one request to the next. The power law of llama.cpp is fitted to forbidden tokens too,
          and where its k is above 2^31 (a flat row, a large tau) it keeps one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import SLACK, Array, row_sum, sort_down, support, to_numpy, upper_set
from ...core.claims import Case
from ...core.parameter import parameter
from ...core.surprise import Surprise


@dataclass(frozen=True)
class Mirostat(Surprise):
    tau: float = parameter(float, "(0, inf)", unit="bits", help="surprise that a token is to have on average")
    eta: float = parameter(float, "(0, 1]", default=0.1, help="share of what a token was off by that the next makes up for")
    m: int = parameter(int, "[2, inf)", default=100, unit="tokens", fixed=True, help="how many of the likeliest tokens the power law is fitted to")
    observed: str = parameter(str, words=("input", "kept"), default="input", help="row in which the surprise of a drawn token is read")

    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        ranked = sort_down(z)
        first = to_numpy(ranked[:, : min(self.m, z.shape[-1])]).astype(np.float64)
        count = to_numpy(support(z)).sum(axis=-1)
        return upper_set(z, length(exponent(first), mu, count, z.shape[-1])[:, None], ranked)


def exponent(first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exponent [B] of the power law fitted to the largest logits [B, M] of every row, in order."""
    t = np.diff(np.log(np.arange(1, first.shape[-1] + 1)))
    with np.errstate(invalid="ignore"):
        t = np.where(first[:, 1:] > -np.inf, t, 0.0)
        b = np.where(t > 0, first[:, :-1] - first[:, 1:], 0.0)
    return np.divide(row_sum(t * b), np.maximum(row_sum(t * t), 1e-300))[:, 0] if t.shape[-1] else np.zeros(len(first))


def length(s: NDArray[np.float64], mu: NDArray[np.float64], count: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """How many of the `count` [B] possible tokens of a row stay, [B]; logarithms, so that nothing overflows on the way."""
    e, rising = s - 1, s > 0
    with np.errstate(all="ignore"):
        bits = np.log2(np.where(np.abs(e) < 1e-9, 1 / np.log(width), e / -np.expm1(-e * np.log(width))))
        k = np.exp2((bits + mu) / s) * (1 + SLACK["float64"])
        return np.where(rising, np.clip(k, 1, count), count).astype(np.int64)


CLAIMS = ("batch", "fork", "nonempty")

ROW = (F(10, 100), F(40, 100), F(2, 100), F(20, 100), F(7, 100), F(15, 100), F(1, 100), F(5, 100))  # s = 1.277197283199 over all

CASES = (
    # k = 6.1256..., 2.0690..., 3.0395... before it is rounded down
    Case(ROW, {"tau": 2}, (F(10, 97), F(40, 97), 0, F(20, 97), F(7, 97), F(15, 97), 0, F(5, 97)), "mu starts at tau; mu in nats"),
    Case(ROW, {"tau": 3}, (0, F(2, 3), 0, F(1, 3), 0, 0, 0, 0), "one more than k", state=2.0),
    Case(ROW, {"tau": 3, "m": 2}, (0, F(8, 15), 0, F(4, 15), 0, F(3, 15), 0, 0), "all tokens are in the fit", state=2.66),
    # 1/i: s = 1, so e = 0; k = 2.5745...
    Case((F(3, 11), F(6, 11), F(2, 11)), {"tau": 3}, (F(1, 3), F(2, 3), 0), "k to the nearest; nothing, or all, where e = 0", state=1.5),
    # k = 1.3425...; with V = 3 it would be 2.9356...
    Case((0, F(1, 4), 0, F(1, 2), F(1, 4), 0), {"tau": 3}, (0, 0, 0, 1, 0, 0), "V counts possible tokens only", state=1.5),
    Case((F(1, 4), F(1, 4), F(1, 4), F(1, 4)), {"tau": 3}, (F(1, 4), F(1, 4), F(1, 4), F(1, 4)), "s = 0 keeps one token, as much as mu is below 0", state=-1.0),
)
