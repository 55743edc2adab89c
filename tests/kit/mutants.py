"""Planted wrong versions of the shipped methods: each a plausible program with a wrong law, and the promise that must reject it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ulam.core.arrays import Array, first_max, keep, log_softmax, softmax
from ulam.core.context import Context, History
from ulam.core.method import Stage, host
from ulam.core.noise import Address, Noise
from ulam.methods import Method, find
from ulam.methods.choosers.categorical import CategoricalChooser
from ulam.methods.choosers.greedy import Greedy
from ulam.methods.choosers.gumbel_max import GumbelMax
from ulam.methods.transforms.frequency_penalty import FrequencyPenalty
from ulam.methods.transforms.logit_bias import LogitBias
from ulam.methods.transforms.min_p import MinP
from ulam.methods.transforms.presence_penalty import PresencePenalty
from ulam.methods.transforms.repetition_penalty import RepetitionPenalty
from ulam.methods.transforms.temperature import Temperature
from ulam.methods.transforms.top_k import TopK
from ulam.methods.transforms.top_p import TopP
from ulam.methods.transforms.typical_p import TypicalP


@dataclass(frozen=True)
class Mutant:
    """A wrong version of a method. `rejected_by` is `cases`, or the claim or promise whose test must see it."""

    stage: type[Stage]
    wrong: str
    rejected_by: str = "cases"

    @property
    def of(self) -> Method:
        """The method that it is a wrong version of."""
        return next(find(base.name) for base in self.stage.__mro__ if base.__module__.startswith("ulam.methods."))

    @property
    def method(self) -> Method:
        return replace(self.of, stage=self.stage)

    def __str__(self) -> str:
        return f"{self.of.name}-{self.stage.__name__}"


def column(x: object) -> NDArray[np.float64]:
    return np.reshape(np.asarray(x, dtype=np.float64), (-1, 1))


def ranks(z: Array) -> NDArray[np.int64]:
    return np.argsort(np.argsort(-z, axis=-1, kind="stable"), axis=-1, kind="stable")


class Multiplies(Temperature):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, context) if np.any(np.asarray(self.T) == 0) else z * column(self.T).astype(z.dtype)


class LastMaximum(Temperature):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z[:, ::-1], context)[:, ::-1]


class SquareRoot(Temperature):
    def apply(self, z: Array, context: Context) -> Array:
        return Temperature(np.sqrt(np.broadcast_to(self.T, len(z)))).apply(z, context)  # type: ignore[arg-type]


class KeepsTies(TopK):
    def apply(self, z: Array, context: Context) -> Array:
        k = np.minimum(np.reshape(self.k, (-1, 1)), z.shape[-1]) + np.zeros((len(z), 1), int)
        return keep(z, z >= -np.take_along_axis(np.sort(-z, axis=-1), k - 1, axis=-1))


class OneTooFew(TopK):
    def apply(self, z: Array, context: Context) -> Array:
        return keep(z, ranks(z) < np.maximum(np.reshape(self.k, (-1, 1)) - 1, 1))


class HighestIds(TopK):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z[:, ::-1], context)[:, ::-1]


class Normalises(TopK):
    def apply(self, z: Array, context: Context) -> Array:
        return log_softmax(super().apply(z, context))


class DropsTheCrossing(TopP):
    def apply(self, z: Array, context: Context) -> Array:
        order = np.argsort(-z, axis=-1, kind="stable")
        mass = np.cumsum(np.take_along_axis(softmax(z), order, axis=-1).astype(np.float64), axis=-1)
        inside = (mass <= column(self.p) * (1 + 1e-6)).sum(axis=-1, keepdims=True)
        return keep(z, ranks(z) < np.maximum(inside, 1))


class ExceedsP(TopP):
    def apply(self, z: Array, context: Context) -> Array:
        order = np.argsort(-z, axis=-1, kind="stable")
        mass = np.cumsum(np.take_along_axis(softmax(z), order, axis=-1).astype(np.float64), axis=-1)
        return keep(z, ranks(z) <= (mass <= column(self.p) * (1 + 1e-6)).sum(axis=-1, keepdims=True))


class KeepsTheLastTies(TopP):
    def apply(self, z: Array, context: Context) -> Array:
        kept = super().apply(z, context)
        return keep(z, z >= np.where(kept > -np.inf, kept, np.inf).min(axis=-1, keepdims=True))


class RatioToTheSum(MinP):
    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        return keep(z, (p >= column(self.a)) | (p == p.max(axis=-1, keepdims=True)))


class Exceeds(MinP):
    def apply(self, z: Array, context: Context) -> Array:
        s = z - z.max(axis=-1, keepdims=True)
        return keep(z, (s > np.log(column(self.a)) + 1e-6) | (s == 0))


class OneMaximumForAll(MinP):
    def apply(self, z: Array, context: Context) -> Array:
        s = z - np.nanmax(z)
        return keep(z, (s >= np.log(column(self.a)) - 1e-9) | (z == z.max(axis=-1, keepdims=True)))


class TypicalByHand(TypicalP):
    """The method once more, in parts, and right: what the next three get wrong is one part."""

    unit = 1.0

    def apply(self, z: Array, context: Context) -> Array:
        log_probs = log_softmax(z).astype(np.float64)
        p = np.exp(log_probs)
        entropy = -np.where(p > 0, p * log_probs, 0.0).sum(axis=-1, keepdims=True) / self.unit
        deviation = self.deviation(log_probs, entropy)
        order = np.argsort(deviation, axis=-1, kind="stable")
        mass = np.cumsum(np.take_along_axis(p, order, axis=-1), axis=-1)
        place = np.argsort(order, axis=-1, kind="stable")
        return keep(z, place <= self.before(mass))

    def deviation(self, log_probs: Array, entropy: Array) -> Array:
        return np.where(log_probs > -np.inf, np.rint(np.abs(-log_probs - entropy) * 2.0**20), np.inf)

    def before(self, mass: Array) -> Array:
        return (mass < column(self.p) * (1 - 1e-6)).sum(axis=-1, keepdims=True)


class EntropyInBits(TypicalByHand):
    unit = np.log(2.0)


class MassMustExceed(TypicalByHand):
    def before(self, mass: Array) -> Array:
        return (mass <= column(self.p) * (1 + 1e-6)).sum(axis=-1, keepdims=True)


class OnlyLessLikely(TypicalByHand):
    def deviation(self, log_probs: Array, entropy: Array) -> Array:
        return np.where(log_probs > -np.inf, -log_probs - entropy, np.inf)


class NoSignRule(RepetitionPenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return z / ((1 - self.weights(z, context, slope=self.slope)) + column(self.r) * self.weights(z, context, slope=self.slope))


class OnceAnOccurrence(RepetitionPenalty):
    def apply(self, z: Array, context: Context) -> Array:
        strength = column(self.r) ** self.weights(z, context, slope=self.slope, every=True)
        return np.where(z > 0, z / strength, z * strength)


class ForgetsThePrompt(RepetitionPenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, Context([History((), row.generated) for row in context.rows]))


class WindowOfTheWhole(RepetitionPenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return replace(self, window="all", fade=0).apply(z, context) if type(self.window) is int else super().apply(z, context)


class NewestTwice(PresencePenalty):
    """State advanced once too often: the newest token is there before its time."""

    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, Context([History(row.prompt, [*row.generated, *row.generated[-1:]]) for row in context.rows]))


class PresenceCounts(PresencePenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return z - column(self.a) * self.weights(z, context, every=True)


class PresenceOfThePrompt(PresencePenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, Context([History((), [*row.prompt, *row.generated]) for row in context.rows]))


class AddsThePenalty(PresencePenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return z + column(self.a) * self.weights(z, context)


class CountsOnce(FrequencyPenalty):
    def apply(self, z: Array, context: Context) -> Array:
        return z - column(self.a) * self.weights(z, context)


class CountsShares(FrequencyPenalty):
    """Divides the counts by the length, as a frequency would be."""

    def apply(self, z: Array, context: Context) -> Array:
        lengths = column([max(len(row.tokens(self.scope)), 1) for row in context.rows] or [1])
        return z - column(self.a) * self.weights(z, context, every=True) / lengths


class LeaksCounts(FrequencyPenalty):
    """Counts the tokens of the whole batch."""

    def apply(self, z: Array, context: Context) -> Array:
        return z - column(self.a) * self.weights(z, context, every=True).sum(axis=0, keepdims=True)


class BansAtMinus100(LogitBias):
    def apply(self, z: Array, context: Context) -> Array:
        out = np.array(super().apply(z, context))
        out[:, [token for token, value in self.map if value <= -100]] = -np.inf
        return out


class ScalesProbabilities(LogitBias):
    def apply(self, z: Array, context: Context) -> Array:
        factor = np.ones(z.shape[-1])
        for token, value in self.map:
            factor[token] = max(value, 1e-300)
        return z + np.log(factor)


class NextToken(LogitBias):
    def apply(self, z: Array, context: Context) -> Array:
        return z + np.roll(super().apply(np.zeros_like(z), context), 1, axis=-1)


class ReachesU(CategoricalChooser):
    """The first token whose running sum reaches u, instead of exceeding it."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        p = softmax(host(z))
        return (np.cumsum(p, axis=-1) < noise.uniform(address).values[:, None]).sum(axis=-1)


