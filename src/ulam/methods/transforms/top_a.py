"""Top-a: drop tokens less likely than a times the square of the largest probability.

Math      keep every i with p_i >= a (max p)^2. All tokens at the threshold stay, and the most likely token always does, since
          a (max p)^2 <= max p. A sure row is cut hard and a flat one hardly at all.
          Computed as s_i >= ln a + ln max p with s_i = z_i - max z.
Shapes    logits [B, V] nats; a scalar or [B], no unit, [0, 1]; returns [B, V].
Neutral   a = 0
Edges     a = 1 still keeps every token as likely as (max p)^2; -inf never enters; V = 1 is unchanged. The comparison has a slack
          of 2^-40 nats (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1]; for a value that looks like a per cent the message shows the fraction.
Cost      O(V): a maximum and a sum.
Claims    base, order, argmax, relabel, monotone (the kept set shrinks as a grows), ratios. Not idempotent: what is left has a larger
          maximum, so a second pass may drop more. Does not commute with temperature.
Source    BlinkDL (Peng Bo) 2022, in the repository of RWKV-LM; there is no paper.
Elsewhere `top_a` in koboldcpp, text-generation-webui and exllamav2: the same rule; exllamav2 and text-generation-webui after
          temperature, koboldcpp before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, column, keep, log_softmax, row_max, slack
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class TopA(Transform):
    a: float = parameter(float, "[0, 1]", neutral=0, help="least probability that stays, as a fraction of the largest one squared")

    def apply(self, z: Array, context: Context) -> Array:
        # the logarithm is taken in float64: in float32 a tiny a would be 0
        return keep(z, z - row_max(z) >= column(np.log(self.a), z) + row_max(log_softmax(z)) - slack(z))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "ratios")

CASES = (
    # threshold 0.7 / 4 = 0.175
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"a": 0.7}, (0, F(5, 8), 0, F(3, 8)), "the maximum is not squared: 0.35; or a alone: 0.7"),
    # 1/2 (1/2)^2 = 1/8
    Case((F(1, 8), F(1, 2), F(1, 16), F(1, 4), F(1, 16)), {"a": 0.5}, (F(1, 7), F(4, 7), 0, F(2, 7), 0), "a token at the threshold goes"),
    # 0.5 * 0.36 = 0.18; with the sum of squares 0.5 * 0.42 = 0.21
    Case((F(1, 10), F(3, 5), F(1, 5), F(1, 10)), {"a": 0.5}, (0, F(3, 4), F(1, 4), 0), "the sum of all squares in place of the largest"),
    # 9/64 < 1/4
    Case((0, F(3, 8), F(1, 4), F(3, 8)), {"a": 1}, (0, F(3, 8), F(1, 4), F(3, 8)), "a = 1 keeps the maxima alone"),
    # 0.03 * 0.9216 = 0.0276
    Case((F(3, 100), F(24, 25), F(1, 100)), {"a": 0.03}, (F(1, 33), F(32, 33), 0), "a is squared too: 0.0008 would keep all three"),
)
