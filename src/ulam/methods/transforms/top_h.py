"""Top-h: keep the most likely tokens as long as their own entropy is at most a share of the row's.

Math      q_k the row cut to the first k tokens of the order and normalised; keep the largest k with H(q_k) <= a H(p), at least 1.
          With M and A the running sums of p and p ln p, H(q_k) = ln M - A / M. It grows with k, because a token no more likely
          than those before it adds entropy, so no later k comes back below. Among tokens tied at the cut the lowest ids stay.
Shapes    logits [B, V] nats; a scalar or [B], a share of the entropy, [0, 1]; returns [B, V].
Neutral   a = 1 (nothing is computed)
Edges     a = 0 keeps one token; the token that would cross the bound goes; -inf never enters; V = 1 is unchanged. H(q_k) <= a H(p)
          has a slack of 2^-40 nats (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1]; for a value that looks like a per cent the message shows the fraction.
Cost      O(V log V): one sort of the row's values.
Claims    base, order, argmax, relabel, monotone (the kept set grows with a), ratios. Not idempotent: what is left has a smaller
          entropy. Does not commute with temperature.
Source    Baghaei Potraghloo et al. 2025, "Top-H decoding: adapting the creativity and coherence with bounded entropy in text
          generation", arXiv 2509.02510, which uses a = 0.4.
Elsewhere transformers `top_h`: the running sum of -p ln p, in the row as it is, against a times its total, over the 100 most likely
          tokens; that is not the entropy of what is kept, and may keep fewer or more. Refuses 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, keep, slack, sort_down, to_numpy, upper_set
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class TopH(Transform):
    a: float = parameter(float, "[0, 1]", neutral=1, help="entropy of what is kept, at most this share of the row's")

    def apply(self, z: Array, context: Context) -> Array:
        ranked = sort_down(z)
        # running sums are made on the host in float64, one after the other
        down = to_numpy(ranked).astype(np.float64)
        down = down - down[:, :1]
        weights = np.exp(down)
        mass = np.cumsum(weights, axis=-1)
        energy = np.cumsum(weights * np.where(down > -np.inf, down, 0.0), axis=-1)
        entropies = np.log(mass) - energy / mass
        inside = entropies <= np.reshape(self.a, (-1, 1)) * entropies[:, -1:] + slack(z)
        return keep(z, upper_set(z, inside.sum(axis=-1, keepdims=True), ranked))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "ratios")

CASES = (
    # H = 1.142121; of the first two 0.661563, of the first three 0.993239; a H = 0.685; -p ln p of the first two 0.707766
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"a": 0.6}, (0, F(5, 8), 0, F(3, 8)), "the running sum of -p ln p, without normalising"),
    # 1.0279
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"a": 0.9}, (F(3, 19), F(10, 19), 0, F(6, 19)), "the token that crosses the bound stays"),
    # 0.8566; with ln 4 1.0397
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"a": 0.75}, (0, F(5, 8), 0, F(3, 8)), "a share of ln V"),
    # ln 4 = (2/3) ln 8
    Case(
        (F(1, 8), F(1, 8), 0, F(1, 8), F(1, 8), F(1, 8), F(1, 8), F(1, 8), F(1, 8)),
        {"a": 2 / 3},
        (F(1, 4), F(1, 4), 0, F(1, 4), F(1, 4), 0, 0, 0, 0),
        "a bound that is met is crossed; tied tokens all stay",
    ),
    Case((F(1, 5), F(2, 5), F(2, 5)), {"a": 0}, (0, 1, 0), "a = 0 switches the stage off, or keeps both maxima"),
)
