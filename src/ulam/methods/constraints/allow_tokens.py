"""Allow tokens: draw none but these tokens.

Math      keep every i that is in the list; z_i = -inf for all others.
Shapes    logits [B, V] nats; a list of tokens (an id, a text that is exactly one token, `end` for every end token, `bos`), not empty, the
          same for all rows; returns [B, V].
Neutral   none
Edges     A token that was impossible stays so. A row that none of them is left of is EmptySupport, also where V = 1.
Errors    OutOfRange for an empty list; NeedsTokenizer for a text that no vocabulary has turned into an id, or that is several
          tokens; TokenOutOfRange for an id the row does not have.
Cost      O(V)
Claims    base without identity and nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever
          adds to logits.
Source    De Cao, Izacard, Riedel, Petroni 2020, "Autoregressive entity retrieval", arXiv 2010.00904.
Elsewhere vLLM `allowed_token_ids`; transformers `prefix_allowed_tokens_fn`, a function of the text: where all allowed tokens are
          impossible already, it forces them at equal scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF
from typing import Any

from ...core.arrays import Array
from ...core.claims import Case, but
from ...core.context import Context
from ...core.errors import OutOfRange
from ...core.masks import TokenSet, marked
from ...core.parameter import parameter
from ...core.values import Word


@dataclass(frozen=True)
class AllowTokens(TokenSet):
    tokens: Any = parameter(list, help="what may be drawn")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tokens:
            raise OutOfRange("allow_tokens=[] allows nothing", stage=self.name, parameter="tokens", fix="allow_tokens=[3, 17, end]")

    def allowed(self, z: Array, context: Context) -> Array:
        return marked(z, [self.listed(z)])


CLAIMS = (*but("identity", "nonempty"), "relabel", "idempotent", "ratios", "scale_free")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tokens": [3, 1]}, (0, F(5, 8), 0, F(3, 8)), "the list says what may not come"),
    Case((F(2, 5), F(3, 5), 0, 0), {"tokens": [2, 3]}, (0, 0, 0, 0), "a row that is left empty is drawn from the list, all alike"),
    Case((0, F(1, 4), F(3, 4)), {"tokens": [0, 2]}, (0, 0, 1), "an impossible token becomes possible"),
    Case((-1, 4, 2, 0.5), {"tokens": [0, 3, 3]}, (-1, -INF, -INF, 0.5), "the kept logits are normalised, or set to 0", logits=True),
    Case((F(1, 8), F(1, 2), F(1, 4), F(1, 8)), {"tokens": ["c", Word("end")]}, (F(1, 4), 0, F(1, 2), F(1, 4)), "end is one of two", ends=(0, 3), tokens="abcd"),
)
