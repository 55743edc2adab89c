"""Categorical: draw each token with its probability.

Math      u = k 2^-53 with k uniform in [0, 2^53), one a row and position. w_i = exp(z_i - max z) in float64, C_i the
          running sum in vocabulary order. The token is the least i with C_i > u C_V; if rounding leaves none, the last i
          with w_i > 0. A token of weight 0 is never drawn. P(token = i) = p_i.
Shapes    logits [B, V] nats; returns token ids [B].
Neutral   none; it is what a recipe without a chooser ends with
Edges     V = 1 gives token 0; -inf is never drawn.
Errors    InvalidLogits for a row with NaN or nothing finite.
Cost      O(V) time, one uniform a row.
Claims    law, batch, history, fork
Source    inverse transform sampling; von Neumann 1951, "Various techniques used in connection with random digits".
Elsewhere every engine, with other algorithms and other streams: same law, other draws. exllamav2 multiplies u by 0.9998
          and so never draws the last 0.02 % of the mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array
from ...core.claims import Case
from ...core.context import Context
from ...core.method import Chooser, host
from ...core.noise import Address, Noise


@dataclass(frozen=True)
class CategoricalChooser(Chooser):
    name = "categorical"

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(z), address)


CLAIMS = ("law", "batch", "history", "fork")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {}, 0, "tokens taken in order of probability", u=0.0),
    Case((F(1, 4), F(1, 2), F(1, 4)), {}, 1, "the running sum reaches u instead of exceeding it", u=0.25),
    Case((0, F(1, 2), 0, F(1, 2)), {}, 1, "a token of probability 0 drawn at u = 0", u=0.0),
    Case((F(1, 8), F(3, 8), F(1, 2), 0), {}, 2, "the last token drawn because u is near 1, though its weight is 0", u=1 - 2.0**-53),
)
