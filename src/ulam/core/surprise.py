"""Feedback on surprise: choosers that cut the row by how surprising tokens are, and move the cut by what they drew.

A text that is to have tau bits of surprise a token on average is steered like a room by a thermostat: mu, in bits, starts at 2 tau
and goes down by eta (S - tau) after a token of S bits (Basu, Ramachandran, Keskar, Varshney 2020, arXiv 2007.14966).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, keep, log_softmax, take_columns
from .context import Context, History
from .method import Chooser, host
from .noise import Address, Noise


class Surprise(Chooser):
    """Base of the choosers that keep a target of surprise. Write `within`. What they carry is mu, a float.

    tau       the target, bits a token
    eta       how much of what it was off by is made up for at the next token
    observed  where the surprise of a drawn token is read: in the row as it came (`input`), or after the cut (`kept`)
    """

    feedback = True
    tau: Any
    eta: Any
    observed: str

    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        """Mask [B, V] of the tokens that stay at `mu` [B], at least one a row."""
        raise NotImplementedError(f"{self.name} has no rule")  # abstract

    def init(self, history: History) -> float:
        return 2 * self.tau

    def advance(self, state: float, token: int, z: Array) -> float:
        """mu after a token; one that has no probability, which no draw gives, tells nothing."""
        row = z[None, :]
        if self.observed == "kept":
            row = keep(row, self.within(row, np.array([state])))
        surprise = -float(take_columns(log_softmax(row), np.array([token]))[0]) / math.log(2)
        return state - self.eta * (surprise - self.tau) if math.isfinite(surprise) else state

    def cut(self, z: Array, context: Context) -> Array:
        mu = np.array([context.state(self, b) for b in range(z.shape[0])], dtype=np.float64)
        return keep(z, self.within(z, mu))

    def law(self, z: Array, context: Context) -> Array:
        return log_softmax(self.cut(z, context))

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(self.cut(z, context)), address)
