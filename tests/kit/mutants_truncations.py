"""Planted wrong versions of the truncations by threshold and by shape, and of the reshapings, with the promise that must reject each."""

from __future__ import annotations

import numpy as np

from tests.kit.mutants import Mutant, column, ranks
from ulam.core.arrays import Array, entropy, first_max, is_token, keep, log_softmax, row_sum, softmax
from ulam.core.context import Context
from ulam.methods.transforms.dynamic_temperature import DynamicTemperature
from ulam.methods.transforms.epsilon_cutoff import EpsilonCutoff
from ulam.methods.transforms.eta_cutoff import EtaCutoff
from ulam.methods.transforms.p_less import PLess
from ulam.methods.transforms.skew import Skew
from ulam.methods.transforms.smoothing import Smoothing
from ulam.methods.transforms.tail_free import TailFree
from ulam.methods.transforms.temperature import Temperature
from ulam.methods.transforms.top_a import TopA
from ulam.methods.transforms.top_h import TopH
from ulam.methods.transforms.top_n_sigma import TopNSigma

LITTLE = 1e-6
"""A slack larger than rounding, for mutants whose fault is not in rounding."""


class NotSquared(TopA):
    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        return keep(z, p >= column(self.a) * p.max(axis=-1, keepdims=True) * (1 - LITTLE))


class SumOfSquares(TopA):
    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        return keep(z, p >= column(self.a) * row_sum(p * p) * (1 - LITTLE))


class BelowIsEmpty(EpsilonCutoff):
    def apply(self, z: Array, context: Context) -> Array:
        return keep(z, softmax(z) >= column(self.e) * (1 - LITTLE))


class MustExceed(EpsilonCutoff):
    def apply(self, z: Array, context: Context) -> Array:
        return keep(z, (softmax(z) > column(self.e) * (1 + LITTLE)) | is_token(z, first_max(z)))


class NoSlack(EpsilonCutoff):
    def apply(self, z: Array, context: Context) -> Array:
        return keep(z, (softmax(z) >= column(self.e)) | is_token(z, first_max(z)))


class RootOfTheProduct(EtaCutoff):
    """As the text of transformers reads."""

    def apply(self, z: Array, context: Context) -> Array:
        e, log_probs = column(self.e), log_softmax(z)
        eta = np.minimum(e, np.sqrt(e * np.exp(-entropy(log_probs))))
        return keep(z, (np.exp(log_probs) >= eta * (1 - LITTLE)) | is_token(z, first_max(z)))


class EntropyAlone(EtaCutoff):
    def apply(self, z: Array, context: Context) -> Array:
        log_probs = log_softmax(z)
        eta = np.sqrt(column(self.e)) * np.exp(-entropy(log_probs))
        return keep(z, (np.exp(log_probs) >= eta * (1 - LITTLE)) | is_token(z, first_max(z)))


class EtaInBits(EtaCutoff):
    def apply(self, z: Array, context: Context) -> Array:
        e, log_probs = column(self.e), log_softmax(z)
        eta = np.minimum(e, np.sqrt(e) * np.exp(-entropy(log_probs) / np.log(2.0)))
        return keep(z, (np.exp(log_probs) >= eta * (1 - LITTLE)) | is_token(z, first_max(z)))


class SampleDeviation(TopNSigma):
    def apply(self, z: Array, context: Context) -> Array:
        possible = z > -np.inf
        n = possible.sum(axis=-1, keepdims=True)
        mean = np.where(possible, z, 0.0).sum(axis=-1, keepdims=True) / n
        variance = np.where(possible, (z - mean) ** 2, 0.0).sum(axis=-1, keepdims=True) / np.maximum(n - 1, 1)
        return keep(z, z >= z.max(axis=-1, keepdims=True) - column(self.n) * np.sqrt(variance) - LITTLE)


class ForbiddenCountsAsZero(TopNSigma):
    def apply(self, z: Array, context: Context) -> Array:
        sigma = np.where(z > -np.inf, z, 0.0).std(axis=-1, keepdims=True)
        return keep(z, z >= z.max(axis=-1, keepdims=True) - column(self.n) * sigma - LITTLE)


