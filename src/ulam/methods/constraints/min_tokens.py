"""Min tokens: ban the end until the text has so many tokens.

Math      g the number of generated tokens: while g < n, z_e = -inf for every end token e; afterwards nothing.
Shapes    logits [B, V] nats; n in tokens, >= 0, scalar or [B]; returns [B, V].
Neutral   n = 0
Edges     The prompt does not count, and the end token does: the shortest text has n tokens and then the end. A vocabulary without an
          end is left as it is. A row that has the end alone is EmptySupport. Stop strings are not touched.
Errors    NeedsTokenizer where no vocabulary is known; TokenOutOfRange for an end token that the row does not have.
Cost      O(V)
Claims    base without history and nonempty, relabel, idempotent, ratios, scale_free. Commutes with every other mask and with whatever
          adds to logits.
Source    common practice; transformers `min_new_tokens`.
Elsewhere transformers `min_new_tokens`; its `min_length` counts the prompt. vLLM and SGLang ban the request's stop tokens too, and vLLM allows
          them again where a grammar would be left with nothing. llama.cpp, koboldcpp and exllamav2 have a ban for good: ban_tokens=[end].
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

from ...core.arrays import Array
from ...core.claims import Case, but
from ...core.context import Context
from ...core.masks import banned_before, ids_in
from ...core.method import Constraint
from ...core.parameter import parameter


@dataclass(frozen=True)
class MinTokens(Constraint):
    n: int = parameter(int, "[0, inf)", neutral=0, unit="tokens", help="how many tokens there are before the end")

    def allowed(self, z: Array, context: Context) -> Array:
        return banned_before(z, context, self.n, ids_in(self, "n", context.ends, int(z.shape[-1])))


CLAIMS = (*but("history", "nonempty"), "relabel", "idempotent", "ratios", "scale_free")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"n": 2}, (F(3, 10), 0, F(1, 10), F(6, 10)), "the end may be token n", generated=(2,), ends=(1,)),
    Case((F(1, 5), F(3, 10), F(1, 2)), {"n": 2}, (F(1, 5), F(3, 10), F(1, 2)), "there must be more than n tokens", generated=(0, 0), ends=(2,)),
    Case((F(1, 5), F(3, 10), F(1, 2)), {"n": 2}, (F(2, 5), F(3, 5), 0), "the prompt counts", prompt=(0, 0, 1), generated=(1,), ends=(2,)),
    Case((F(1, 8), F(1, 2), F(1, 4), F(1, 8)), {"n": 1}, (0, F(2, 3), F(1, 3), 0), "one of two end tokens is banned", ends=(0, 3)),
    Case((0, 1, 0), {"n": 3}, (0, 0, 0), "a row that has the end alone may end", generated=(0,), ends=(1,)),
)
