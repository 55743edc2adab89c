"""Eta cutoff: drop tokens whose probability is below a number that falls as the entropy rises.

Math      H = -sum p_i ln p_i, eta = min(e, sqrt(e) exp(-H)). Keep every i with p_i >= eta, and the first maximum in any case,
          although exp(-H) <= max p makes it pass anyway. All tokens at the threshold stay.
          Computed as ln p_i >= min(ln e, (ln e) / 2 - H).
Shapes    logits [B, V] nats; e scalar or [B], a probability, [0, 1); returns [B, V].
Neutral   e = 0
Edges     the square root is of e alone; a flat row is never cut, since sqrt(e) exp(-H) < p_i there; -inf never enters;
          V = 1 is unchanged. The comparison has a slack of 2^-40 nats (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1).
Cost      O(V): a maximum, a sum and an entropy.
Claims    base, order, argmax, relabel, monotone (the kept set shrinks as e grows), ratios. Not idempotent: what is left has a
          smaller entropy, so a second pass may drop more. Does not commute with temperature.
Source    Hewitt, Manning, Liang 2022, "Truncation sampling as language model desmoothing", arXiv 2210.15191, with e in
          3e-4 to 4e-3 and alpha = sqrt(e).
Elsewhere transformers `eta_cutoff`: the same rule, with e rounded to float32; its text writes sqrt(e exp(-H)), its code computes
          sqrt(e) exp(-H); 0 or less, or 1 and more, switches it off without a word. text-generation-webui: the value is in units of 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, entropy, first_max, is_token, keep, like, log_softmax, namespace, slack
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class EtaCutoff(Transform):
    e: float = parameter(float, "[0, 1)", neutral=0, help="largest probability that is cut, lowered where the entropy is high")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        log_probs = log_softmax(z)
        log_e = like(z, np.reshape(np.log(self.e), (-1, 1)))
        eta = xp.minimum(log_e, log_e / 2 - entropy(log_probs))
        return keep(z, (log_probs >= eta - slack(z)) | is_token(z, first_max(z)))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "ratios")

CASES = (
    # H = 1.142121: sqrt(0.45) exp(-H) = 0.2141; e = 0.45, sqrt(e exp(-H)) = 0.379, with H in bits 0.1291
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"e": 0.45}, (0, F(5, 8), 0, F(3, 8)), "the cut is e; the root is of the product; H is in bits"),
    # H = 0.518187: sqrt(0.06) exp(-H) = 0.1459
    Case((F(1, 20), F(17, 20), F(1, 10)), {"e": 0.06}, (0, F(17, 19), F(2, 19)), "sqrt(e) exp(-H) though e is smaller"),
    # H = 1.875 ln 2: 2^-2 2^-1.875 = 0.068
    Case((F(1, 8), F(1, 2), F(1, 16), F(1, 4), F(1, 16)), {"e": 0.0625}, (F(1, 8), F(1, 2), F(1, 16), F(1, 4), F(1, 16)), "a token at the threshold goes"),
    # H = 1.082196 over three tokens: sqrt(0.6) exp(-H) = 0.2625
    Case((0, F(3, 8), F(1, 4), F(3, 8)), {"e": 0.6}, (0, F(1, 2), 0, F(1, 2)), "of two maxima the first alone stays; a forbidden token spoils H"),
    Case((F(1, 4), F(1, 4), F(1, 4), F(1, 4)), {"e": 0.3}, (F(1, 4), F(1, 4), F(1, 4), F(1, 4)), "a flat row is cut"),
)
