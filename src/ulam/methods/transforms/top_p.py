"""Top-p (nucleus): keep the smallest set of most likely tokens whose mass reaches p.

Math      order the support by probability, ties by id; c_j = mass of the first j. Keep the first j tokens with the
          smallest j such that c_j >= p; the token that crosses stays. Among tokens tied at the cut the lowest ids stay.
          Mass is measured on the row as it enters the stage, normalised over the support left by earlier stages.
Shapes    logits [B, V] nats; p scalar or [B], a probability, [0, 1]; returns [B, V].
Neutral   p = 1 (nothing is computed)
Edges     p = 0 keeps one token; V = 1 is unchanged. c_j >= p has a slack of 2^-40 (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1]; for a value that looks like a per cent the message shows the fraction.
Cost      O(V log V): one sort of the row's values.
Claims    base, order, argmax, relabel, monotone (the kept set grows with p), ratios. Not idempotent: (1/2, 1/4, 1/4) with
          p = 0.6 keeps two tokens, then one. Does not commute with temperature.
Source    Holtzman, Buys, Du, Forbes, Choi 2019, "The curious case of neural text degeneration", arXiv 1904.09751.
Elsewhere transformers and vLLM sum from the tail and drop while the tail mass <= 1 - p, so among ties the highest ids
          survive. SGLang: one token more at exact equality, measured before top_k. llama.cpp, koboldcpp, ollama: as here,
          tie order unspecified; defaults 0.95 (llama.cpp) and 0.9 (ollama) apply unless written. p = 0: vLLM and SGLang
          refuse, mlx-lm and ollama switch the stage off. exllamav2 and exllamav3 drop the crossing token, and exllamav2 then goes
          on with smaller ones that still fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

from ...core.arrays import Array, keep, namespace, reach, slack, sort_down, upper_set
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class TopP(Transform):
    p: float = parameter(float, "[0, 1]", neutral=1, help="mass that the kept tokens reach")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        ranked = sort_down(z)
        count = reach(xp.exp(ranked - ranked[:, :1]), self.p, slack(z))
        return keep(z, upper_set(z, count, ranked))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "ratios")

CASES = (
    Case((F(1, 4), F(1, 2), F(1, 4)), {"p": 0.75}, (F(1, 3), F(2, 3), 0), "a mass equal to p does not suffice; the higher of two tied ids stays"),
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"p": 0.81}, (F(3, 19), F(10, 19), 0, F(6, 19)), "the crossing token goes"),
    Case((F(1, 8), F(1, 8), F(5, 8), 0, F(1, 8)), {"p": 0.7}, (F(1, 6), 0, F(5, 6), 0, 0), "all tokens tied with the last kept one stay"),
    Case((F(2, 10), F(1, 10), F(7, 10)), {"p": 0}, (0, 0, 1), "p = 0 switches the stage off, or empties the row"),
    Case((F(7, 16), F(1, 16), F(8, 16)), {"p": 0.99}, (F(7, 16), F(1, 16), F(8, 16)), "the least likely token goes although the rest falls short of p"),
)
