"""SynthID: a tournament that a key and the newest tokens decide tilts the row, so that the text can be recognised by who has the key.

Math      c the last `width` generated tokens, g_l(i) = 1 if U(key, c, i, 3 + l) < 1/2 else 0 (core/keyed.py), l = 0 to layers - 1. q starts
          as p; every layer makes q_i (1 + g_l(i) - sum_j q_j g_l(j)) of it, the law of the winner of two draws from q, of which the
          one with g_l = 1 wins and a coin decides between equals. Then a draw as `categorical` from q; from p instead where
          there are fewer than `width` tokens, or (repeats=plain) where c has occurred before in this text.
          The law is the average over keys, and that is p exactly, of every token given those before it, for g is a fair bit and E[q'] =
          q; so is the recipe log-prob. Exact mode (`ulam.law`) enumerates the law of the one key it is given, which is another.
          `repeats=keyed` lets a context tilt in the same way each time it comes: every token still has law p over keys, a text
          with repeats does not.
          `detect` counts the g = 1 among all layers of the N tokens with a whole context, each context once: without the mark the
          count is binomial(N layers, 1/2) over keys, the p-value its exact upper tail, the score the standard score.
Shapes    logits [B, V] nats; key, layers, width scalar; returns token ids [B].
Neutral   none
Edges     -inf never enters q and is never drawn; V = 1 gives token 0. A row of one token carries no mark.
Errors    InvalidLogits for a row with NaN or nothing finite; OutOfRange; TokenOutOfRange for a negative id; UsageError for a text
          that `detect` is to read and is no list of ids.
Cost      O(layers n) hashes, n the tokens of the row; `detect` O(layers N). A truncation before it makes it cheap.
Claims    law (over keys), shrinks, batch, fork
Source    Dathathri et al. 2024, "Scalable watermarking for identifying large language model outputs", Nature 634, 818-823
          (two leaves a layer, the non-distortionary case; its mean score, whose law is exact; weighted scores see more).
Elsewhere transformers `SynthIDTextWatermarkingConfig`: a list of keys, bits from a table; the context of the first tokens is filled up with
          zeros, so that they are marked too, and contexts are forgotten after 1024 steps; a processor, so that the row stays a row
          and masked tokens become the least finite number. Keys do not carry over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array
from ...core.claims import Case
from ...core.context import Context
from ...core.keyed import SYNTHID, Detection, KeyedChooser, binomial_detection, scored, uniforms
from ...core.noise import Address, Noise
from ...core.parameter import parameter


@dataclass(frozen=True)
class Synthid(KeyedChooser):
    key: int = parameter(int, "[0, 2^64)", fixed=True, help="the secret that decides the tournament")
    layers: int = parameter(int, "[1, 64]", default=30, fixed=True, help="rounds of the tournament")
    width: int = parameter(int, "[1, inf)", default=4, unit="tokens", fixed=True, help="how many of the newest tokens decide with the key")
    repeats: str = parameter(str, words=("plain", "keyed"), default="plain", help="what a context that comes again gets: an ordinary draw, or the same tilt")

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        rows, marked, hashes = self.rows(z, context)
        for b in np.flatnonzero(marked):
            ids = np.flatnonzero(rows[b] > -np.inf)
            weight = np.exp(rows[b, ids] - rows[b, ids].max())
            with np.errstate(divide="ignore"):  # what has lost every round has weight 0
                rows[b, ids] = np.log(tournament(weight / np.cumsum(weight)[-1], self.bits(hashes[b], ids)))
        return noise.categorical(rows, address)

    def bits(self, hashes: NDArray[np.uint64], tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        """g of every layer [layers, N], for hashes of contexts, one or [N], and tokens [N]."""
        return uniforms(self.key, hashes, tokens, SYNTHID + np.arange(self.layers)[:, None]) < 0.5

    def detect(self, tokens: Sequence[int]) -> Detection:
        """How much of the mark is in generated `tokens`. Needs neither the model nor the prompt."""
        hashes, after = scored(tokens, self.width)
        g = self.bits(hashes, after)
        return binomial_detection(int(g.sum()), g.size, 0.5, len(after))


def tournament(p: NDArray[np.float64], bits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities [n] after the rounds that `bits` [layers, n] decide."""
    q = p
    for g in bits:
        q = np.maximum(q * (1 + g - np.cumsum(q * g)[-1]), 0)  # a running sum, whose order only n decides
    return q


CLAIMS = ("law", "shrinks", "batch", "fork")

ROW = (F(3, 20), F(1, 2), F(1, 20), F(3, 10))

CASES = (
    # g after 1: 1101, sum q g = 0.95; q sums to 0.1575, 0.6825, 0.685, 1
    Case(ROW, {"key": 42, "layers": 1, "width": 1}, 1, "the row drawn from as it is", generated=(1,), u=0.66),
    # g after 1, 2: 1010, 0110; q sums to 0.1377, 0.7417, 0.8776, 1; after one layer to 0.27, 0.67, 0.76, 1
    Case(ROW, {"key": 42, "layers": 2, "width": 2}, 2, "the context turned round, or its newest token alone; one layer", generated=(0, 1, 2), u=0.8),
    # g after 2: 0101, 0100; q sums to 0.012, 0.852, 0.856, 1
    Case(ROW, {"key": 42, "layers": 2, "width": 1}, 2, "a context that has come before tilts again", generated=(2, 0, 2), u=0.68),
    Case(ROW, {"key": 42, "layers": 2, "width": 1, "repeats": "keyed"}, 1, "repeats=keyed does nothing", generated=(2, 0, 2), u=0.68),
    Case(ROW, {"key": 42, "layers": 2, "width": 2}, 2, "the prompt is context, or a short context is one", prompt=(1,), generated=(2,), u=0.68),
    Case(ROW, {"key": 42, "layers": 2, "width": 1}, ROW, "the law stated is that of one key", generated=(1,)),
)
