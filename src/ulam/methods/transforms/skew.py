"""Skew: raise the running sum of the row to a power, which moves mass along its order.

Math      C_k = mass of the first k tokens of the order, C_0 = 0, C_n = 1, gamma = e^x. The k-th token gets
          q_k = C_k^gamma - C_(k-1)^gamma, and z' = ln q. x > 0 moves mass towards less likely tokens, x < 0 towards the most
          likely. Drawing from q is drawing from p with u^(1/gamma) in place of u.
Shapes    logits [B, V] nats; x scalar or [B], no unit, [-20, 20]; returns [B, V], log-probabilities.
Neutral   x = 0
Edges     every possible token stays possible, -inf stays -inf; tied tokens do not stay tied, since the order of their ids counts;
          V = 1 is unchanged.
Errors    OutOfRange outside [-20, 20].
Cost      O(V log V): one sort with places.
Claims    base, relabel. Not order, not argmax. The mean place in the order never falls as x grows; the entropy may go either way, so
          `monotone` is not claimed. Does not commute with temperature.
Source    turboderp 2024, exllamav2; there is no paper.
Elsewhere exllamav2 `skew`: the same law, by raising the uniform to e^-x; it is the last stage there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import log

import numpy as np

from ...core.arrays import Array, like, to_numpy
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class Skew(Transform):
    x: float = parameter(float, "[-20, 20]", neutral=0, help="above 0 towards less likely tokens, below towards the most likely")

    def apply(self, z: Array, context: Context) -> Array:
        # running sums are made on the host in float64, one after the other
        row = to_numpy(z).astype(np.float64)
        order = np.argsort(-row, axis=-1, kind="stable")
        down = np.take_along_axis(row, order, axis=-1)
        down = down - down[:, :1]
        weights = np.exp(down)
        mass = np.cumsum(weights, axis=-1)
        # what is left after k tokens, summed from the far end, so that a small rest is exact: a large gamma raises 1 - rest to it
        rest = np.pad(np.cumsum(weights[:, ::-1], axis=-1)[:, -2::-1], ((0, 0), (0, 1)))
        rest = rest / (mass + rest)
        log_mass = np.where(rest < 0.5, np.log1p(-rest), np.log(mass / mass[:, -1:]))
        # q_k = C_k^gamma (1 - (1 - p_k / C_k)^gamma)
        log_share = down - np.log(mass)
        x = np.reshape(self.x, (-1, 1))
        gained = np.log(-np.expm1(np.exp(x) * np.log1p(-np.exp(log_share))))
        # of a share below e^-60 gamma times it is left, to rounding
        gained = np.where(log_share < -60, log_share + x, gained)
        out = np.empty_like(row)
        np.put_along_axis(out, order, np.exp(x) * log_mass + gained, axis=-1)
        return like(z, out)


CLAIMS = (*BASE, "relabel")

CASES = (
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"x": 0.5},
        (0.226723504834, 0.318922707972, 0.081091150055, 0.373262637139),
        "gamma is x; the running sum goes by id",
    ),
    # C = 0.49, 0.81, 1: their roots are 0.7, 0.9, 1
    Case((F(8, 25), F(49, 100), F(19, 100)), {"x": -log(2)}, (F(1, 5), F(7, 10), F(1, 10)), "the sign of x is turned"),
    # C = 3/5, 4/5, 1: their squares are 9/25, 16/25, 1
    Case((F(1, 5), F(3, 5), 0, F(1, 5)), {"x": log(2)}, (F(7, 25), F(9, 25), 0, F(9, 25)), "of tied tokens the higher id comes first; -inf comes back"),
    # C = 1/4, 1/2, 3/4, 1
    Case((F(1, 4), F(1, 4), F(1, 4), F(1, 4)), {"x": log(2)}, (F(1, 16), F(3, 16), F(5, 16), F(7, 16)), "tied tokens stay tied"),
)
