r"""XTC (exclude top choices): with some probability, drop all tokens above a threshold but the least likely of them.

Math      one coin a row and position, Bernoulli(probability). Tails: the row as it is. Heads: R = { i : p_i >= threshold, i not
          in exempt }; if R has two tokens or more, all of R go but its last by probability, of equals the highest id. So
          the law of the next token is P(t) = probability P_heads(t) + (1 - probability) P_tails(t), each through the later
          stages; the recipe log-prob is ln of this mixture, and never of the branch that was drawn.
Shapes    logits [B, V] nats; probability, threshold scalar or [B], probabilities; exempt: list of tokens, the same for all rows;
          returns [B, V]: the branch in which the coin has fallen on heads.
Neutral   probability = 0
Edges     above threshold = 1/2 the stage never acts, as R has one token at most; one is always left. Exempt tokens neither
          count nor go: `exempt=[end, "\n"]` is usual, and `end` is every end token. p_i >= threshold has a slack of 2^-40 (float32: 2^-20).
Errors    OutOfRange outside [0, 1] and (0, 1]; NeedsTokenizer for a text or a word that no vocabulary has turned into an id;
          TokenOutOfRange for an exempt id the row does not have. A recipe's law is refused above four coins.
Cost      O(V), one coin. Laws and log-probs run the later stages twice.
Claims    base without deterministic, relabel. What is claimed of logits holds in the branch; the kept logits of a branch are
          bitwise those of the row. Not order, not argmax.
Source    Weidmann 2024, text-generation-webui, pull request 6335.
Elsewhere llama.cpp: heads when u <= probability, off above threshold = 0.5, no exemption, before temperature. koboldcpp subtracts
          999. text-generation-webui: cancelled where a newline or the end would go. exllamav2, exllamav3: no coin, the average
          of the two rows (the same law only if the draw follows at once), tokens with a newline and special ones exempt.
          mlx-lm: one coin for the whole batch, strict >, exempt tokens are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction as F
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array, column, is_token, keep, like, namespace, slack, softmax, support
from ...core.claims import Case, but
from ...core.context import Context
from ...core.masks import ids_in, marked
from ...core.method import Transform
from ...core.noise import Purpose
from ...core.parameter import parameter
from ...core.values import Word
from ...core.vocabulary import Vocabulary


@dataclass(frozen=True)
class XTC(Transform):
    coin = Purpose.xtc

    probability: float = parameter(float, "[0, 1]", neutral=0, help="how often it acts")
    threshold: float = parameter(float, "(0, 1]", default=0.1, help="least probability of a token that may go")
    exempt: Any = parameter(list, items="token", default=(), help="tokens that never go and do not count")

    def bind(self, vocabulary: Vocabulary) -> XTC:
        ends = vocabulary.ends or (Word("end"),)
        exempt = [each for item in self.exempt for each in (ends if item == Word("end") else (item,))]
        return cast(XTC, super(XTC, replace(self, exempt=exempt)).bind(vocabulary))

    def chance(self, rows: int) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(self.probability, np.float64), rows)

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        exempt = marked(z, [ids_in(self, "exempt", self.exempt, int(z.shape[-1]))])
        top = (softmax(z) >= column(self.threshold, z) * (1 - slack(z))) & support(z) & ~exempt
        least = xp.min(xp.where(top, z, like(z, np.inf)), axis=-1, keepdims=True)
        # counted from the end, the first of the least likely is the one with the highest id
        last = z.shape[-1] - 1 - xp.argmax(xp.astype(xp.flip(top & (z == least), axis=-1), xp.int64), axis=-1)
        return keep(z, ~top | is_token(z, last))


CLAIMS = (*but("deterministic"), "relabel")

CASES = (
    Case(
        (F(3, 20), F(1, 2), F(1, 20), F(3, 10)),
        {"probability": 1},
        (F(3, 4), 0, F(1, 4), 0),
        "the most likely of them stays, or all of them go",
    ),
    Case(
        (F(1, 8), F(1, 2), F(1, 8), F(1, 4)),
        {"probability": 1, "threshold": 0.125},
        (0, 0, 1, 0),
        "a token at the threshold is below; of equals the lowest id stays",
    ),
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"probability": 1, "exempt": [0]}, (F(3, 10), 0, F(1, 10), F(3, 5)), "an exempt token counts as the last"),
    Case((F(1, 5), F(3, 5), F(1, 5)), {"probability": 1, "threshold": 0.5}, (F(1, 5), F(3, 5), F(1, 5)), "a single token above the threshold goes"),
    Case((F(1, 16), F(9, 16), F(6, 16)), {"probability": 0}, (F(1, 16), F(9, 16), F(6, 16)), "probability 0 is a coin that falls"),
)
