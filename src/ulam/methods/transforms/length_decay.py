"""Length decay: after some tokens, make the end of the text more likely at every token, exponentially.

Math      g the number of generated tokens. g > start: z'_e = z_e + |z_e| (factor^(g - start) - 1) for every end token e; else z.
Shapes    logits [B, V] nats; factor scalar or [B], a ratio; start scalar or [B], in tokens; returns [B, V].
Neutral   factor = 1
Edges     z_e = 0 never moves, -inf stays; factor > 1 raises an end token, factor < 1 lowers it, to 2 z_e at the lowest where z_e < 0
          and to 0 where z_e > 0. A change is clipped to +-1e30. A vocabulary without end tokens is left alone.
Errors    OutOfRange; NeedsTokenizer where the end tokens are not known.
Cost      O(V)
Claims    base without shift and history, relabel. Commutes with temperature as long as no change is clipped. A constant added to the
          row changes the law: a model that returns log-probabilities gives another law than one that returns logits.
Source    transformers, `ExponentialDecayLengthPenalty`, 2022.
Elsewhere transformers `exponential_decay_length_penalty=(start, factor)`: the same; on log-probs in beam search.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf as INF

import numpy as np

from ...core.arrays import Array, column, like, namespace, to_numpy
from ...core.claims import Case, but
from ...core.context import Context
from ...core.masks import positions
from ...core.method import Transform
from ...core.parameter import parameter


@dataclass(frozen=True)
class LengthDecay(Transform):
    factor: float = parameter(float, "(0, inf)", neutral=1, help="the pull towards the end grows by this at every token")
    start: int = parameter(int, "[0, inf)", unit="tokens", help="number of tokens without a pull")

    def apply(self, z: Array, context: Context) -> Array:
        xp, ends = namespace(z), list(context.ends)
        late = np.maximum(positions(z, context) - self.start, 0)[:, None].astype(np.float64)
        if not ends or not late.any():
            return z
        end = to_numpy(z[:, like(z, ends, xp.int64)]).astype(np.float64)
        pull = np.abs(end) * (column(self.factor, late) ** late - 1)
        change = np.zeros(z.shape)
        change[:, ends] = np.where(np.isfinite(end) & (end != 0), np.clip(pull, -1e30, 1e30), 0.0)
        moved = like(z, change)
        return xp.where(moved == like(z, 0.0), z, z + moved)


CLAIMS = (*but("shift", "history"), "relabel")

CASES = (
    Case(
        (1, -2, 3),
        {"factor": 1.5, "start": 2},
        (1, -2, 3),
        "the pull begins at g = start; the prompt counts",
        prompt=(0, 0, 2),
        generated=(0, 0),
        ends=(1,),
        logits=True,
    ),
    Case((1, -2, 3), {"factor": 1.5, "start": 2}, (1, -1, 3), "a factor on the logit lowers a negative one", generated=(0, 0, 2), ends=(1,), logits=True),
    Case(
        (1, -2, 3), {"factor": 1.5, "start": 2}, (3.375, 2.75, 3), "the pull grows linearly; one end token of two", generated=(2,) * 5, ends=(0, 1), logits=True
    ),
    Case(
        (2, -2, 0, 1),
        {"factor": 0.5, "start": 0},
        (0.5, -3.5, 0, 1),
        "the pull is the same up and down, or has a sign of its own",
        generated=(3, 3),
        ends=(0, 1, 2),
        logits=True,
    ),
    Case(
        (-INF, 1, 0),
        {"factor": 1e300, "start": 1},
        (-INF, 1e30, 0),
        "a change is not clipped; a forbidden end becomes possible",
        generated=(2, 2, 2),
        ends=(0, 1),
        logits=True,
    ),
)
