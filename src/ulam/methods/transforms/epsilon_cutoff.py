"""Epsilon cutoff: drop tokens whose probability is below a fixed number.

Math      keep every i with p_i >= e, and the first maximum in any case. All tokens at the threshold stay.
          Computed as ln p_i >= ln e.
Shapes    logits [B, V] nats; e scalar or [B], a probability, [0, 1); returns [B, V].
Neutral   e = 0
Edges     e above max p keeps the first maximum alone; -inf never enters; V = 1 is unchanged. The comparison has a slack of 2^-40
          nats (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1).
Cost      O(V): a maximum and a sum.
Claims    base, order, argmax, relabel, monotone (the kept set shrinks as e grows), idempotent, ratios. Does not commute with
          temperature.
Source    Hewitt, Manning, Liang 2022, "Truncation sampling as language model desmoothing", arXiv 2210.15191, with e in
          3e-4 to 9e-4.
Elsewhere transformers `epsilon_cutoff`: the same value and rule, but where e is above max p every token tied with the maximum stays;
          0 or less, or 1 and more, switches it off without a word. text-generation-webui: the value is in units of 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, column, first_max, is_token, keep, log_softmax, slack
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class EpsilonCutoff(Transform):
    e: float = parameter(float, "[0, 1)", neutral=0, help="least probability that stays")

    def apply(self, z: Array, context: Context) -> Array:
        # the logarithm is taken in float64: in float32 a tiny e would be 0
        likely = log_softmax(z) >= column(np.log(self.e), z) - slack(z)
        return keep(z, likely | is_token(z, first_max(z)))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "idempotent", "ratios")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"e": 0.16}, (0, F(5, 8), 0, F(3, 8)), "a ratio to the maximum; units of 1e-4"),
    Case((F(1, 8), F(1, 2), F(1, 16), F(1, 4), F(1, 16)), {"e": 0.125}, (F(1, 7), F(4, 7), 0, F(2, 7), 0), "a token at the threshold goes"),
    Case((F(3, 25), F(3, 5), F(3, 25), F(4, 25)), {"e": 0.15}, (0, F(15, 19), 0, F(4, 19)), "a tail of mass e goes, and not every token below e"),
    Case((F(1, 5), F(2, 5), F(2, 5)), {"e": 0.6}, (0, 1, 0), "no token is left, or both maxima are"),
    Case((0, F(3, 8), F(1, 4), F(3, 8)), {"e": 0.3}, (0, F(1, 2), 0, F(1, 2)), "the first maximum alone stays"),
)
