"""Planted wrong versions that only a row as wide as a vocabulary shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.kit.mutants import Mutant, column
from ulam.core.arrays import Array, keep, support, upper_set
from ulam.core.context import Context
from ulam.core.noise import Address, Noise
from ulam.methods.choosers.categorical import CategoricalChooser
from ulam.methods.transforms.min_p import MinP
from ulam.methods.transforms.top_k import TopK
from ulam.methods.transforms.top_p import TopP


class SumsInItsOwnType(TopP):
    """The running sum is made in the type of the row: 262144 equal numbers add up to something else in float32."""

    def apply(self, z: Array, context: Context) -> Array:
        ranked = -np.sort(-z, axis=-1)
        mass = np.cumsum(np.exp(ranked - ranked[:, :1]), axis=-1, dtype=z.dtype)
        reached = column(self.p) * mass[:, -1:] * (1 - (2.0**-20 if z.dtype == np.float32 else 2.0**-40))
        return keep(z, upper_set(z, (mass < reached).sum(axis=-1, keepdims=True) + 1, ranked))


class SixteenBitIds(CategoricalChooser):
    """A token id is held in 16 bits."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return super().choose(z, noise, address, context).astype(np.uint16).astype(np.int64)


class CountsTiesInSixteenBits(TopK):
    """The ties at the cut are counted in 16 bits: the 32768th of them is the first again."""

    def apply(self, z: Array, context: Context) -> Array:
        count = np.minimum(column(self.k), z.shape[-1]).astype(np.int64)
        edge = np.take_along_axis(-np.sort(-z, axis=-1), count - 1, axis=-1)
        left = count - (z > edge).sum(axis=-1, keepdims=True)
        ties = np.cumsum(z == edge, axis=-1, dtype=np.int16)
        return keep(z, (z > edge) | ((z == edge) & (ties <= left)))


class LooksAtTheFirst(MinP):
    """The maximum is looked for among the first 32000 tokens, the width of the vocabulary that it was written for."""

    def apply(self, z: Array, context: Context) -> Array:
        top = z[:, :32000].max(axis=-1, keepdims=True)
        return keep(z, support(z) & (z - top >= np.log(column(self.a)).astype(z.dtype) - (2.0**-20 if z.dtype == np.float32 else 2.0**-40)))


MUTANTS = (
    Mutant(SumsInItsOwnType, "the running sum is in the type of the row", "float32"),
    Mutant(SixteenBitIds, "a token id is held in 16 bits", "cells"),
    Mutant(CountsTiesInSixteenBits, "the ties at the cut are counted in 16 bits", "idempotent"),
    Mutant(LooksAtTheFirst, "the maximum is that of the first 32000 tokens", "relabel"),
)
