"""Planted wrong versions of the truncations by threshold and by shape, and of the reshapings, with the promise that must reject each."""

from __future__ import annotations

import numpy as np

from tests.kit.mutants import Mutant, column
from ulam.core.arrays import Array, entropy, first_max, is_token, keep, log_softmax, row_sum, softmax
from ulam.core.context import Context
from ulam.methods.transforms.epsilon_cutoff import EpsilonCutoff
from ulam.methods.transforms.eta_cutoff import EtaCutoff
from ulam.methods.transforms.p_less import PLess
from ulam.methods.transforms.top_a import TopA
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
)
