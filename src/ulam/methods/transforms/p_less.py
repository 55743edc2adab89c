"""P-less: drop tokens less likely than the chance that two draws from the row agree.

Math      L = sum p_i^2; keep every i with p_i >= L, and the first maximum in any case, although L <= max p makes it pass anyway.
          norm=true takes L' = L - (1 - L) / (V - 1) = (V L - 1) / (V - 1) in place of L, V the length of the row with its
          forbidden tokens: the chance of agreeing, less V times what a pair of different tokens has on average. L' <= L, so
          no fewer tokens stay. All tokens at the threshold stay.
Shapes    logits [B, V] nats; norm true or false, one for all rows; returns [B, V].
Neutral   none
Edges     a flat row is unchanged; -inf never enters; V = 1 is unchanged. The comparison is p_i >= L (1 - 2^-40) (float32: 2^-20).
Errors    OutOfRange for a norm that is not true or false.
Cost      O(V): a maximum and two sums.
Claims    base without identity, order, argmax, relabel, ratios. Not idempotent: what is left has a larger L. Does not commute
          with temperature.
Source    Tan, Wu, Howard 2025, "p-less sampling: a robust hyperparameter-free approach for LLM decoding", arXiv 2509.23234.
Elsewhere in no released engine; proposed for transformers (41798), vLLM (45288; 48136, any Renyi order) and llama.cpp (26035, which lowers
          the threshold by 1e-5 against rounding).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

from ...core.arrays import Array, first_max, is_token, keep, row_sum, slack, softmax
from ...core.claims import Case, but
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class PLess(Transform):
    norm: bool = parameter(bool, default=False, help="whether the threshold is lowered by what chance alone gives, so that more stays")

    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        agree = row_sum(p * p)
        if self.norm:
            agree = agree - (1 - agree) / (z.shape[-1] - 1)
        return keep(z, (p >= agree * (1 - slack(z))) | is_token(z, first_max(z)))


CLAIMS = (*but("identity"), "order", "argmax", "relabel", "ratios")

CASES = (
    # L = 0.365
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {}, (0, 1, 0, 0), "the largest square in place of their sum: 0.25"),
    # L = 0.365, L' = 0.46 / 3 = 0.1533
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"norm": True}, (0, F(5, 8), 0, F(3, 8)), "norm changes nothing, or divides by V: 0.0913"),
    Case((F(1, 3), 0, F(1, 3), F(1, 3)), {}, (F(1, 3), 0, F(1, 3), F(1, 3)), "tokens at the threshold go"),
    # L = 0.395, L' = 0.58 / 3 = 0.1933; with V = 3 0.0925
    Case((0, F(1, 2), F(7, 20), F(3, 20)), {"norm": True}, (0, F(10, 17), F(7, 17), 0), "V counts possible tokens alone"),
    # L = 0.3632; exp(-H) = 0.3496
    Case((F(9, 25), F(11, 25), F(1, 5)), {"norm": False}, (0, 1, 0), "exp(-H) in place of the sum of squares"),
)
