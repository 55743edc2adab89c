"""Force tokens: allow one token and no other at each of the first positions.

Math      g the number of generated tokens, a_0 ... a_(n-1) the list: while at <= g < at + n, keep a_(g - at) alone; elsewhere nothing.
Shapes    logits [B, V] nats; a list of tokens (an id, a text that is exactly one token, the word `end` or `bos`) and the position at, >= 0,
          the same for all rows; returns [B, V].
Neutral   the empty list
Edges     The prompt does not count. A forced token that is impossible is EmptySupport: masks intersect, and none wins. A recipe knows no
          limit of length, so an end token at the last position is written with its number.
Errors    NeedsTokenizer for a text that no vocabulary has turned into an id, or that is several tokens; TokenOutOfRange for an id
          the row does not have.
Cost      O(V)
Claims    base without history and nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever
          adds to logits.
Source    Tang, Tran, Li, Chen, Goyal, Chaudhary, Gu, Fan 2020, "Multilingual translation with extensible multilingual pretraining
          and finetuning", arXiv 2008.00401, where the first token names the language.
Elsewhere transformers `forced_bos_token_id`, where the whole sequence has one token, and `forced_eos_token_id`, at the last position:
          they overwrite the scores, so they win over earlier bans.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

import numpy as np

from ...core.arrays import Array, like, namespace
from ...core.claims import Case, but
from ...core.context import Context
from ...core.masks import ids_in, positions
from ...core.method import Constraint
from ...core.parameter import parameter


@dataclass(frozen=True)
class ForceTokens(Constraint):
    tokens: Any = parameter(list, neutral=[], help="what is drawn, in this order")
    at: int = parameter(int, "[0, inf)", default=0, unit="tokens", fixed=True, help="how many tokens are generated before the first of them")

    def allowed(self, z: Array, context: Context) -> Array:
        width = int(z.shape[-1])
        ids = ids_in(self, "tokens", self.tokens, width)
        place = [int(position) - self.at for position in positions(z, context)]
        mask = np.ones((len(place), width), dtype=np.bool_)
        for b, i in enumerate(place):
            if 0 <= i < len(ids):
                mask[b] = False
                mask[b, ids[i]] = True
        return like(z, mask, namespace(z).bool)


CLAIMS = (*but("history", "nonempty"), "relabel", "idempotent", "ratios", "scale_free")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tokens": [2, 3]}, (0, 0, 0, 1), "the list is a set", prompt=(1, 1, 1), generated=(2,)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"tokens": [0, 2]}, (F(1, 5), F(1, 2), F(3, 10)), "the last token goes on", generated=(0, 2)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"tokens": [0], "at": 2}, (F(1, 5), F(1, 2), F(3, 10)), "forced before its position", generated=(1,)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"tokens": [1, 0], "at": 2}, (0, 1, 0), "positions count from 1", generated=(2, 2)),
    Case((F(2, 5), 0, F(3, 5)), {"tokens": [1]}, (0, 0, 0), "a forced token wins over an earlier ban"),
    Case((F(1, 8), F(1, 2), F(3, 8)), {"tokens": ["c", "a"]}, (1, 0, 0), "what was drawn decides what comes", generated=(1,), tokens="abc"),
)
