"""Planted wrong versions of the constraints, and the promise that must reject each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.kit.mutants import Mutant
from ulam.core.arrays import Array
from ulam.core.context import Context, History
from ulam.methods.constraints.allow_tokens import AllowTokens
from ulam.methods.constraints.ban_tokens import BanTokens
from ulam.methods.constraints.ban_words import BanWords
from ulam.methods.constraints.force_tokens import ForceTokens
from ulam.methods.constraints.min_tokens import MinTokens
from ulam.methods.constraints.no_repeat_ngram import NoRepeatNgram, Seen
from ulam.methods.constraints.suppress_at_start import SuppressAtStart


def as_generated(context: Context) -> Context:
    """The prompt counts as generated."""
    return Context([History((), [*row.prompt, *row.generated]) for row in context.rows], context.vocabulary)


class LargeNegative(BanTokens):
    def apply(self, z: Array, context: Context) -> Array:
        return np.where(self.allowed(z, context), z, z - z.dtype.type(100))


class BansByRank(BanTokens):
    def allowed(self, z: Array, context: Context) -> Array:
        return np.take_along_axis(np.broadcast_to(super().allowed(z, context), z.shape), np.argsort(np.argsort(-z, axis=-1), axis=-1), axis=-1)


class SparesTheLast(BanTokens):
    """Lets a row be where it would be emptied."""

    def apply(self, z: Array, context: Context) -> Array:
        out = super().apply(z, context)
        return np.where((out > -np.inf).any(axis=-1, keepdims=True), out, z)


class ForcesEqually(AllowTokens):
    """Where all allowed tokens are impossible, they are drawn at equal scores."""

    def apply(self, z: Array, context: Context) -> Array:
        out = super().apply(z, context)
        even = np.where(self.allowed(z, context), z.dtype.type(0), -np.inf).astype(z.dtype)
        return np.where((out > -np.inf).any(axis=-1, keepdims=True), out, even)


class AllowsTheOthers(AllowTokens):
    def allowed(self, z: Array, context: Context) -> Array:
        return ~super().allowed(z, context)


class Renormalises(AllowTokens):
    def apply(self, z: Array, context: Context) -> Array:
        out = super().apply(z, context)
        return out - out.max(axis=-1, keepdims=True)


class BeginningOfAWord(BanWords):
    """Bans the first token of a sequence instead of the last."""

    def allowed(self, z: Array, context: Context) -> Array:
        return (
            replace(self, words=[word[:1] for word in self.words]).allowed(z, context) if any(len(w) > 1 for w in self.words) else super().allowed(z, context)
        )


class ReadsThePrompt(BanWords):
    def allowed(self, z: Array, context: Context) -> Array:
        return super().allowed(z, as_generated(context))


class WithoutABlank(BanWords):
    """Turns a text into one encoding, as other lists of sequences do."""

    def bind(self, vocabulary: Any) -> Any:
        return super(BanWords, self).bind(vocabulary)


class CountsBetween(NoRepeatNgram):
    """n tokens before the one that is banned, instead of n - 1."""

    def allowed(self, z: Array, context: Context) -> Array:
        return NoRepeatNgram(self.n + 1, self.window, self.scope).allowed(z, Context(context.rows))


class NoWindow(NoRepeatNgram):
    def allowed(self, z: Array, context: Context) -> Array:
        return NoRepeatNgram(self.n, scope=self.scope).allowed(z, Context(context.rows))


class StaysAtTheStart(NoRepeatNgram):
    """What is carried does not go on."""

    def advance(self, state: Seen | None, token: int, z: Array) -> Seen | None:
        return state


class SharesWhatItSaw(NoRepeatNgram):
    """A fork that is no copy."""

    def fork(self, state: Seen | None) -> Seen | None:
        return state


class OneTokenLonger(SuppressAtStart):
    def allowed(self, z: Array, context: Context) -> Array:
        return SuppressAtStart(self.tokens, np.asarray(self.until) + 1).allowed(z, context)  # type: ignore[arg-type]


class AtOneIndex(SuppressAtStart):
    """Bans at the last position of the beginning alone."""

    def allowed(self, z: Array, context: Context) -> Array:
        before = SuppressAtStart(self.tokens, np.maximum(np.asarray(self.until) - 1, 0))  # type: ignore[arg-type]
        return super().allowed(z, context) | ~before.allowed(z, context)


class LetsOneThrough(SuppressAtStart):
    """Bans nothing in a row that it would empty: none of its cases is such a row."""

    def apply(self, z: Array, context: Context) -> Array:
        out = super().apply(z, context)
        return np.where((out > -np.inf).any(axis=-1, keepdims=True), out, z)


class CountsThePrompt(MinTokens):
    def allowed(self, z: Array, context: Context) -> Array:
        return super().allowed(z, as_generated(context))


class AtMost(MinTokens):
    """The end is banned after n tokens instead of before."""

    def allowed(self, z: Array, context: Context) -> Array:
        early = super().allowed(z, context)
        return ~early | early.all(axis=-1, keepdims=True)


class ForcesASet(ForceTokens):
    def allowed(self, z: Array, context: Context) -> Array:
        one = super().allowed(z, context)
        every = AllowTokens(self.tokens).allowed(z, context) if self.tokens else one
        return np.where(one.all(axis=-1, keepdims=True), one, every)


class OverwritesTheScores(ForceTokens):
    def apply(self, z: Array, context: Context) -> Array:
        one = self.allowed(z, context)
        return np.where(one.all(axis=-1, keepdims=True), z, np.where(one, z.dtype.type(0), -np.inf)).astype(z.dtype)


class ForcesAtOnce(ForceTokens):
    def allowed(self, z: Array, context: Context) -> Array:
        return ForceTokens(self.tokens).allowed(z, context)


MUTANTS = (
    Mutant(LargeNegative, "a ban takes 100 off"),
    Mutant(BansByRank, "tokens are banned by their rank"),
    Mutant(SparesTheLast, "a row is not emptied"),
    Mutant(ForcesEqually, "a row that would be emptied is drawn evenly from the list"),
    Mutant(AllowsTheOthers, "the list says what is forbidden"),
    Mutant(Renormalises, "the kept logits are shifted"),
    Mutant(BeginningOfAWord, "a word may not begin"),
    Mutant(ReadsThePrompt, "a word may have begun in the prompt"),
    Mutant(WithoutABlank, "a word inside a text passes"),
    Mutant(CountsBetween, "n tokens must agree before the one that is banned"),
    Mutant(NoWindow, "the window is not looked at"),
    Mutant(StaysAtTheStart, "what is carried is that of the prompt", "remade"),
    Mutant(SharesWhatItSaw, "two continuations share what they carry", "fork"),
    Mutant(OneTokenLonger, "the beginning is a token longer"),
    Mutant(AtOneIndex, "the beginning is one position"),
    Mutant(LetsOneThrough, "a row is not emptied", "mask"),
    Mutant(CountsThePrompt, "the tokens of the prompt count"),
    Mutant(AtMost, "the end is banned from token n on"),
    Mutant(ForcesASet, "each of the tokens may come at each of the positions"),
    Mutant(OverwritesTheScores, "a forced token wins over an earlier ban"),
    Mutant(ForcesAtOnce, "the position is not looked at"),
)
