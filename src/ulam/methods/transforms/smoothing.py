"""Smoothing: bend the logits into a parabola below the largest, so that near ones come nearer and far ones go further.

Math      d_i = z_i - max z, k = factor (3 - curve) / 2, c = factor (curve - 1) / 2; z'_i = max z - k d_i^2 + c d_i^3 for the possible
          tokens. With curve = 1 the parabola alone: tokens less than 1 / factor nats below the largest gain on it, others lose.
          For curve in [1, 3] both terms fall with distance, so the order stays.
Shapes    logits [B, V] nats; factor scalar or [B], 1 / nat, [0, inf); curve scalar or [B], no unit, [1, 3]; returns [B, V].
Neutral   factor = 0, which the formula does not give: it would make all tokens equal
Edges     -inf stays -inf, and no other token becomes impossible: a drop is at most 1e30 nats; equal logits stay equal;
          factor counts as at least 1e-37 and at most 1e30; a drop too small to show beside the maximum is the least that
          does, so the maximum stays alone; V = 1 is unchanged.
Errors    OutOfRange for a negative factor, or a curve outside [1, 3].
Cost      O(V), one pass after the maximum.
Claims    base, order, argmax, relabel, monotone (the entropy falls as factor grows above 0, where it divides a temperature). Does not
          commute with temperature.
Source    kalomaze 2024, "quadratic sampling", in text-generation-webui; the cubic term came later. There is no paper.
Elsewhere `smoothing_factor` and `smoothing_curve` in text-generation-webui: the same, but the maximum is that of the whole batch, and
          curve may exceed 3, where the order is not kept. koboldcpp: inside its temperature stage, after the division, at first
          without a curve. exllamav2: factor only, with temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF

import numpy as np

from ...core.arrays import Array, column, like, namespace, neg_inf, row_max, support
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class Smoothing(Transform):
    factor: float = parameter(float, "[0, inf)", neutral=0, unit="1/nat", help="how steep the parabola is; 0 switches it off")
    curve: float = parameter(float, "[1, 3]", default=1, help="1 is a parabola, 3 a cubic")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        # within these ends it is neither 0 nor infinite in float32
        factor = np.clip(self.factor, 1e-37, 1e30)
        square, cube = factor * (3 - self.curve) / 2, factor * (self.curve - 1) / 2
        top = row_max(z)
        # a distance beyond the largest float is finite here, so that in this order no infinity meets a 0 or one of the other sign
        down = xp.where(support(z), xp.clip(z - top, -1e38, None), like(z, 0.0))
        drop = (down * down) * (column(cube, z) * down - column(square, z))
        bent = xp.minimum(top + xp.clip(drop, -1e30, None), xp.nextafter(top, neg_inf(z)))
        return xp.where(support(z) & (z < top), bent, z)


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone")

CASES = (
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"factor": 0.3},
        (0.233207347233, 0.360248155277, 0.073422004612, 0.333122492878),
        "the drop is linear, as with a temperature",
    ),
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"factor": 0.3, "curve": 3},
        (0.229714283835, 0.387766018087, 0.009954061366, 0.372565636711),
        "curve does nothing; the parabola stays beside the cubic",
    ),
    # d = -2, 0, -1 with k = 0.5
    Case((1, 3, 2), {"factor": 0.5}, (1, 3, 2.5), "the row is re-centred, or squared as it comes", logits=True),
    # d = -2, -, 0, -1 with k = c = 0.2: -0.8 - 1.6, -0.2 - 0.2
    Case((1, -INF, 3, 2), {"factor": 0.4, "curve": 2}, (0.6, -INF, 3, 2.6), "the cubic term has the other sign; -inf comes back", logits=True),
    Case((F(1, 8), F(5, 8), F(1, 4)), {"factor": 0}, (F(1, 8), F(5, 8), F(1, 4)), "factor 0 makes the row flat"),
)
