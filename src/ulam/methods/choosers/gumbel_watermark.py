"""Gumbel watermark: gumbel_max with noise that a key and the newest tokens decide, so that the text can be recognised by who has the key.

Math      c the last `width` generated tokens, u_i = U(key, c, i, 2) (core/keyed.py); token = argmax over the support of
          z_i - max z - ln(-ln u_i), ties to the lowest id. The draw of `gumbel_max` instead, with its noise, where there are fewer than
          `width` tokens, or (repeats=plain) where c has occurred before in this text.
          The law is the average over keys, and that is p exactly, of every token given those before it; so is the recipe log-prob.
          With one key a marked token is a fixed function of its row and its context: exact mode (`ulam.law`) enumerates the law of
          that one key, which is another. `repeats=keyed` lets a context decide in the same way each time it comes: every token still
          has law p over keys, a text with repeats does not.
          `detect` adds -ln(1 - u) of the tokens with a whole context, each context once: without the mark the sum is Gamma(N, 1)
          over keys, the score is the sum, the p-value its exact upper tail. A marked token adds 1 for a row of one token, more for others.
Shapes    logits [B, V] nats; key, width scalar; returns token ids [B].
Neutral   none
Edges     a forbidden token has no key; V = 1 gives token 0. Only temperature 0 and rows of one token carry no mark.
Errors    InvalidLogits for a row with NaN or nothing finite; OutOfRange; TokenOutOfRange for a negative id; UsageError for a text
          that `detect` is to read and is no list of ids.
Cost      O(V) hashes and two logarithms a token; `detect` O(N), with no pass over the vocabulary.
Claims    law (over keys), batch, fork. Not history, and not deterministic: ordinary draws remain.
Source    Aaronson 2022, "My AI safety lecture for UT effective altruism" (his r_i^(1/p_i) has the same maximum).
Elsewhere vLLM (`gumbel`, `dual_key_gumbel`) and SGLang have variants in their engines: other hashes, the same law. Keys do not carry over.
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
from ...core.keyed import GUMBEL_WATERMARK, Detection, KeyedChooser, gamma_tail, row_uniforms, scored, uniforms
from ...core.noise import Address, Noise
from ...core.parameter import parameter


@dataclass(frozen=True)
class GumbelWatermark(KeyedChooser):
    key: int = parameter(int, "[0, 2^64)", fixed=True, help="the secret that decides the noise")
    width: int = parameter(int, "[1, inf)", default=4, unit="tokens", fixed=True, help="how many of the newest tokens decide with it")
    repeats: str = parameter(str, words=("plain", "keyed"), default="plain", help="what a context that comes again gets: an ordinary draw, or the same noise")

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        rows, marked, hashes = self.rows(z, context)
        tokens = np.zeros(len(rows), np.int64)
        if marked.any():
            u = row_uniforms(self.key, hashes[marked], rows.shape[-1], GUMBEL_WATERMARK)
            tokens[marked] = np.argmax(rows[marked] - rows[marked].max(axis=-1, keepdims=True) - np.log(-np.log(u)), axis=-1)
        plain = np.flatnonzero(~marked)
        if len(plain):
            tokens[plain] = noise.categorical(rows[plain], address.select(plain), coupling="gumbel")
        return tokens

    def detect(self, tokens: Sequence[int]) -> Detection:
        """How much of the mark is in generated `tokens`. Needs neither the model nor the prompt."""
        hashes, after = scored(tokens, self.width)
        score = float((-np.log1p(-uniforms(self.key, hashes, after, GUMBEL_WATERMARK))).sum())
        return Detection(score, gamma_tail(score, len(after)), len(after))


CLAIMS = ("law", "batch", "fork")

ROW = (F(3, 20), F(1, 2), F(1, 20), F(3, 10))

CASES = (
    # u after 7: 0.288909, 0.407163, 0.682488, 0.386216; keys -0.910, -1.097, -0.935, -2.946
    Case((F(1, 2), F(3, 10), F(3, 20), F(1, 20), 0, 0, 0, 0), {"key": 42, "width": 1}, 0, "the largest u wins, or an ordinary draw", generated=(7,)),
    # u after 1, 2: 0.478, 0.085, 0.676, 0.561; 2, 1 and 2 alone would draw token 1
    Case(ROW, {"key": 42, "width": 2}, 3, "the context turned round, or its newest token alone", generated=(0, 1, 2)),
    Case(ROW, {"key": 42, "width": 1}, 1, "a context that has come before decides again", generated=(1, 0, 1), u=(0.5, 0.5, 0.5, 0.5)),
    # u after 1: 0.752, 0.284, 0.224, 0.778
    Case(ROW, {"key": 42, "width": 1, "repeats": "keyed"}, 3, "with repeats=keyed a context that comes again gets an ordinary draw", generated=(1, 0, 1)),
    Case(ROW, {"key": 42, "width": 2}, 1, "the prompt is context, or a short context is one", prompt=(1,), generated=(2,), u=(0.5, 0.5, 0.5, 0.5)),
    Case(ROW, {"key": 42, "width": 1}, ROW, "the law stated is that of one key", generated=(1,)),
)
