"""Mirostat 2: draw from the tokens of at most mu bits, and move mu so that texts have a chosen surprise.

Math      mu in bits, 2 tau at the first token. Keep every i with -log2 p_i <= mu, and the first maximum; renormalise; draw as
          `categorical`. Then mu becomes mu - eta (S - tau), S = -log2 of the drawn token's probability: in the row that
          entered (`observed=input`), or in the one that was drawn from (`observed=kept`).
Shapes    logits [B, V] nats; tau bits, (0, inf), eta a share, (0, 1], each a number or [B]; carries mu, a float a row; returns token ids [B].
Neutral   none
Edges     V = 1 gives token 0. A token of exactly mu bits stays (slack 2^-40 nats, float32 2^-20). A token of no probability, which
          no draw gives but a text that is scored may hold, leaves mu as it is. `observed=kept` sees at most the
          surprise that is left after the cut, so its mu settles higher.
Errors    OutOfRange for tau, eta, and for a schedule: mu is what changes from token to token.
Cost      O(V)
Claims    batch, fork, nonempty. Not law: it draws from the row it has cut. The law of a step given mu is exact, and that of a text is
          their product.
Source    Basu, Ramachandran, Keskar, Varshney 2020, "Mirostat: a neural text decoding algorithm that directly controls perplexity",
          arXiv 2007.14966; the cut by surprise from its authors' code.
Elsewhere llama.cpp `mirostat=2` and koboldcpp: `observed=kept`, and in llama.cpp every other stage but bias and temperature is dropped.
          text-generation-webui: `observed=kept`, one row. exllamav2 `mirostat` is this rule with `observed=kept`; its mu is kept in
          the caller's settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array, column, first_max, is_token, log_softmax, slack
from ...core.claims import Case
from ...core.parameter import parameter
from ...core.surprise import Surprise


@dataclass(frozen=True)
class MirostatV2(Surprise):
    tau: float = parameter(float, "(0, inf)", unit="bits", help="surprise that a token is to have on average")
    eta: float = parameter(float, "(0, 1]", default=0.1, help="share of what a token was off by that the next makes up for")
    observed: str = parameter(str, words=("input", "kept"), default="input", help="row in which the surprise of a drawn token is read")

    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        least = np.clip(-mu * math.log(2), -1e38, 1e38)  # also a float32
        return (log_softmax(z) >= column(least, z) - slack(z)) | is_token(z, first_max(z))


CLAIMS = ("batch", "fork", "nonempty")

CASES = (
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tau": 3}, (0, F(5, 8), 0, F(3, 8)), "mu in nats, or not what is carried", state=2.0),
    Case((F(1, 8), F(1, 4), F(1, 8), F(1, 2)), {"tau": 1}, (0, F(1, 3), 0, F(2, 3)), "mu starts at tau; a token of exactly mu bits goes"),
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tau": 3}, (0, 1, 0, 0), "a cut that leaves nothing", state=0.5),
    Case((F(1, 4), F(1, 4), F(1, 4), F(1, 4)), {"tau": 3}, (1, 0, 0, 0), "every one of the tied maxima stays, or none", state=-1.0),
    Case((F(3, 20), F(1, 2), F(1, 20), F(3, 10)), {"tau": 3}, 3, "the row as it came is drawn from", state=2.0, u=0.63),
)