class DeviationOfProbabilities(TopNSigma):
    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        return keep(z, p >= p.max(axis=-1, keepdims=True) - column(self.n) * p.std(axis=-1, keepdims=True))


class LargestSquare(PLess):
    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        return keep(z, p >= (p * p).max(axis=-1, keepdims=True) * (1 - LITTLE))


class CountsThePossible(PLess):
    def apply(self, z: Array, context: Context) -> Array:
        p = softmax(z)
        agree, n = row_sum(p * p), (z > -np.inf).sum(axis=-1, keepdims=True)
        threshold = agree - (1 - agree) / np.maximum(n - 1, 1) if self.norm else agree
        return keep(z, (p >= threshold * (1 - LITTLE)) | is_token(z, first_max(z)))


class ExponentOfEntropy(PLess):
    def apply(self, z: Array, context: Context) -> Array:
        if self.norm:
            return super().apply(z, context)
        log_probs = log_softmax(z)
        return keep(z, (np.exp(log_probs) >= np.exp(-entropy(log_probs)) * (1 - LITTLE)) | is_token(z, first_max(z)))


class TailFreeByHand(TailFree):
    """The method once more, row by row, and right: what the next ones get wrong is one part."""

    fewer = 0

    def apply(self, z: Array, context: Context) -> Array:
        shares = np.broadcast_to(column(self.z), (len(z), 1))[:, 0]
        return keep(z, ranks(z) < np.array([self.count(row, share) for row, share in zip(z, shares, strict=True)])[:, None])

    def count(self, row: Array, share: float) -> int:
        q = -np.sort(-self.curve(row))
        bends = self.bends(q)
        if len(q) <= 2 or np.abs(bends).sum() <= 1e-9:
            return len(row)
        beyond = np.flatnonzero(np.cumsum(bends) / bends.sum() > share + LITTLE)
        return max((beyond[0] + 1 if len(beyond) else len(q) - 1) - self.fewer, 1)

    def curve(self, row: Array) -> Array:
        p = softmax(row[None, :])[0]
        return p[row > -np.inf]

    def bends(self, q: Array) -> Array:
        return np.abs(np.diff(q, 2))


class OneTokenFewer(TailFreeByHand):
    """As koboldcpp counts."""

    fewer = 1


class SignedBends(TailFreeByHand):
    def bends(self, q: Array) -> Array:
        return np.diff(q, 2)


class ForbiddenOnTheCurve(TailFreeByHand):
    def curve(self, row: Array) -> Array:
        return softmax(row[None, :])[0]


class EntropyTerms(TopH):
    """The running sum of -p ln p, as transformers has it."""

    def apply(self, z: Array, context: Context) -> Array:
        log_probs = np.take_along_axis(log_softmax(z), np.argsort(-z, axis=-1, kind="stable"), axis=-1)
        terms = np.cumsum(np.where(log_probs > -np.inf, -np.exp(log_probs) * log_probs, 0.0), axis=-1)
        return keep(z, ranks(z) < np.maximum((terms <= column(self.a) * terms[:, -1:] + LITTLE).sum(axis=-1, keepdims=True), 1))


class ShareOfTheLargest(TopH):
    """The bound is a share of ln V."""

    def apply(self, z: Array, context: Context) -> Array:
        own = entropy(log_softmax(z))
        share = np.where(own > 0, column(self.a) * np.log(z.shape[-1]) / np.maximum(own, 1e-300), 1.0)
        return TopH(np.minimum(share, 1.0)[:, 0]).apply(z, context)  # type: ignore[arg-type]


class KeepsTheCrossing(TopH):
    def apply(self, z: Array, context: Context) -> Array:
        kept = (super().apply(z, context) > -np.inf).sum(axis=-1, keepdims=True)
        return keep(z, ranks(z) <= kept)


class Linear(Smoothing):
    def apply(self, z: Array, context: Context) -> Array:
        top = z.max(axis=-1, keepdims=True)
        return top + column(self.factor) * (z - top)


class NoCurve(Smoothing):
    def apply(self, z: Array, context: Context) -> Array:
        return Smoothing(self.factor).apply(z, context)


