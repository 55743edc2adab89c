"""Dynamic temperature: a temperature between two ends, by how uncertain the row is.

Math      n = number of possible tokens, H the entropy of the row, r = H / ln n clipped to [0, 1],
          T = low + (high - low) r^exponent with 0^0 = 1; then as temperature with T. A sure row gets low, a flat one high.
          The same as temperature=entropy(low, high, exponent), where that does not leave a row of one possible token alone.
Shapes    logits [B, V] nats; low and high scalar or [B], no unit, [0, inf), in any order; exponent scalar or [B], no unit,
          [0, inf); returns [B, V].
Neutral   low = 1 with high = 1
Edges     T = 0 keeps the first maximum; n = 1 and V = 1 are unchanged; exponent = 0 is temperature=high; forbidden tokens do not
          count in n.
Errors    OutOfRange for a negative, infinite or NaN value.
Cost      O(V), two passes after the maximum.
Claims    base, order, argmax, relabel. Not monotone: where low lies above high, or the row moves, entropy may go either way.
Source    kalomaze 2023, in a fork of koboldcpp; there is no paper. Zhang et al. 2024, "EDT", arXiv 2403.14541, has another
          formula: T = T0 N^(theta / H).
Elsewhere llama.cpp and koboldcpp: `dynatemp_range` d and `dynatemp_exponent` beside a temperature T, low = max(0, T - d), high = T + d;
          n there counts tokens that a bias has forbidden, so r is smaller after a ban. text-generation-webui: `dynatemp_low`,
          `dynatemp_high`, `dynatemp_exponent`, beside its temperature. exllamav2: `min_temp`, `max_temp`, `temp_exponent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, support, to_numpy
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter
from ...core.schedule import entropy_values
from ...core.tempering import tempered


@dataclass(frozen=True)
class DynamicTemperature(Transform):
    together = {"low": 1, "high": 1}

    low: float = parameter(float, "[0, inf)", help="temperature of a row of entropy 0")
    high: float = parameter(float, "[0, inf)", help="temperature of a flat row")
    exponent: float = parameter(float, "[0, inf)", default=1, help="above 1, rows must be flatter to come near to high")

    def apply(self, z: Array, context: Context) -> Array:
        several = to_numpy(support(z)).sum(axis=-1) > 1
        T = entropy_values(z, self.low, self.high, self.exponent)
        return tempered(z, np.where(several, T, 1.0))


CLAIMS = (*BASE, "order", "argmax", "relabel")

CASES = (
    # r = 1.142121 / ln 4 = 0.823866, T = 1.323866
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"low": 0.5, "high": 1.5},
        (0.178345428022, 0.442818379727, 0.077778913610, 0.301057278641),
        "r turned round: a flat row gets low",
    ),
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"low": 1.5, "high": 0.5},
        (0.100823505055, 0.598269893598, 0.019856447900, 0.281050153446),
        "the ends are sorted",
    ),
    # T = 2 r^2
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"low": 0, "high": 2, "exponent": 2},
        (0.180536038341, 0.438267414824, 0.080370301238, 0.300826245597),
        "no exponent, or one on T",
    ),
    # r = H / ln 3
    Case(
        (F(1, 16), F(9, 16), 0, F(6, 16)),
        {"low": 0.5, "high": 1.5},
        (0.094912376293, 0.523239698211, 0, 0.381847925496),
        "forbidden tokens count in n",
    ),
    Case((F(3, 10), F(1, 2), F(1, 20), F(3, 20)), {"low": 9, "high": 0.5, "exponent": 0}, (F(36, 146), F(100, 146), F(1, 146), F(9, 146)), "exponent 0 is low"),
    Case((F(1, 5), F(2, 5), F(2, 5)), {"low": 0, "high": 0}, (0, 1, 0), "a division by 0; both maxima stay"),
)
