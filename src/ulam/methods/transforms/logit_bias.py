"""Logit bias: add a constant to the logits of chosen tokens.

Math      z'_i = z_i + b_i for the tokens of the map, z_i elsewhere.
Shapes    logits [B, V] nats; map from tokens (an id, or a text that is exactly one token) to nats, finite, the same for all
          rows; returns [B, V].
Neutral   the empty map
Edges     -100 is no ban: the token keeps its place in the support. A forbidden token stays forbidden. A change is clipped to
          +-1e30.
Errors    OutOfRange for an infinite value or a token given twice; NeedsTokenizer for a text that no vocabulary has turned into
          an id, or that is several tokens; TokenOutOfRange for an id the row does not have.
Cost      O(V), and O(1) a token of the map
Claims    base, relabel
Source    OpenAI, API reference, 2021 (`logit_bias`).
Elsewhere OpenAI refuses values outside +-100, vLLM clamps them without saying so and adds before the penalties, SGLang after grammar and penalties;
          exllamav3 ignores 0, NaN and +inf and takes -inf as a ban.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF
from typing import Any

import numpy as np

from ...core.arrays import Array, like
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.masks import ids_in
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class LogitBias(Transform):
    map: Any = parameter(dict, "(-inf, inf)", neutral={}, unit="nats", help="what is added, by token")

    def apply(self, z: Array, context: Context) -> Array:
        bias = np.zeros(int(z.shape[-1]))
        tokens, values = zip(*self.map, strict=True)
        bias[ids_in(self, "map", tokens, len(bias))] = np.clip(values, -1e30, 1e30)
        return z + like(z, bias)


CLAIMS = (*BASE, "relabel")

CASES = (
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"map": {2: 2.302585092994046}},
        (F(3, 29), F(10, 29), F(10, 29), F(6, 29)),
        "the probability grows by b, or b times",
    ),
    Case((1, 2, 0.5), {"map": {1: -100}}, (1, -98, 0.5), "-100 is a ban", logits=True),
    Case((-INF, 1, 0), {"map": {0: 5, 2: -0.25}}, (-INF, 1, -0.25), "a forbidden token becomes possible", logits=True),
    Case((0, 1, 2), {"map": {2: 1e31, 0: -1e38}}, (-1e30, 1, 1e30), "a change is not clipped, or clipped to 100", logits=True),
    Case((F(2, 10), F(7, 10), F(1, 10)), {"map": {}}, (F(2, 10), F(7, 10), F(1, 10)), "the empty map is an error"),
)
