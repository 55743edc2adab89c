"""Suppress at start: ban some tokens at the beginning of the text.

Math      g the number of generated tokens: while g < until, z_i = -inf for every i in the list; afterwards nothing.
Shapes    logits [B, V] nats; a list of tokens (an id, a text that is exactly one token, `end` for every end token, `bos`), the same for all
          rows; until in tokens, >= 0, scalar or [B]; returns [B, V].
Neutral   the empty list, or until = 0
Edges     The prompt does not count. A row that has no other token left is EmptySupport.
Errors    NeedsTokenizer for a text that no vocabulary has turned into an id, or that is several tokens; TokenOutOfRange for an id
          the row does not have.
Cost      O(V)
Claims    base without history and nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever
          adds to logits.
Source    Radford, Kim, Xu, Brockman, McLeavey, Sutskever 2022, "Robust speech recognition via large-scale weak supervision",
          arXiv 2212.04356, whose decoder lets no text begin with a blank or with the end.
Elsewhere transformers `begin_suppress_tokens`: at one index of the whole sequence, prompt included, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

from ...core.arrays import Array
from ...core.claims import Case, but
from ...core.context import Context
from ...core.masks import TokenSet, banned_before
from ...core.parameter import parameter
from ...core.values import Word


@dataclass(frozen=True)
class SuppressAtStart(TokenSet):
    tokens: Any = parameter(list, neutral=[], help="what is not drawn at the beginning")
    until: int = parameter(int, "[0, inf)", default=1, neutral=0, unit="tokens", help="how long the beginning is")

    def allowed(self, z: Array, context: Context) -> Array:
        return banned_before(z, context, self.until, self.listed(z))


CLAIMS = (*but("history", "nonempty"), "relabel", "idempotent", "ratios", "scale_free")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tokens": [1]}, (F(3, 10), 0, F(1, 10), F(6, 10)), "the prompt counts as a beginning", prompt=(0, 2)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"tokens": [1]}, (F(1, 5), F(1, 2), F(3, 10)), "the second token is still the beginning", generated=(1,)),
    Case((F(1, 5), F(1, 2), F(3, 10)), {"tokens": [0, 1], "until": 3}, (0, 0, 1), "only the last of several positions counts", generated=(2,)),
    Case((F(1, 5), F(3, 10), F(1, 2)), {"tokens": [2], "until": 2}, (F(1, 5), F(3, 10), F(1, 2)), "banned while g <= until", generated=(0, 1)),
    Case((F(1, 8), F(1, 2), F(3, 8)), {"tokens": ["c", Word("end")]}, (0, 1, 0), "the end stays possible", ends=(0,), tokens="abc"),
)
