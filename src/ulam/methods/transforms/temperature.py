"""Temperature: divide the logits, so that probabilities become p^(1/T), renormalised.

Math      z'_i = z_i / T for T > 0. T = 0: z_i at the first maximum, -inf elsewhere. T < 1 sharpens, T > 1 flattens.
          The support is unchanged for T > 0, except where (z_i - max z) / T overflows to -inf, the correct limit.
          Equal logits stay equal; T = 0 keeps the lowest id among tied maxima.
Shapes    logits [B, V] nats; T scalar or [B], no unit, [0, inf); returns [B, V].
Neutral   T = 1
Edges     -inf stays -inf; V = 1 is unchanged; T = 1e6 is uniform over the support up to rounding; T > 0 counts as at least
          1e-37 and at most 1e30. The row is not re-centred: a later stage that acts on the sign of a logit sees the sign
          it would see in the engines, unless max z / T overflows.
Errors    OutOfRange for a negative, infinite or NaN T; the message names the neutral value.
Cost      O(V), one pass after the maximum.
Claims    base, order, argmax, relabel, monotone (entropy grows with T), scale_free
Source    Ackley, Hinton, Sejnowski 1985, "A learning algorithm for Boltzmann machines", Cognitive Science 9.
Elsewhere `temperature` everywhere. transformers: 0 is an error, ignored unless sampling is on. vLLM: below 1e-5 greedy,
          (0, 0.01) is raised to 0.01, above 2 refused. SGLang: below 1e-6 becomes top_k=1. llama.cpp: 0 keeps the first
          maximum. koboldcpp: 0 becomes 1/256 with top_k=1. OpenAI: [0, 2]. Place in the order differs: llama.cpp
          divides after truncating, transformers and vLLM before.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

from ...core.arrays import Array
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter
from ...core.tempering import tempered


@dataclass(frozen=True)
class Temperature(Transform):
    T: float = parameter(float, "[0, inf)", neutral=1, help="divides the logits; 0 is argmax")

    def apply(self, z: Array, context: Context) -> Array:
        return tempered(z, self.T)


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "scale_free")

CASES = (
    Case((F(3, 10), F(1, 2), F(1, 20), F(3, 20)), {"T": 0.5}, (F(36, 146), F(100, 146), F(1, 146), F(9, 146)), "T multiplied instead of divided"),
    Case((F(1, 5), F(2, 5), F(2, 5)), {"T": 0}, (0, 1, 0), "argmax that keeps both maxima, or the last one"),
    Case((F(1, 16), F(9, 16), 0, F(6, 16)), {"T": 2}, (0.155051025722, 0.465153077165, 0, 0.379795897113), "an impossible token made possible; T squared"),
    Case((F(1, 8), F(5, 8), F(1, 4)), {"T": 1}, (F(1, 8), F(5, 8), F(1, 4)), "nothing changes at the neutral value"),
)
