"""Frequency penalty: subtract a constant from the logits of tokens for every time they occurred.

Math      z'_i = z_i - a sum_j w_j over the occurrences of i in the history in scope, each at its distance j (newest: 0), with
          w_j = 1 for j < window, 1 - (j - window) / fade for window <= j < window + fade, 0 beyond. Without a fade
          that is a times the number of occurrences in the window.
Shapes    logits [B, V] nats; a scalar or [B], nats, finite; window and fade in tokens, scalar or [B]; returns [B, V].
Neutral   a = 0, or window = 0
Edges     a negative a rewards; -inf stays; a change is clipped to +-1e30.
Errors    OutOfRange for a fade without a finite window; TokenOutOfRange for a history from another model.
Cost      O(V), and O(window + fade) for a finite window; counts of the whole history are carried on, made anew in O(L)
Claims    base without history, relabel
Source    OpenAI, API reference, 2021 (`frequency_penalty`).
Elsewhere every engine counts occurrences. OpenAI: [-2, 2], on "the text so far". vLLM, SGLang: generated only, [-2, 2].
          llama.cpp, mlx-lm (window 20), ollama: the prompt too, inside their window. exllama: the whole sequence, with a fade.
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
class FrequencyPenalty(Repeats):
    a: float = parameter(float, "(-inf, inf)", neutral=0, unit="nats", help="taken off a token for every time it occurred")
    window: int | str = parameter(int, "[0, inf)", words=("all",), default="all", neutral=0, unit="tokens", help="how many of the newest tokens count")
    scope: Scope = parameter(str, words=("prompt", "generated", "all"), default="generated", help="which tokens count")
    fade: int = parameter(int, "[0, inf)", default=0, unit="tokens", help="over how many older tokens the penalty dies away")

    def apply(self, z: Array, context: Context) -> Array:
        weight = self.weights(z, context, every=True)
        return z - like(z, np.clip(column(self.a, weight) * weight, -1e30, 1e30))


CLAIMS = (*but("history"), "relabel")

CASES = (
    Case((1, 2, -2, -1), {"a": 0.5}, (1, 1, -2, -1.5), "a penalty once a token", generated=(1, 3, 1), logits=True),
    Case(
        (0, 1, -3), {"a": -8, "scope": "all"}, (8, 1, 21), "a reward subtracted; the prompt left out of scope=all", prompt=(2, 0), generated=(2, 2), logits=True
    ),
    Case((1, 0, 2, -1), {"a": 0.25, "window": 3}, (0.75, 0, 1.5, -1), "a window a token too long", generated=(3, 2, 0, 2, 2), logits=True),
    # distances 4 3 2 1 0 weigh 1/3 2/3 1 1 1
    Case((1, 2, 0), {"a": 3, "window": 2, "fade": 3}, (-4, -5, 0), "every occurrence weighs as much as the newest", generated=(1, 0, 1, 0, 1), logits=True),
    Case(
        (-INF, 3, 1), {"a": 1.5}, (-INF, 3, 1), "the prompt counts by default; a forbidden token becomes possible", prompt=(1, 2), generated=(0, 0), logits=True
    ),
)
