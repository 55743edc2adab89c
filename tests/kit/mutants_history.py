"""Planted wrong versions of the methods that toss a coin or look back."""

from __future__ import annotations

import numpy as np

from tests.kit.mutants import Mutant, column
from ulam.core.arrays import Array, keep, softmax
from ulam.core.context import Context
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


MUTANTS = (
    Mutant(LeavesTheMostLikely, "the most likely of the top tokens stays"),
    Mutant(DropsThemAll, "all top tokens go"),
    Mutant(ExemptTokensCount, "exempt tokens count among the top"),
    Mutant(TiesKeepTheLowest, "of equals the lowest id stays"),
)
