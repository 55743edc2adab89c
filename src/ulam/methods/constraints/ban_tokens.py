"""Ban tokens: never draw any of these tokens.

Math      keep every i that is not in the list; z_i = -inf for those that are.
Shapes    logits [B, V] nats; a list of tokens (an id, a text that is exactly one token, `end` for every end token, `bos`), the same for
          all rows; returns [B, V].
Neutral   the empty list
Edges     A token listed twice is listed. A row that has no other token left is EmptySupport, also where V = 1.
Errors    NeedsTokenizer for a text that no vocabulary has turned into an id, or that is several tokens; TokenOutOfRange for an id
          the row does not have.
Cost      O(V)
Claims    base without nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever adds to logits.
Source    Radford, Kim, Xu, Brockman, McLeavey, Sutskever 2022, "Robust speech recognition via large-scale weak supervision",
          arXiv 2212.04356, whose decoder suppresses a list of tokens at every step.
Elsewhere transformers `suppress_tokens`; exllamav2 a token bias of -inf; exllamav3 ignores ids outside the vocabulary; llama.cpp and
          koboldcpp `ignore_eos` and `ban_eos_token` are ban_tokens=[end]. A bias of -100 in OpenAI's API is no ban.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF
from typing import Any

from ...core.arrays import Array
from ...core.claims import Case, but
from ...core.context import Context
from ...core.masks import TokenSet, marked
from ...core.parameter import parameter
from ...core.values import Word


@dataclass(frozen=True)
class BanTokens(TokenSet):
    tokens: Any = parameter(list, neutral=[], help="what is never drawn")

    def allowed(self, z: Array, context: Context) -> Array:
        return ~marked(z, [self.listed(z)])


CLAIMS = (*but("nonempty"), "relabel", "idempotent", "ratios", "scale_free")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tokens": [1]}, (F(3, 10), 0, F(1, 10), F(6, 10)), "a token is banned by rank"),
    Case((F(1, 5), F(2, 5), F(3, 10), F(1, 10)), {"tokens": [3, 0, 3]}, (0, F(4, 7), F(3, 7), 0), "only the first is banned, or none may stand twice"),
    Case((1, -120, 0), {"tokens": [0, 2]}, (-INF, -120, -INF), "a ban is a bias of -100, and the most likely token stays possible", logits=True),
    Case((F(2, 5), F(3, 5), 0, 0), {"tokens": [1, 0]}, (0, 0, 0, 0), "a row that is left empty is given something back"),
    Case((F(1, 8), F(1, 2), F(1, 4), F(1, 8)), {"tokens": [Word("end"), "b"]}, (0, 0, 1, 0), "end is one of two end tokens", ends=(0, 3), tokens="abcd"),
)
