"""Adaptive-p: draw tokens whose probability is near a target, which moves so that its recent average stays there.

Math      Carries (A, W), at the first token (target / (1 - decay), 1 / (1 - decay)): the sum of the probabilities of drawn tokens and
          of their weights. a = 2 target - A / W, kept within [0, 1]; d_i = |p_i - a| / 0.3; z'_i = 5 - 10 d_i^2 / (1 + d_i) on the
          support; draw as `categorical` from softmax z'. Then A becomes p_x + decay A and W becomes 1 + decay W, with p_x the
          probability of the drawn token before the change.
Shapes    logits [B, V] nats; target a probability, [0, 1], decay a share, [0, 0.99], each a number or [B]; carries two floats a row;
          returns token ids [B].
Neutral   none
Edges     V = 1 gives token 0. Far tokens become likely again, as only the distance to a counts: at a = 0.28 a token of next to no
          probability has 1 % of the weight of one at a. So a truncation belongs before it. decay = 0 remembers the last token alone.
Errors    OutOfRange for target, decay, and for a schedule: a is what changes from token to token.
Cost      O(V)
Claims    shift, shrinks, nonempty, batch, fork. Not law: it draws from a row of its own making, whose law given (A, W) is exact.
Source    llama.cpp, pull request 17927, 2025.
Elsewhere llama.cpp, koboldcpp, text-generation-webui: a negative target is a plain draw. exllamav3: target 1 means off, and its state is
          not rolled back with the text. koboldcpp: the average starts empty, a target of 0 is off, and without top_p or min_p it adds min_p=0.002.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Array, column, keep, log_softmax, namespace, softmax, support, take_columns
from ...core.claims import Case
from ...core.context import Context, History
from ...core.method import Chooser, host
from ...core.noise import Address, Noise
from ...core.parameter import parameter

WIDTH, PEAK, SHARPNESS = 0.3, 5.0, 10.0


@dataclass(frozen=True)
class AdaptiveP(Chooser):
    feedback = True

    target: float = parameter(float, "[0, 1]", help="probability that drawn tokens are to have on average")
    decay: float = parameter(float, "[0, 0.99]", default=0.9, help="share of its weight that a drawn token keeps at the next")

    def init(self, history: History) -> tuple[float, float]:
        return self.target / (1 - self.decay), 1 / (1 - self.decay)

    def advance(self, state: tuple[float, float], token: int, z: Array) -> tuple[float, float]:
        p = float(take_columns(softmax(z[None, :]), np.array([token]))[0])
        return p + self.decay * state[0], 1 + self.decay * state[1]

    def reshaped(self, z: Array, context: Context) -> Array:
        carried = np.array([context.state(self, b) for b in range(z.shape[0])], dtype=np.float64).reshape(-1, 2)
        wanted = np.clip(2 * np.asarray(self.target) - carried[:, 0] / carried[:, 1], 0.0, 1.0)
        d = namespace(z).abs(softmax(z) - column(wanted, z)) / WIDTH
        return keep(PEAK - SHARPNESS * d * d / (1 + d), support(z))

    def law(self, z: Array, context: Context) -> Array:
        return log_softmax(self.reshaped(z, context))

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(self.reshaped(z, context)), address)


CLAIMS = ("shift", "shrinks", "nonempty", "batch", "fork")

ROW = (F(3, 20), F(1, 2), F(1, 20), F(3, 10))

CASES = (
    Case(ROW, {"target": 0.3}, (0.147443570688, 0.054241458389, 0.017676452909, 0.780638518014), "nothing is carried at first, so a = 2 target"),
    Case(
        ROW, {"target": 0.3}, (0.205981609213, 0.034305315258, 0.027407600991, 0.732305474538), "a = A / W, on the same side of the target", state=(3.2, 10.0)
    ),
    # 2 target - A / W = -0.2
    Case((0, F(3, 4), F(1, 4)), {"target": 0.3}, (0, 7.7588242e-7, 0.99999922411758), "a below 0; an impossible token is at the target", state=(8.0, 10.0)),
    Case(ROW, {"target": 1}, (0.000026773959, 0.997285197598, 0.000001176792, 0.002686851651), "at target 1 it is off, or the most likely token is drawn"),
    Case(ROW, {"target": 0.3}, 3, "the row as it came is drawn from", u=0.5),
)