class TopOfTheBatch(Smoothing):
    """As text-generation-webui takes the maximum."""

    def apply(self, z: Array, context: Context) -> Array:
        top = np.nanmax(z)
        return top - column(self.factor) * np.where(z > -np.inf, z - top, np.inf) ** 2


class TurnedRound(Skew):
    def apply(self, z: Array, context: Context) -> Array:
        return Skew(-self.x).apply(z, context)


class ById(Skew):
    """The running sum goes by id, so that another numbering gives another law."""

    def apply(self, z: Array, context: Context) -> Array:
        mass = np.cumsum(softmax(z).astype(np.float64), axis=-1) ** np.exp(column(self.x))
        return np.log(np.diff(mass, axis=-1, prepend=0.0)).astype(z.dtype)


class KeepsLogits(Skew):
    """The skewed law times the row, as if q were a weight."""

    def apply(self, z: Array, context: Context) -> Array:
        return z + super().apply(z, context)


class CountsForbidden(DynamicTemperature):
    """As llama.cpp counts: r = H / ln V."""

    def apply(self, z: Array, context: Context) -> Array:
        r = entropy(log_softmax(z)) / np.log(z.shape[-1])
        low, high = column(self.low), column(self.high)
        return Temperature((low + (high - low) * np.clip(r, 0, 1) ** column(self.exponent))[:, 0]).apply(z, context)  # type: ignore[arg-type]


class SortsTheEnds(DynamicTemperature):
    def apply(self, z: Array, context: Context) -> Array:
        low, high = np.minimum(self.low, self.high), np.maximum(self.low, self.high)
        return DynamicTemperature(low, high, self.exponent).apply(z, context)  # type: ignore[arg-type]


class NoExponent(DynamicTemperature):
    def apply(self, z: Array, context: Context) -> Array:
        return DynamicTemperature(self.low, self.high).apply(z, context)


MUTANTS = (
    Mutant(NotSquared, "p is compared with a times the maximum, not its square"),
    Mutant(SumOfSquares, "p is compared with a times the sum of squares"),
    Mutant(BelowIsEmpty, "where every token is below e, none is left"),
    Mutant(MustExceed, "a token at the threshold goes"),
    Mutant(NoSlack, "rounding decides at the threshold", "shift"),
    Mutant(RootOfTheProduct, "eta = min(e, sqrt(e exp(-H)))"),
    Mutant(EntropyAlone, "eta = sqrt(e) exp(-H) though e is smaller"),
    Mutant(EtaInBits, "the entropy is in bits"),
    Mutant(SampleDeviation, "the sample deviation, which divides by one less"),
    Mutant(ForbiddenCountsAsZero, "a forbidden token counts as a logit of 0"),
    Mutant(DeviationOfProbabilities, "the deviation is that of the probabilities"),
    Mutant(LargestSquare, "the largest square in place of their sum"),
    Mutant(CountsThePossible, "V counts possible tokens alone"),
    Mutant(ExponentOfEntropy, "exp(-H) in place of the sum of squares"),
    Mutant(OneTokenFewer, "one token fewer stays, but at least one"),
    Mutant(SignedBends, "the sign of a bend counts"),
    Mutant(ForbiddenOnTheCurve, "forbidden tokens have a place on the curve"),
    Mutant(EntropyTerms, "the running sum of -p ln p, without normalising"),
    Mutant(ShareOfTheLargest, "the bound is a share of ln V"),
    Mutant(KeepsTheCrossing, "the token that crosses the bound stays"),
    Mutant(Linear, "the drop is linear"),
    Mutant(NoCurve, "the curve does nothing"),
    Mutant(TopOfTheBatch, "the maximum is taken over the batch", "batch"),
    Mutant(TurnedRound, "the sign of x is turned"),
    Mutant(ById, "the running sum goes by id", "relabel"),
    Mutant(KeepsLogits, "q is a weight on the row"),
    Mutant(CountsForbidden, "forbidden tokens count in n"),
    Mutant(SortsTheEnds, "low is the smaller of the two ends"),
    Mutant(NoExponent, "the exponent does nothing"),
)
