"""Planted wrong versions of the choosers that carry something from draw to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulam.core.arrays import Array, log_softmax
from ulam.core.context import Context, History
from ulam.core.method import host
from ulam.core.noise import Address, Noise
from ulam.methods.choosers import mirostat
from ulam.methods.choosers.adaptive_p import AdaptiveP
from ulam.methods.choosers.mirostat import Mirostat
from ulam.methods.choosers.mirostat_v2 import MirostatV2

from .mutants import Mutant


class StartsAtTau(MirostatV2):
    def init(self, history: History) -> float:
        return self.tau


class MuInNats(MirostatV2):
    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        return super().within(z, mu / np.log(2))


class OneMuForAll(MirostatV2):
    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        return super().within(z, np.full(len(mu), mu[:1]))


class SharesItsState(MirostatV2):
    """Keeps mu in a list, and hands the list itself to every fork."""

    def init(self, history: History) -> Any:
        return [super().init(history)]

    def advance(self, state: Any, token: int, z: Array) -> Any:
        state[0] = super().advance(state[0], token, z)
        return state

    def fork(self, state: Any) -> Any:
        return state

    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        return super().within(z, mu.reshape(-1))


class Forgets(MirostatV2):
    """States the law of what it carries, and draws as at the first token."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return super().choose(z, noise, address, Context(context.rows))


class DrawsAndAdvances(SharesItsState):
    """Goes on while it draws, and again when it is told the token."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        tokens = super().choose(z, noise, address, context)
        for b, token in enumerate(tokens.tolist()):
            if isinstance(state := context.state(self, b), list):
                self.advance(state, token, z[b, :])
        return tokens

    def fork(self, state: Any) -> Any:
        return [*state]


class OneMore(Mirostat):
    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        kept = super().within(z, mu)
        best_of_the_rest = np.argmax(np.where(kept, -np.inf, z), axis=-1)
        return kept | (np.arange(z.shape[-1]) == best_of_the_rest[:, None])


class PossibleTokensOnly(Mirostat):
    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        out = np.zeros(z.shape, bool)
        for b, row in enumerate(z):
            possible = row > -np.inf
            out[b, possible] = super().within(row[None, possible], mu[b : b + 1])[0]
        return out


class FitsTheWholeRow(Mirostat):
    def within(self, z: Array, mu: NDArray[np.float64]) -> Array:
        return mirostat.Mirostat(self.tau, m=10**6).within(z, mu)


class SameSide(AdaptiveP):
    def reshaped(self, z: Array, context: Context) -> Array:
        states = [context.state(self, b) for b in range(len(z))]
        turned = [[(2 * float(np.broadcast_to(self.target, len(z))[b]) * w - a, w)] for b, (a, w) in enumerate(states)]
        return super().reshaped(z, Context(context.rows, None, turned))


class ListOfSums(AdaptiveP):
    """Keeps its sums in a list, and hands the list itself to every fork."""

    def init(self, history: History) -> Any:
        return [*super().init(history)]

    def advance(self, state: Any, token: int, z: Array) -> Any:
        state[:] = super().advance(state, token, z)
        return state

    def fork(self, state: Any) -> Any:
        return state


class PlainDraw(AdaptiveP):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(log_softmax(host(z)), address)


MUTANTS = (
    Mutant(StartsAtTau, "mu starts at tau"),
    Mutant(MuInNats, "mu is compared in nats"),
    Mutant(OneMuForAll, "the first row's mu cuts all rows", "batch"),
    Mutant(SharesItsState, "forks share what they carry", "fork"),
    Mutant(Forgets, "the draw starts from scratch at every token"),
    Mutant(DrawsAndAdvances, "what is carried goes on twice a token", "three steps"),
    Mutant(OneMore, "k and one more"),
    Mutant(PossibleTokensOnly, "the vocabulary is what is possible"),
    Mutant(FitsTheWholeRow, "m is not looked at"),
    Mutant(SameSide, "the average is not turned around the target"),
    Mutant(ListOfSums, "forks share what they carry", "fork"),
    Mutant(PlainDraw, "the row as it came is drawn from"),
)
