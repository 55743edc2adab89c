"""Tail-free: cut where the curve of falling probabilities has used up its bends.

Math      q_1 >= q_2 >= ... >= q_n the probabilities of the possible tokens. d_k = | q_k - 2 q_(k+1) + q_(k+2) | for k = 1 .. n - 2,
          D their sum, C_k = (d_1 + ... + d_k) / D. Keep the first i tokens, i the smallest k with C_k > z; if there is none,
          i = n - 1. Among tokens tied at the cut the lowest ids stay.
Shapes    logits [B, V] nats; z scalar or [B], a share of the bends, [0, 1]; returns [B, V].
Neutral   z = 1
Edges     n <= 2 or D <= delta is unchanged, delta = 2^-40 (float32: 2^-20); otherwise the least likely token always goes, and at
          least one stays. C_k > z is C_k > z + delta, for rounding. -inf has no place on the curve; V = 1 is unchanged.
Errors    OutOfRange outside [0, 1]; for a value that looks like a per cent the message shows the fraction.
Cost      O(V log V): one sort of the row's values.
Claims    base, order, argmax, relabel, monotone (the kept set grows with z), ratios. Not idempotent; does not commute with
          temperature.
Source    Bricken 2019, "Tail free sampling", a web article.
Elsewhere `tfs` in text-generation-webui and exllamav2: the same rule, in the former misled by a mask or a cut
          before it, in exllamav2 after probabilities below 1e-8 are dropped.
          koboldcpp: one token fewer, but at least one; all tokens where C never exceeds z; D <= 1e-6 counts as flat. llama.cpp
          and ollama have removed it.
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
class TailFree(Transform):
    z: float = parameter(float, "[0, 1]", neutral=1, help="share of the curve's bends that comes before the cut")

    def apply(self, z: Array, context: Context) -> Array:
        ranked, delta = sort_down(z), slack(z)
        # running sums are made on the host in float64, one after the other
        down = to_numpy(ranked).astype(np.float64)
        weights = np.exp(down - down[:, :1])
        q = np.pad(weights / np.cumsum(weights, axis=-1)[:, -1:], ((0, 0), (0, 2)))
        n = (down > -np.inf).sum(axis=-1, keepdims=True)
        bends = np.where(np.arange(z.shape[-1]) < n - 2, np.abs(q[:, :-2] - 2 * q[:, 1:-1] + q[:, 2:]), 0.0)
        so_far = np.cumsum(bends, axis=-1)
        whole = so_far[:, -1:]
        cut = (so_far / whole <= np.reshape(self.z, (-1, 1)) + delta).sum(axis=-1, keepdims=True) + 1
        return keep(z, upper_set(z, np.where(whole <= delta, n, np.minimum(cut, n - 1)), ranked))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "ratios")

CASES = (
    # d = 0.05, 0.1, 0: C = 1/3, 1, 1
    Case((F(3, 20), F(2, 5), F(1, 20), F(3, 10), F(1, 10)), {"z": 0.5}, (0, F(4, 7), 0, F(3, 7), 0), "one token fewer; the first differences"),
    Case((F(3, 20), F(2, 5), F(1, 20), F(3, 10), F(1, 10)), {"z": 0.3}, (0, 1, 0, 0, 0), "the sign of a bend counts: C = -1, 1, 1"),
    # d = 1/8, 1/8: C = 1/2, 1
    Case((F(1, 8), F(1, 2), F(1, 8), F(1, 4)), {"z": 0.5}, (0, F(2, 3), 0, F(1, 3)), "a share equal to z suffices"),
    Case((F(1, 4), F(1, 4), 0, F(1, 4), F(1, 4)), {"z": 0.5}, (F(1, 4), F(1, 4), 0, F(1, 4), F(1, 4)), "a flat row is cut; -inf is on the curve"),
    Case((0, F(3, 4), F(1, 4)), {"z": 0.1}, (0, F(3, 4), F(1, 4)), "one of two tokens goes"),
    # three tokens have one bend, d = 5/16
    Case((F(1, 8), F(7, 16), F(7, 16)), {"z": 0.9}, (0, 1, 0), "two tied tokens stay; the curve goes on to 0 beyond the last token"),
)
