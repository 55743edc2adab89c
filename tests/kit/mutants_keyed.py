"""Planted wrong versions of the keyed stages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.kit.mutants import Mutant
from ulam.core.arrays import Array
from ulam.core.context import Context, History
from ulam.core.keyed import GREEN_LIST, GUMBEL_WATERMARK, Past, context_hashes, row_uniforms
from ulam.core.noise import Address, Noise
from ulam.methods.choosers.gumbel_watermark import GumbelWatermark
from ulam.methods.choosers.synthid import Synthid
from ulam.methods.transforms.green_list import GreenList


class ExactShare(GreenList):
    """Exactly floor(gamma V) tokens are green: those with the least U."""

    def apply(self, z: Array, context: Context) -> Array:
        out = np.array(z)
        for b, row in enumerate(context.rows):
            if len(newest := row.tokens("all", self.width)) == self.width:
                u = row_uniforms(self.key, context_hashes([newest]), z.shape[-1], GREEN_LIST)[0]
                gamma, delta = (np.broadcast_to(x, len(z))[b] for x in (self.gamma, self.delta))
                out[b, np.argsort(u)[: int(gamma * len(u))]] += min(delta, 1e30)
        return out


class ForgetsThePrompt(GreenList):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, Context([History((), row.generated) for row in context.rows]))


class HalfOfTheKey(GreenList):
    def apply(self, z: Array, context: Context) -> Array:
        return replace(self, key=self.key % 2**32).apply(z, context) if self.key >= 2**32 else super().apply(z, context)


class ContextOfAnother(GreenList):
    """All rows of a batch have the context of the first."""

    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, Context([context.rows[0] for _ in context.rows]))


class LargestNoise(GumbelWatermark):
    """u_i^p_i instead of u_i^(1/p_i)."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        rows, marked, hashes = self.rows(z, context)
        u = row_uniforms(self.key, hashes, rows.shape[-1], GUMBEL_WATERMARK)
        wrong = np.argmax(np.where(rows > -np.inf, -rows - np.log(-np.log(u)), -np.inf), axis=-1)
        return np.where(marked, wrong, super().choose(z, noise, address, context))


class RepeatsDecide(GumbelWatermark):
    def rows(self, z: Array, context: Context) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.uint64]]:
        return replace(self, repeats="keyed").rows(z, context) if self.repeats == "plain" else super().rows(z, context)


class PromptDecides(GumbelWatermark):
    def init(self, history: History) -> Past:
        return super().init(History((), [*history.prompt, *history.generated]))


class KeyOfAnother(GumbelWatermark):
    """All marked rows of a batch read the noise of the first."""

    def rows(self, z: Array, context: Context) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.uint64]]:
        rows, marked, hashes = super().rows(z, context)
        hashes[marked] = hashes[marked][:1]
        return rows, marked, hashes


class OthersWin(Synthid):
    def bits(self, hashes: NDArray[np.uint64], tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        return ~super().bits(hashes, tokens)


class OneLayer(Synthid):
    def bits(self, hashes: NDArray[np.uint64], tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        return super().bits(hashes, tokens)[:1]


class NeverMarks(Synthid):
    def init(self, history: History) -> Past:
        return Past([], set())


class SharpensWherePlain(Synthid):
    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        rows, marked, _ = self.rows(z, context)
        return super().choose(np.where(marked[:, None], rows, 2 * rows), noise, address, context)


MUTANTS = (
    Mutant(ExactShare, "exactly floor(gamma V) tokens are green"),
    Mutant(ForgetsThePrompt, "the prompt is no context"),
    Mutant(HalfOfTheKey, "the upper half of the key is left out"),
    Mutant(ContextOfAnother, "all rows of a batch have the context of the first", "batch"),
    Mutant(LargestNoise, "the exponent of u is turned over"),
    Mutant(RepeatsDecide, "a context that comes again decides again"),
    Mutant(PromptDecides, "the prompt is context"),
    Mutant(KeyOfAnother, "all rows of a batch have the noise of the first", "batch"),
    Mutant(OthersWin, "the bits are turned over"),
    Mutant(OneLayer, "one layer, whatever is asked for"),
    Mutant(NeverMarks, "the mark is left out"),
    Mutant(SharpensWherePlain, "the ordinary draw has the law p squared", "law"),
)