class MostLikelyFirst(CategoricalChooser):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        order = np.argsort(-host(z), axis=-1, kind="stable")
        drawn = noise.categorical(np.take_along_axis(host(z), order, axis=-1), address)
        return np.take_along_axis(order, drawn[:, None], axis=-1)[:, 0]


class LosesTheTail(CategoricalChooser):
    """Never draws what has probability below 1e-4."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        p = softmax(host(z))
        return noise.categorical(np.where(p >= 1e-4, host(z), -np.inf), address)


class LastOfTheTied(Greedy):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return z.shape[-1] - 1 - first_max(z[:, ::-1]).astype(np.int64)


class LargestMagnitude(Greedy):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return np.argmax(np.where(z > -np.inf, np.abs(z), -np.inf), axis=-1)


class DrawsInstead(Greedy):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(z), address)


class WithoutGumbel(GumbelMax):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(z), address)


class TwiceAsSharp(GumbelMax):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(2 * host(z), address, coupling="gumbel")


MUTANTS = (
    Mutant(Multiplies, "the logits are multiplied by T"),
    Mutant(LastMaximum, "T = 0 keeps the last maximum"),
    Mutant(SquareRoot, "p^(1/T) is taken with the root of T"),
    Mutant(KeepsTies, "all tokens tied with the k-th stay"),
    Mutant(OneTooFew, "the k-th token goes"),
    Mutant(HighestIds, "among tied tokens the highest ids stay"),
    Mutant(Normalises, "the kept logits are normalised", "ratios"),
    Mutant(DropsTheCrossing, "the token that crosses p goes"),
    Mutant(ExceedsP, "the mass must exceed p"),
    Mutant(KeepsTheLastTies, "all tokens tied with the last kept one stay"),
    Mutant(RatioToTheSum, "p is compared with a, not with a times the maximum"),
    Mutant(Exceeds, "a token at the threshold goes"),
    Mutant(OneMaximumForAll, "the maximum is taken over the batch", "batch"),
    Mutant(EntropyInBits, "the entropy is in bits, the surprise in nats"),
    Mutant(MassMustExceed, "the mass must exceed p"),
    Mutant(OnlyLessLikely, "the sign of the deviation counts, so the most likely comes first"),
    Mutant(NoSignRule, "negative logits are divided too"),
    Mutant(OnceAnOccurrence, "a token that occurred twice is punished twice"),
    Mutant(ForgetsThePrompt, "the prompt never counts"),
    Mutant(WindowOfTheWhole, "the window is not looked at"),
    Mutant(NewestTwice, "the newest token is counted twice, and the window holds one token less"),
    Mutant(PresenceCounts, "every occurrence is punished"),
    Mutant(PresenceOfThePrompt, "the prompt counts as generated"),
    Mutant(AddsThePenalty, "the penalty is added"),
    Mutant(CountsOnce, "a token counts once"),
    Mutant(CountsShares, "counts are divided by the length"),
    Mutant(LeaksCounts, "the tokens of other rows count", "batch"),
    Mutant(BansAtMinus100, "-100 is a ban"),
    Mutant(ScalesProbabilities, "probabilities are multiplied by the bias"),
    Mutant(NextToken, "the bias falls on the next id"),
    Mutant(ReachesU, "a running sum equal to u suffices"),
    Mutant(MostLikelyFirst, "the running sum goes from the most likely token down"),
    Mutant(LosesTheTail, "unlikely tokens are never drawn", "law"),
    Mutant(LastOfTheTied, "the highest id of a tie wins"),
    Mutant(LargestMagnitude, "the largest magnitude wins"),
    Mutant(DrawsInstead, "a draw instead of the maximum", "deterministic"),
    Mutant(WithoutGumbel, "the inverse CDF in place of the coupling"),
    Mutant(TwiceAsSharp, "the law is p squared", "law"),
)
