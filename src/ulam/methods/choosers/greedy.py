"""Greedy: the most likely token, the lowest id among equals.

Math      argmax z. The law is a point mass: the recipe log-prob is 0. Over whole texts it is a mode of each step, not the
          most likely text, and it can be far from typical: on i.i.d. tokens (1/2, 1/4, 1/4) it only ever says the first.
Shapes    logits [B, V]; returns token ids [B].
Neutral   none
Edges     ties give the lowest id; V = 1 gives token 0.
Errors    none of its own
Cost      O(V)
Claims    deterministic, batch, history, fork, scale_free. After stages that all claim `argmax` those stages are irrelevant.
Source    folklore
Elsewhere transformers: `do_sample=False`. vLLM, SGLang, llama.cpp, ollama: temperature 0. Their tie rule is unspecified.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array, first_max, is_token, like, namespace, to_numpy
from ...core.claims import Case
from ...core.context import Context
from ...core.method import Chooser
from ...core.noise import Address, Noise


@dataclass(frozen=True)
class Greedy(Chooser):
    def law(self, z: Array, context: Context) -> Array:
        return namespace(z).where(is_token(z, first_max(z)), like(z, 0.0), like(z, -np.inf))

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return to_numpy(first_max(z)).astype(np.int64)


CLAIMS = ("deterministic", "batch", "history", "fork", "scale_free")

CASES = (
    Case((F(1, 4), F(1, 2), F(1, 4)), {}, 1, "the last token, or a draw"),
    Case((F(1, 5), F(2, 5), F(2, 5)), {}, 1, "the highest id among equals"),
    Case((0, F(1, 8), F(1, 8), F(3, 4)), {}, 3, "the first possible token"),
)
