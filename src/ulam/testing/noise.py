"""Noises for tests: one that says what it is told to say, and one that refuses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UlamError
from ..core.noise import Address, Coupling, Uniform, inverse_cdf
from ..exact.enumerate import shape_of


class Asked(UlamError):
    """A question that this noise does not answer."""


class ScriptedNoise:
    """Answers from a list of uniforms, one item a question, and remembers the questions.

    An item is a number, or an array that broadcasts against the rows [B] (`uniform`, `bernoulli`, inverse CDF) or
    against [B, V] (Gumbel: one uniform a token). A question beyond the list raises `Asked`.
    """

    def __init__(self, uniforms: Sequence[ArrayLike]):
        self.uniforms = list(uniforms)
        self.questions: list[tuple[str, Address]] = []

    def next(self, kind: str, address: Address) -> NDArray[np.float64]:
        if len(self.questions) == len(self.uniforms):
            raise Asked(f"question {len(self.questions) + 1} ({kind}), and the script has {len(self.uniforms)} answers")
        self.questions.append((kind, address))
        return np.asarray(self.uniforms[len(self.questions) - 1], dtype=np.float64)

    def uniform(self, address: Address) -> Uniform:
        return Uniform(np.broadcast_to(self.next("uniform", address), shape_of(address)))

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]:
        return np.broadcast_to(self.next("bernoulli", address) < np.asarray(p), shape_of(address))

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        u = self.next(coupling, address)
        shifted = log_probs - log_probs.max(axis=-1, keepdims=True)
        if coupling == "gumbel":
            return np.argmax(shifted - np.log(-np.log(np.broadcast_to(u, log_probs.shape))), axis=-1)
        if u.size > len(log_probs):
            raise Asked(f"one uniform a row was asked for, and the script has {u.size} for {len(log_probs)} rows")
        return inverse_cdf(np.exp(shifted), np.broadcast_to(u, log_probs.shape[:1]))


class RefusingNoise:
    """Raises `Asked` at every question: for what claims to draw nothing."""

    def uniform(self, address: Address) -> Uniform:
        raise Asked("a uniform was asked for")

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]:
        raise Asked("a coin was asked for")

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        raise Asked("a token was asked for")

