"""Gumbel-max: the token whose log-probability plus its own Gumbel noise is largest.

Math      u_i = (2k + 1) 2^-53 with k uniform in [0, 2^52), one a token (lane = token id); g_i = -ln(-ln u_i);
          token = argmax over the support of z_i - max z + g_i, ties to the lowest id. P(token = i) = p_i, as `categorical`.
          Each token has noise of its own, so draws from rows p and q at one address agree with probability
          sum_i 1 / sum_j max(p_j / p_i, q_j / q_i), at least (1 - TV) / (1 + TV): common random numbers for comparing recipes.
Shapes    logits [B, V] nats; returns token ids [B].
Neutral   none
Edges     a forbidden token has no key; V = 1 gives token 0; V is at most 2^24.
Errors    InvalidLogits for a row with NaN or nothing finite.
Cost      O(V) uniforms and two logarithms a token.
Claims    law, batch, history, fork
Source    Gumbel 1954, "Statistical theory of extreme values"; Maddison, Tarlow, Minka 2014, "A* sampling", arXiv 1411.0030;
          for the coupling: Daliri, Musco, Suresh 2024, "Coupling without communication", arXiv 2408.07978.
Elsewhere vLLM draws by an exponential race (the same law), SGLang's seeded path hashes to 32 bits, exllamav3, mlx-lm and
          ollama add Gumbel noise from their own streams.
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
class GumbelMax(Chooser):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(z), address, coupling="gumbel")


CLAIMS = ("law", "batch", "history", "fork")

CASES = (
    # keys ln p_i - ln(-ln u_i): (-1.530607, -0.326634, -2.629219, -0.837460) and (-2.731161, -1.168949, 1.604417, -1.679858)
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {}, 1, "noise multiplied, or left out of order", u=(0.5, 0.5, 0.5, 0.5)),
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {}, 2, "the sign of the noise turned, or one uniform for all tokens", u=(0.1, 0.2, 0.99, 0.2)),
    Case((0, F(3, 4), F(1, 4)), {}, 2, "a forbidden token wins by its noise", u=(0.999999, 0.1, 0.9)),
)
