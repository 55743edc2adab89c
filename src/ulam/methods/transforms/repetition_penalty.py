"""Repetition penalty: make tokens that occurred before less likely, by dividing or multiplying their logits.

Math      h the history in scope, newest at distance j = 0, L its length inside the window. A token i of h gets the strength of
          its newest occurrence, however often it occurs:
            j < window                      r_i = r
            the older half, j >= L - L//2   r_i = 1 + (r - 1) slope
            window <= j < window + fade     r_i = 1 + (r - 1) (1 - (j - window) / fade)
          Then z'_i = z_i / r_i if z_i > 0, else z_i r_i. `on=log_probs` first replaces z by ln softmax z, of tokens outside h too.
Shapes    logits [B, V] nats; r, window, fade, slope scalar or [B]; window and fade in tokens; returns [B, V].
Neutral   r = 1, or window = 0
Edges     z_i = 0 is unchanged; -inf stays. A product is kept within +-1e30, so that no finite logit becomes infinite; r_i counts as
          at least 1e-30 and at most 1e30.
Errors    OutOfRange for a fade without a finite window, or that may meet a slope; TokenOutOfRange for a history from another model.
Cost      O(V), and O(window + fade) for a finite window; counts of the whole history are carried on, made anew in O(L)
Claims    base without history and shift, relabel. On logits a constant added to the row changes the law: a model that returns
          log-probabilities gives another law than one that returns logits. `on=log_probs` does not depend on it.
Source    Keskar, McCann, Varshney, Xiong, Socher 2019, "CTRL: a conditional transformer language model for controllable
          generation", arXiv 1909.05858, which divides; the rule for negative logits came later, in public code.
Elsewhere transformers, vLLM: scope all, no window. SGLang: generated only, after the additive penalties, r <= 2. llama.cpp
          `repeat_penalty`: window 64; mlx-lm: window 20; ollama: 64; koboldcpp `rep_pen`: 320, with `rep_pen_slope`;
          text-generation-webui: 1024. exllamav2 and exllamav3: sustain and decay ranges are window and fade (exllamav3 counts
          one token less, and its fade averages old and new logits); exllamav2 applies 1.025 by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F
from math import inf as INF

import numpy as np

from ...core.arrays import Array, column, like, log_softmax, namespace
from ...core.claims import Case, but
from ...core.context import Context, Scope
from ...core.errors import OutOfRange
from ...core.parameter import parameter
from ...core.repeats import Repeats
from ...core.schedule import extremes, row_by_row


@dataclass(frozen=True)
class RepetitionPenalty(Repeats):
    r: float = parameter(float, "(0, inf)", neutral=1, help="divides positive logits and multiplies negative ones; below 1 rewards")
    window: int | str = parameter(int, "[0, inf)", words=("all",), default="all", neutral=0, unit="tokens", help="how many of the newest tokens count")
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="all", help="which tokens count")
    fade: int = parameter(int, "[0, inf)", default=0, unit="tokens", help="over how many older tokens the penalty dies away")
    slope: float = parameter(float, "[0, 1]", default=1, help="share of the penalty in the older half of the window")
    on: str = parameter(str, words=("logits", "log_probs"), default="logits", help="what is divided")

    def __post_init__(self) -> None:
        super().__post_init__()
        fades, slopes = extremes(self.fade) > 0, extremes(self.slope) != 1
        together = fades & slopes if row_by_row(self.fade, self.slope) else fades.any() & slopes.any()
        if np.any(together):
            raise OutOfRange(f"{self.name}: fade and slope exclude each other", stage=self.name, parameter="slope", fix="leave out one of them")

    def apply(self, z: Array, context: Context) -> Array:
        xp = namespace(z)
        if self.on == "log_probs":
            z = log_softmax(z)
        weight = self.weights(z, context, slope=self.slope)
        strength = like(z, np.clip((1 - weight) + column(self.r, weight) * weight, 1e-30, 1e30))
        scaled = xp.where(z > like(z, 0.0), z / strength, z * strength)
        return xp.clip(scaled, xp.minimum(z, like(z, -1e30)), xp.maximum(z, like(z, 1e30)))


CLAIMS = (*but("history", "shift"), "relabel")

CASES = (
    Case(
        (1, 2, -2, -1, 0),
        {"r": 1.25},
        (1, 1.6, -2.5, -1.25, 0),
        "a penalty per occurrence; negative logits divided; the prompt left out",
        prompt=(2, 1, 1),
        generated=(3, 1, 4),
        logits=True,
    ),
    Case(
        (2, 1, -1, -2),
        {"r": 1.25, "window": 2},
        (2, 1, -1.25, -2.5),
        "a window a token too long, or one of the prompt alone",
        prompt=(0, 1, 2),
        generated=(3,),
        logits=True,
    ),
    Case(
        (2, 1, -1, -2),
        {"r": 1.5, "window": 1, "fade": 2},
        (2, 0.8, -1.5, -3),
        "a fade that begins a token early, or ends late",
        prompt=(0, 1),
        generated=(2, 3),
        logits=True,
    ),
    Case(
        (2, 1, -1, -2, 3),
        {"r": 1.5, "slope": 0.5},
        (1.6, F(2, 3), -1.5, -3, 2.4),
        "the middle one of five tokens counts as old",
        generated=(4, 0, 3, 2, 1),
        logits=True,
    ),
    # ln softmax = (-ln 2, -ln 2, -inf)
    Case(
        (7, 7, -INF), {"r": 2, "on": "log_probs"}, (-1.386294361120, -0.693147180560, -INF), "the logits as they come are halved", generated=(0, 2), logits=True
    ),
    Case((0, 3, -1), {"r": 9, "scope": "generated"}, (0, 3, -1), "the prompt counts in scope=generated", prompt=(1, 2), logits=True),
)
