"""Typical-p: keep the tokens whose surprise is nearest to the entropy, until their mass reaches p.

Math      l_i = ln p_i, H = -sum p_i l_i over the support, deviation d_i = | -l_i - H |. Order the support by deviation, smallest
          first, ties by id; keep the shortest prefix whose mass is at least p; the token that crosses stays. Deviations
          are rounded to a multiple of the slack (2^-40 in float64, 2^-20 in float32), so that values equal up to
          rounding tie.
Shapes    logits [B, V] nats; p scalar or [B], a probability, [0, 1]; returns [B, V].
Neutral   p = 1 (nothing is computed)
Edges     p = 0 keeps the single most typical token; the most likely token may go; V = 1 is unchanged. Mass >= p has a
          slack of 2^-40 (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1]; for a value that looks like a per cent the message shows the fraction.
Cost      O(V log V): two sorts.
Claims    base, relabel, monotone (the kept set grows with p), ratios. Not order, not argmax: a token more likely than the
          entropy suggests can be dropped. Does not commute with temperature.
Source    Meister, Pimentel, Wiher, Cotterell 2022, "Locally typical sampling", arXiv 2202.00666.
Elsewhere transformers: runs after min_p; tokens tied in deviation with the last one stay. llama.cpp `typ_p`, koboldcpp `typical`:
          stop when the mass exceeds p, so one token more at equality; run before top_p. In llama.cpp a token of probability 0 that is
          still in the list (a ban, top_n_sigma) makes the entropy NaN, and what is kept is then anything. exllamav2: reads p + ln p in
          place of ln p, and drops the crossing token unless it is the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

from ...core.arrays import Array, entropy, keep, log_softmax, namespace, reach, slack, upper_set
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class TypicalP(Transform):
    p: float = parameter(float, "[0, 1]", neutral=1, help="mass that the kept tokens reach")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        log_probs = log_softmax(z)
        typical = -xp.round(xp.abs(log_probs + entropy(log_probs)) / slack(z))
        order = xp.argsort(-typical, axis=-1, stable=True)
        count = reach(xp.exp(xp.take_along_axis(log_probs, order, axis=-1)), self.p, slack(z))
        return keep(z, upper_set(typical, count))


CLAIMS = (*BASE, "relabel", "monotone", "ratios")

CASES = (
    # d = (0.35, 0.35, 0.35): all tie, so the id decides
    Case((F(1, 4), F(1, 2), F(1, 4)), {"p": 0.25}, (1, 0, 0), "ties go to the more likely token; a mass equal to p does not suffice"),
    # d = (2.25, 0.75, 0.23, 0.05, 1.00, 0.64, 1.33, 2.94)
    Case(
        (F(1, 50), F(2, 5), F(3, 20), F(1, 5), F(7, 100), F(1, 10), F(1, 20), F(1, 100)),
        {"p": 0.36},
        (0, 0, F(1, 3), F(4, 9), 0, F(2, 9), 0, 0),
        "the most likely token always stays; the crossing token goes",
    ),
    # d = (0.76, 0.45, 1.85, 0.06) in nats; with the entropy in bits (0.25, 0.95, 1.35, 0.44)
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"p": 0.5}, (0, F(5, 8), 0, F(3, 8)), "the entropy in bits"),
    # d = (1.91, 0.29, -, 0.12)
    Case((F(1, 16), F(9, 16), 0, F(6, 16)), {"p": 0}, (0, 0, 0, 1), "p = 0 keeps the most likely token; a forbidden token has a deviation"),
    # d = (2.48, 0.36, 1.78): masses 0.85, 0.95, 1
    Case((F(1, 20), F(17, 20), F(1, 10)), {"p": 0.96}, (F(1, 20), F(17, 20), F(1, 10)), "the last token goes although the others fall short of p"),
)
