"""Top-k: keep the k most likely tokens.

Math      order the support by logit, ties by id; keep the first k, which are exactly min(k, n) of n possible tokens. Among
          tokens tied at the cut the lowest ids stay.
Shapes    logits [B, V] nats; k scalar or [B], a number of tokens, integer, [0, inf); returns [B, V].
Neutral   k = 0 (nothing is computed)
Edges     k >= n returns the row bit for bit; k = 1 keeps the first maximum; -inf never enters; V = 1 is unchanged.
Errors    OutOfRange for a negative k or one with a fraction; the message names 0 as the way to switch it off.
Cost      O(V log V): one sort of the row's values.
Claims    base, order, argmax, relabel, monotone (the kept set grows with k), idempotent, ratios, scale_free
Source    Fan, Lewis, Dauphin 2018, "Hierarchical neural story generation", arXiv 1805.04833.
Elsewhere transformers and vLLM's torch path: every token tied with the k-th stays, so more than k may; transformers applies
          k = 50 by default. vLLM's kernel: exactly k. llama.cpp (default 40), SGLang (-1 is off, 0 refused), mlx-lm (k below
          V), ollama: exactly k, tie order unspecified. exllamav3's fused kernel keeps ties; exllamav2 defaults to 50.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np

from ...core.arrays import Array, keep, upper_set
from ...core.claims import BASE, Case
from ...core.context import Context
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class TopK(Transform):
    k: int = parameter(int, "[0, inf)", neutral=0, unit="tokens", help="how many tokens stay; 0 keeps all")

    def apply(self, z: Array, context: Context) -> Array:
        count = np.minimum(self.k, z.shape[-1])
        return keep(z, upper_set(z, np.reshape(count, (-1, 1)).astype(np.int64)))


CLAIMS = (*BASE, "order", "argmax", "relabel", "monotone", "idempotent", "ratios", "scale_free")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"k": 2}, (0, F(5, 8), 0, F(3, 8)), "the first k ids stay; the k-th token goes"),
    Case((F(1, 8), F(1, 4), F(3, 8), F(1, 4)), {"k": 2}, (0, F(2, 5), F(3, 5), 0), "all tokens tied with the k-th stay, or the highest id does"),
    Case((F(2, 5), F(1, 5), F(2, 5)), {"k": 1}, (1, 0, 0), "both maxima stay"),
    Case((0, F(5, 8), 0, F(1, 8), F(1, 4)), {"k": 3}, (0, F(5, 8), 0, F(1, 8), F(1, 4)), "forbidden tokens count among the k"),
    Case((F(2, 10), F(7, 10), F(1, 10)), {"k": 0}, (F(2, 10), F(7, 10), F(1, 10)), "k = 0 keeps one token, or none"),
)
