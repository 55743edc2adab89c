"""Repeats: how much each token of a row's history counts, by the distance of its occurrences.

The history is the tokens of a scope, newest last; the newest has distance 0. An occurrence weighs 1 inside the window,
falls in a straight line over the next `fade` distances, and weighs 0 beyond. What a penalty does with
the weight is its own rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array
from .context import Context, Scope
from .errors import OutOfRange, TokenOutOfRange
from .method import Transform
from .schedule import extremes


def distance_weights(length: int, window: int, fade: int, slope: float) -> NDArray[np.float64]:
    """Weights of the newest `length` tokens, oldest first; `slope` is the weight of the older half of the window."""
    distance = np.arange(length - 1, -1, -1)
    weight = np.clip(1 - (distance - window) / fade, 0.0, 1.0) if fade else np.ones(length)
    if slope != 1:
        weight[distance >= length - length // 2] = slope
    return weight


class Repeats(Transform):
    """Base of the penalties on repetition, which all look at the same window of the same history.

    window  number of newest tokens, or `all`; 0 makes the stage neutral
    scope   which tokens: `prompt`, `generated` or `all`
    fade    over how many older tokens the weight falls to 0; needs a finite window
    """

    window: int | str
    scope: Scope
    fade: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.window, str) and np.any(extremes(self.fade) > 0):
            raise OutOfRange(
                f"{self.name}: fade={self.fade} needs a finite window", stage=self.name, parameter="fade", fix=f"{self.name}(..., window=64, fade={self.fade})"
            )

    def weights(self, z: Array, context: Context, *, every: bool = False, slope: Any = 1.0) -> NDArray[np.float64]:
        """What each token weighs in each row, [B, V] on the host: its newest occurrence, or with `every` the sum over all.

        Raises `TokenOutOfRange` for a history that holds an id the row does not have.
        """
        rows, width = z.shape
        out = np.zeros((rows, width))
        for b, history in enumerate(context.rows):
            window, fade, slant = (x[b] if isinstance(x, np.ndarray) else x for x in (self.window, self.fade, slope))
            tokens = history.tokens(self.scope, None if isinstance(window, str) else int(window) + int(fade))
            outside = tokens[(tokens < 0) | (tokens >= width)]
            if outside.size:
                raise TokenOutOfRange(f"{self.name}: token id {outside[0]} of the history is outside 0 to {width - 1}", stage=self.name, row=b)
            length = len(tokens)
            weight = distance_weights(length, length if isinstance(window, str) else min(int(window), length), int(fade), float(slant))
            if every:
                out[b] = np.bincount(tokens, weight, width)
            else:
                np.maximum.at(out[b], tokens, weight)  # weights never grow with distance, so the newest is the largest
        return out
