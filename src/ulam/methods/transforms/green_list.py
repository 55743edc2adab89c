"""Green list: add a constant to the logits of a keyed share of the tokens, so that the text can be recognised by who has the key.

Math      c the last `width` tokens of prompt and generated; token i is green if U(key, c, i, 1) < gamma (core/keyed.py): an independent
          event of chance gamma for every token and every context. z'_i = z_i + delta for green tokens, z_i elsewhere; unchanged
          where there are fewer than `width` tokens. It changes the law, on average over keys as well.
          `detect` counts the green tokens G among the N of a text that have a whole context, each context once: without the mark
          G is binomial(N, gamma) over keys, the p-value its exact upper tail, the score (G - gamma N) / sqrt(N gamma (1 - gamma)).
Shapes    logits [B, V] nats; delta nats, gamma a share, scalar or [B]; key and width scalar; returns [B, V].
Neutral   delta = 0
Edges     gamma is open at both ends; a row may have no green token, or no other. -inf stays. delta is clipped to 1e30.
Errors    OutOfRange; TokenOutOfRange for a negative id; UsageError if a text is to be scored with more than one gamma.
Cost      O(V) hashes a row; `detect` O(N), with no pass over the vocabulary.
Claims    identity, shift, shrinks, nonempty, batch, fork, deterministic. Not history, and not relabel: green depends on ids.
Source    Kirchenbauer, Geiping, Wen, Katz, Miers, Goldstein 2023, "A watermark for large language models", arXiv 2301.10226; contexts
          scored once: Kirchenbauer, Geiping, Wen and others 2023, "On the reliability of watermarks for large language models",
          arXiv 2306.04634.
Elsewhere transformers `watermarking_config`: exactly floor(gamma V) green tokens from a seeded permutation (`lefthash`), or a hash that
          includes the token (`selfhash`); its detector scores every n-gram, unless told to ignore repeats. Keys do not carry over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF

import numpy as np

from ...core.arrays import Array, column, like, namespace
from ...core.claims import Case, but
from ...core.context import Context
from ...core.errors import UsageError
from ...core.keyed import GREEN_LIST, Detection, binomial_detection, context_hashes, row_uniforms, scored, uniforms
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class GreenList(Transform):
    key: int = parameter(int, "[0, 2^64)", fixed=True, help="the secret that decides which tokens are green")
    gamma: float = parameter(float, "(0, 1)", default=0.25, help="share of the tokens that are green")
    delta: float = parameter(float, "[0, inf)", default=2, neutral=0, unit="nats", help="what a green token gains")
    width: int = parameter(int, "[1, inf)", default=1, unit="tokens", fixed=True, help="how many of the newest tokens decide")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        green = np.zeros(z.shape, bool)
        newest = {b: row.tokens("all", self.width) for b, row in enumerate(context.rows)}
        rows = [b for b, tokens in newest.items() if len(tokens) == self.width]
        if rows:
            u = row_uniforms(self.key, context_hashes([newest[b] for b in rows]), z.shape[-1], GREEN_LIST)
            green[rows] = u < np.broadcast_to(self.gamma, len(z))[rows, None]
        return xp.where(like(z, green, xp.bool), z + column(np.clip(self.delta, 0, 1e30), z), z)

    def detect(self, tokens: Sequence[int], prompt: Sequence[int] = ()) -> Detection:
        """How green a text is: generated `tokens`, after a `prompt` if it is known. Needs neither the model nor the vocabulary.

        Raises `UsageError` for a stage whose gamma differs by row or position.
        """
        if not isinstance(self.gamma, float):
            raise UsageError(f"{self.name}: a text is scored with one gamma", stage=self.name, parameter="gamma", fix=f"{self.name}(key, gamma=0.25)")
        hashes, after = scored(tokens, self.width, prompt)
        green = uniforms(self.key, hashes, after, GREEN_LIST) < self.gamma
        return binomial_detection(int(green.sum()), len(green), self.gamma, len(green))


CLAIMS = but("history")

CASES = (
    # U of tokens 0 to 7 after token 7: below 1/2 for 2, 4, 5, 6, 7
    Case(
        (F(1, 2), F(3, 10), F(3, 20), F(1, 20), 0, 0, 0, 0),
        {"key": 42, "gamma": 0.5, "delta": 1},
        (0.397537723132, 0.238522633879, 0.324185870675, 0.039753772313, 0, 0, 0, 0),
        "probabilities grow by delta, or those of red tokens shrink",
        generated=(7,),
    ),
    # after 1, 2: 0.157, 0.629, 0.598, 0.991; after 2 alone: 0.670, 0.571, 0.916, 0.518; after 2, 1: none below 0.6
    Case(
        (1, 2, 0, -1),
        {"key": 42, "gamma": 0.6, "delta": 0.5, "width": 2},
        (1.5, 2, 0.5, -1),
        "the newest token alone, or the context turned round; the prompt is no context",
        prompt=(0, 1),
        generated=(2,),
        logits=True,
    ),
    # after 3: 0.470, 0.933, 0.784, 0.647
    Case((1, 2, 0, -1), {"key": 42}, (1, 2, 0, -1), "exactly floor(gamma V) tokens are green", generated=(0, 3), logits=True),
    # after 0: 0.622, 0.383, 0.056, 0.455
    Case((1, -INF, 0.5, 2), {"key": 42, "gamma": 0.5}, (1, -INF, 2.5, 4), "a forbidden token becomes possible", prompt=(0,), logits=True),
    # after 1: 0.019, 0.790, 0.144, 0.490; with the lower half of the key, 5, alone: 0.965, 0.489, 0.363, 0.031
    Case((0, 3, 1, -1), {"key": 2**63 + 5}, (2, 3, 3, -1), "the upper half of the key is left out", generated=(1,), logits=True),
    Case(
        (0, 3, 1, -1), {"key": 42, "gamma": 0.99, "width": 3}, (0, 3, 1, -1), "a context that is too short is hashed", prompt=(1,), generated=(2,), logits=True
    ),
)
