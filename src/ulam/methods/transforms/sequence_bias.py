"""Sequence bias: add a constant to the logit of the token that would complete a sequence.

Math      for every key a_1 ... a_n of the map, with value b: if n = 1, or the history in scope ends with a_1 ... a_(n-1), then
          z' of a_n is z + b. Biases that meet on one token add.
Shapes    logits [B, V] nats; map from sequences (a text, or a list of ids) to nats, finite, the same for all rows; returns [B, V].
Neutral   the empty map
Edges     a forbidden token stays forbidden; a change, the sum of what meets on a token, is clipped to +-1e30. A text is the one
          sequence that it is encoded as: write both " word" and "word" if both are meant.
Errors    OutOfRange for an infinite value or a sequence given twice; NeedsTokenizer for a text that no vocabulary has turned into
          ids; TokenOutOfRange for an id the row does not have.
Cost      O(V), and O(total length of the keys) a row
Claims    base without history, relabel
Source    transformers, `SequenceBiasLogitsProcessor`, 2023.
Elsewhere transformers: the same, with scope all and -inf as a ban.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf as INF
from typing import Any

import numpy as np

from ...core.arrays import Array, like
from ...core.claims import Case, but
from ...core.context import Context, Scope
from ...core.masks import ids_in
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class SequenceBias(Transform):
    map: Any = parameter(dict, "(-inf, inf)", items="sequence", neutral={}, unit="nats", help="what is added to the last token, by sequence")
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="all", help="where a sequence may have begun")

    def apply(self, z: Array, context: Context) -> Array:
        rows, width = int(z.shape[0]), int(z.shape[-1])
        keys = [(ids_in(self, "map", [key] if isinstance(key, str) else key, width), value) for key, value in self.map]
        longest = max(len(ids) for ids, _ in keys)
        bias = np.zeros((rows, width))
        for b in range(rows):
            past = context.rows[b].tokens(self.scope, longest - 1).tolist() if context.rows else []
            for (*begun, last), value in keys:
                if past[max(len(past) - len(begun), 0) :] == begun:
                    bias[b, last] += value
        return z + like(z, np.clip(bias, -1e30, 1e30))


CLAIMS = (*but("history"), "relabel")

BIAS = {(0, 1): -3, (1,): 0.5, (2, 0, 3): 2}

CASES = (
    Case((1, 2, -1, -2), {"map": BIAS}, (1, -0.5, -1, 0), "biases that meet do not add; only the longest key counts", prompt=(2,), generated=(0,), logits=True),
    Case((1, 2, -1, -2), {"map": BIAS}, (1, 2.5, -1, -2), "a beginning counts wherever it stands", generated=(0, 2), logits=True),
    Case(
        (1, 2, -1, -2),
        {"map": BIAS, "scope": "generated"},
        (1, -0.5, -1, -2),
        "the prompt counts in scope=generated; all tokens of a key are moved",
        prompt=(2,),
        generated=(0,),
        logits=True,
    ),
    Case(
        (-INF, 0, 1),
        {"map": {(0,): 5, (1, 2): 1e31, (1, 1): -1e38}},
        (-INF, -1e30, 1e30),
        "a forbidden token becomes possible; no clip",
        prompt=(1,),
        logits=True,
    ),
    Case(
        (0, 1, 3),
        {"map": {"abc": -1, "c": -0.5}},
        (0, 1, 1.5),
        "a text is its last token, or moves every token of it",
        generated=(0, 1),
        logits=True,
        tokens=("a", "b", "c"),
    ),
)
