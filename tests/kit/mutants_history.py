"""Planted wrong versions of the methods that toss a coin or look back."""

from __future__ import annotations

import numpy as np

from tests.kit.mutants import Mutant, column
from ulam.core.arrays import Array, keep, softmax
from ulam.core.context import Context, History
from ulam.methods.transforms.dry import Dry, Said
from ulam.methods.transforms.length_decay import LengthDecay
from ulam.methods.transforms.sequence_bias import SequenceBias
from ulam.methods.transforms.top_p_decay import TopPDecay
from ulam.methods.transforms.xtc import XTC


class LeavesTheMostLikely(XTC):
    def apply(self, z: Array, context: Context) -> Array:
        top = (softmax(z) >= column(self.threshold) * (1 - 1e-6)) & (z > -np.inf)
        top[:, list(self.exempt)] = False
        first = np.arange(z.shape[-1]) == np.argmax(np.where(top, z, -np.inf), axis=-1)[:, None]
        return keep(z, ~top | first)


class DropsThemAll(XTC):
    def apply(self, z: Array, context: Context) -> Array:
        top = (softmax(z) >= column(self.threshold) * (1 - 1e-6)) & (z > -np.inf)
        top[:, list(self.exempt)] = False
        return keep(z, ~(top & (top.sum(axis=-1, keepdims=True) > 1)))


class ExemptTokensCount(XTC):
    """The last of the top tokens may be an exempt one, as in engines that only spare them."""

    def apply(self, z: Array, context: Context) -> Array:
        out = np.array(XTC(self.probability, self.threshold).apply(z, context))
        out[:, list(self.exempt)] = z[:, list(self.exempt)]
        return out


class TiesKeepTheLowest(XTC):
    def apply(self, z: Array, context: Context) -> Array:
        width = z.shape[-1]
        return XTC(self.probability, self.threshold, [width - 1 - i for i in self.exempt]).apply(z[:, ::-1], context)[:, ::-1]


class ResetIsOne(TopPDecay):
    def init(self, history: History) -> int:
        return super().init(history) + any(token in self.starts for token in history.generated)


class CountsThePrompt(TopPDecay):
    def init(self, history: History) -> int:
        return super().init(History((), [*history.prompt, *history.generated]))


class DecaysTheRest(TopPDecay):
    """The mass above the floor decays, and not the mass."""

    def apply(self, z: Array, context: Context) -> Array:
        since = np.array([context.state(self, b) for b in range(len(z))])
        p = self.floor + (self.p - self.floor) * np.power(self.decay, since)
        return TopPDecay(p, 1, 0, self.reset).apply(z, context)


class PunishesBreakers(Dry):
    def longest(self, state: Said, window: int | str, least: int) -> dict[int, int]:
        class Spares(Dry):
            breaks = {size + 0: each for size, each in self.breaks.items() if size > 1}

        return Spares(1).longest(state, window, least)


class ExponentOfTheWhole(Dry):
    def longest(self, state: Said, window: int | str, least: int) -> dict[int, int]:
        return {token: agree + least for token, agree in super().longest(state, window, least).items()}


class MovesEveryToken(SequenceBias):
    def apply(self, z: Array, context: Context) -> Array:
        return SequenceBias({(*key[:-1], token): value for key, value in self.map for token in key}, self.scope).apply(z, context)


class AnyBeginning(SequenceBias):
    def apply(self, z: Array, context: Context) -> Array:
        return SequenceBias({key[-2:]: value for key, value in self.map}, self.scope).apply(z, context)


class LargestWins(SequenceBias):
    def apply(self, z: Array, context: Context) -> Array:
        each = [SequenceBias({key: value}, self.scope).apply(np.zeros_like(z), context) for key, value in self.map]
        return z + np.max(each, axis=0)


class ScalesTheEnd(LengthDecay):
    """The logit itself is multiplied, so a negative one falls."""

    def apply(self, z: Array, context: Context) -> Array:
        moved = np.array(super().apply(z, context))
        return np.where(z < 0, z - (moved - z), moved)


class StartsAtStart(LengthDecay):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, Context([History(row.prompt, [*row.generated, 0]) for row in context.rows], context.vocabulary))


MUTANTS = (
    Mutant(LeavesTheMostLikely, "the most likely of the top tokens stays"),
    Mutant(DropsThemAll, "all top tokens go"),
    Mutant(ExemptTokensCount, "exempt tokens count among the top"),
    Mutant(TiesKeepTheLowest, "of equals the lowest id stays"),
    Mutant(ResetIsOne, "the token after a reset is t = 1"),
    Mutant(CountsThePrompt, "the prompt counts"),
    Mutant(DecaysTheRest, "the mass above the floor decays"),
    Mutant(PunishesBreakers, "breakers are punished"),
    Mutant(ExponentOfTheWhole, "the exponent is the length of the repetition"),
    Mutant(MovesEveryToken, "all tokens of a sequence are moved"),
    Mutant(AnyBeginning, "the last two tokens of a sequence are enough"),
    Mutant(LargestWins, "of biases that meet the largest counts"),
    Mutant(ScalesTheEnd, "the logit of the end is multiplied"),
    Mutant(StartsAtStart, "the pull begins a token early"),
)
