"""Presence penalty: subtract a constant from the logits of tokens that occurred before, once each.

Math      z'_i = z_i - a w_i, w_i the weight of the newest occurrence of i in the history in scope, at distance j (newest: 0):
          1 for j < window, 1 - (j - window) / fade for window <= j < window + fade, 0 beyond or if i does not occur.
Shapes    logits [B, V] nats; a scalar or [B], nats, finite; window and fade in tokens, scalar or [B]; returns [B, V].
Neutral   a = 0, or window = 0
Edges     a negative a rewards; -inf stays; a change is clipped to +-1e30.
Errors    OutOfRange for a fade without a finite window; TokenOutOfRange for a history from another model.
Cost      O(V), and O(window + fade) for a finite window; counts of the whole history are carried on, made anew in O(L)
Claims    base without history, relabel
Source    OpenAI, API reference, 2021 (`presence_penalty`).
Elsewhere OpenAI: [-2, 2], on "the text so far". vLLM, SGLang: generated only, [-2, 2]. llama.cpp, mlx-lm (window 20), koboldcpp,
          ollama: the prompt too, inside their window. exllama: the whole sequence, with a fade;
          in exllamav3 a negative one does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf as INF

import numpy as np

from ...core.arrays import Array, column, like
from ...core.claims import Case, but
from ...core.context import Context, Scope
from ...core.parameter import parameter
from ...core.repeats import Repeats


@dataclass(frozen=True)
class PresencePenalty(Repeats):
    a: float = parameter(float, "(-inf, inf)", neutral=0, unit="nats", help="taken off every token that occurred")
    window: int | str = parameter(int, "[0, inf)", words=("all",), default="all", neutral=0, unit="tokens", help="how many of the newest tokens count")
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="generated", help="which tokens count")
    fade: int = parameter(int, "[0, inf)", default=0, unit="tokens", help="over how many older tokens the penalty dies away")

    def apply(self, z: Array, context: Context) -> Array:
        weight = self.weights(z, context)
        return z - like(z, np.clip(column(self.a, weight) * weight, -1e30, 1e30))


CLAIMS = (*but("history"), "relabel")

CASES = (
    Case((1, 2, -2, -1), {"a": 0.5}, (1, 1.5, -2, -1.5), "a penalty per occurrence", generated=(1, 3, 1), logits=True),
    Case(
        (0, -1, 3),
        {"a": -8, "scope": "prompt"},
        (8, 7, 3),
        "a reward subtracted; generated tokens count in scope=prompt",
        prompt=(0, 1, 1),
        generated=(2,),
        logits=True,
    ),
    Case(
        (1, 0, 2, -1),
        {"a": 0.25, "window": 3},
        (1, -0.25, 1.75, -1),
        "a window that counts distinct tokens, or one too many",
        generated=(3, 0, 1, 2, 2),
        logits=True,
    ),
    Case(
        (2, 1, -1, -2),
        {"a": 1, "window": 1, "fade": 2, "scope": "all"},
        (2, 0.5, -2, -3),
        "a fade that begins a token early",
        prompt=(0, 1, 2),
        generated=(3,),
        logits=True,
    ),
    Case(
        (-INF, 3, 1), {"a": 1.5}, (-INF, 3, 1), "the prompt counts by default; a forbidden token becomes possible", prompt=(1, 2), generated=(0, 0), logits=True
    ),
)
