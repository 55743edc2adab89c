"""Top-n-sigma: drop tokens whose logit is more than n standard deviations below the largest.

Math      sigma = population standard deviation of { z_i : z_i > -inf }. Keep every i with z_i >= max z - n sigma. All tokens at the
          threshold stay. A temperature scales both sides alike, so it never changes what is kept.
Shapes    logits [B, V] nats; n scalar or [B], a number of standard deviations, (0, inf]; returns [B, V].
Neutral   n = inf
Edges     sigma = 0 keeps all; forbidden tokens do not count in sigma; V = 1 is unchanged; n counts as at most 1e30. The comparison has
          a slack of 2^-40 max(1, n sigma) nats (float32: 2^-20) for rounding.
Errors    OutOfRange for 0 and below, with inf as the way to switch it off.
Cost      O(V), two passes after the maximum.
Claims    base, order, argmax, relabel, monotone (the kept set grows with n), ratios, scale_free. Not idempotent: what is left has
          a smaller sigma.
Source    Tang et al. 2024, "Top-n sigma: not all logits are you need", arXiv 2411.07641.
Elsewhere llama.cpp `top_n_sigma`: the same, off at 0 and below, before top_k. koboldcpp `nsigma`: what a bias has forbidden counts
          in sigma; older versions subtract 999 in place of a cut. text-generation-webui: forbidden tokens count as 0, and sigma is the sample deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF

import numpy as np

from ...core.arrays import Array, column, keep, like, namespace, row_max, row_sum, slack, support
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class TopNSigma(Transform):
    n: float = parameter(float, "(0, inf]", neutral=INF, help="standard deviations below the largest logit that stay")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        possible = support(z)
        # halves, for two finite logits may lie further apart than the largest float
        below = xp.where(possible, z / 2 - row_max(z) / 2, like(z, 0.0))
        count = row_sum(xp.astype(possible, z.dtype))
        # squares are taken of numbers up to 1, so that none overflows, and 0 n sigma is 0 for the largest n
        scale = row_max(xp.abs(below))
        scale = xp.where(scale > like(z, 0.0), scale, like(z, 1.0))
        unit = below / scale
        away = xp.where(possible, unit - row_sum(unit) / count, like(z, 0.0))
        reach = column(np.minimum(self.n, 1e30), z) * (scale * xp.sqrt(row_sum(away * away) / count))
        return keep(z, below >= -reach - slack(z) * xp.clip(reach, 0.5, None))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "ratios", "scale_free")

CASES = (
    # mean 2, variance 5/2: 4 - 1.8 sigma = 1.154, with the sample's variance 10/3 0.714
    Case((0, 4, 1, 3), {"n": 1.8}, (-INF, 4, -INF, 3), "the sample deviation", logits=True),
    # sigma of 4, 5, 6 is 0.816: 6 - 2 sigma = 4.367; with a 0 among them 1.447
    Case((-INF, 4, 5, 6), {"n": 2}, (-INF, -INF, 5, 6), "a forbidden token counts as 0", logits=True),
    Case((0, 2, 0, 2), {"n": 2}, (0, 2, 0, 2), "a token at the threshold goes", logits=True),
    Case((-3, -3, -3), {"n": 0.5}, (-3, -3, -3), "an even row is emptied, or cut to one token", logits=True),
    # of the logarithms: mean -2.612, sigma 1.135; the threshold is exp(-0.916 - 1.135) = 0.1286
    Case(
        (F(1, 50), F(2, 5), F(3, 20), F(1, 5), F(7, 100), F(1, 10), F(1, 20), F(1, 100)),
        {"n": 1},
        (0, F(8, 15), F(3, 15), F(4, 15), 0, 0, 0, 0),
        "counted from the mean; the deviation of the probabilities",
    ),
)
