"""Min-p: drop tokens less likely than a fraction of the most likely one.

Math      keep every i with p_i >= a max p, that is z_i - max z >= ln a. All tokens at the threshold stay, and the most likely
          token always does. A fixed number of nats below the maximum: the cut is wide where the row is flat.
Shapes    logits [B, V] nats; a scalar or [B], a ratio of probabilities, [0, 1]; returns [B, V].
Neutral   a = 0
Edges     a = 1 keeps all tied maxima; -inf never enters; V = 1 is unchanged. The comparison of logits has a
          slack of 2^-40 nats (float32: 2^-20) for rounding.
Errors    OutOfRange outside [0, 1]; for a value that looks like a per cent the message shows the fraction.
Cost      O(V), one pass after the maximum; nothing is normalised.
Claims    base, order, argmax, relabel, monotone (the kept set shrinks as a grows), idempotent, ratios. Does not commute with
          temperature: `min_p=a temperature=T` equals `temperature=T min_p=a^(1/T)`.
Source    Nguyen, Baker, Neo, Roush, Kirsch, Shwartz-Ziv 2024, "Turning up the heat: min-p sampling for creative and coherent
          LLM outputs", arXiv 2407.01082; first in llama.cpp by kalomaze, 2023. Critique: Schaeffer, Kazdan,
          Denisov-Blanch 2025, "Min-p, max exaggeration", arXiv 2506.13681.
Elsewhere the same formula everywhere; the place differs: after temperature in transformers, vLLM, SGLang, exllama and ollama,
          before it in llama.cpp (which applies 0.05 by default), koboldcpp and mlx-lm.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, column, keep, row_max, slack
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class MinP(Transform):
    a: float = parameter(float, "[0, 1]", neutral=0, help="least probability that stays, as a fraction of the largest")

    def apply(self, z: Array, context: Context) -> Array:
        # the logarithm is taken in float64: in float32 a tiny a would be 0
        return keep(z, z - row_max(z) >= column(np.log(self.a), z) - slack(z))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "idempotent", "ratios")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"a": 0.31}, (0, F(5, 8), 0, F(3, 8)), "a difference to the maximum instead of a ratio"),
    Case((F(1, 5), F(2, 5), F(3, 10), F(1, 10)), {"a": 0.3}, (F(2, 9), F(4, 9), F(3, 9), 0), "a ratio to the sum: p_i >= a"),
    Case((F(1, 8), F(1, 2), F(1, 16), F(1, 4), F(1, 16)), {"a": 0.25}, (F(1, 7), F(4, 7), 0, F(2, 7), 0), "a token at the threshold goes"),
    Case((0, F(3, 8), F(1, 4), F(3, 8)), {"a": 1}, (0, F(1, 2), 0, F(1, 2)), "a = 1 keeps one of two tied maxima"),
    Case((F(1, 16), F(7, 16), F(8, 16)), {"a": 0.125}, (F(1, 16), F(7, 16), F(8, 16)), "the threshold is a max p squared, or the row is cut at equality"),
)
