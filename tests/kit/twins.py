"""For every claim a twin: a small method that makes the claim and breaks it, plausible in everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulam.core.arrays import Array, log_softmax, softmax
from ulam.core.context import Context
from ulam.core.method import Chooser, Stage, Transform, host
from ulam.core.noise import Address, Noise
from ulam.core.parameter import parameter
from ulam.methods import Method


@dataclass(frozen=True)
class ChangesAtNeutral(Transform):
    """Divides by T, and normalises even where T = 1."""

    T: float = parameter(float, "(0, inf)", neutral=1, help="divides")

    def neutral(self, rows: int) -> NDArray[np.bool_]:
        return np.zeros(rows, bool)

    def apply(self, z: Array, context: Context) -> Array:
        return log_softmax(z / self.T)


@dataclass(frozen=True)
class ReadsTheSign(Transform):
    """Doubles positive logits."""

    def apply(self, z: Array, context: Context) -> Array:
        return np.where(z > 0, 2 * z, z)


@dataclass(frozen=True)
class LiftsTheForbidden(Transform):
    """Gives impossible tokens a low logit."""

    def apply(self, z: Array, context: Context) -> Array:
        return np.maximum(z, z.max(axis=-1, keepdims=True) - 50)


@dataclass(frozen=True)
class PunishesTheTop(Transform):
    """Takes one nat off the most likely token."""

    def apply(self, z: Array, context: Context) -> Array:
        return z - (np.arange(z.shape[-1]) == z.argmax(axis=-1)[:, None])


@dataclass(frozen=True)
class ForbidsTheTop(Transform):
    """Drops the most likely token where there is another."""

    def apply(self, z: Array, context: Context) -> Array:
        top = np.arange(z.shape[-1]) == z.argmax(axis=-1)[:, None]
        return np.where(top & ((z > -np.inf).sum(axis=-1, keepdims=True) > 1), -np.inf, z)


@dataclass(frozen=True)
class NeedsOneHalf(Transform):
    """Keeps what has probability above one half."""

    def apply(self, z: Array, context: Context) -> Array:
        return np.where(softmax(z) > 0.5, z, -np.inf)


@dataclass(frozen=True)
class LikesLowIds(Transform):
    """Takes a hundredth of its id off every logit."""

    def apply(self, z: Array, context: Context) -> Array:
        return z - np.arange(z.shape[-1]) / 100


@dataclass(frozen=True)
class EveryKth(Transform):
    """Keeps every k-th token by rank: the sets of k = 2 and k = 3 are not nested."""

    k: int = parameter(int, "[1, inf)", help="step")

    def apply(self, z: Array, context: Context) -> Array:
        rank = np.argsort(np.argsort(-z, axis=-1, kind="stable"), axis=-1, kind="stable")
        return np.where(rank % np.reshape(self.k, (-1, 1)) == 0, z, -np.inf)


@dataclass(frozen=True)
class Sways(Transform):
    """Divides by a temperature that rises with x, but not always."""

    x: float = parameter(float, "[0, 10]", help="about the temperature")

    def apply(self, z: Array, context: Context) -> Array:
        x = np.reshape(self.x, (-1, 1))
        return z / (1 + x + 2 * np.sin(2 * x) ** 2)


@dataclass(frozen=True)
class DropsTheLast(Transform):
    """Drops the least likely token, each time it is used."""

    def apply(self, z: Array, context: Context) -> Array:
        lowest = np.where(z > -np.inf, z, np.inf).min(axis=-1, keepdims=True)
        return np.where((z > lowest) | (z == z.max(axis=-1, keepdims=True)), z, -np.inf)


@dataclass(frozen=True)
class LooksAcross(Transform):
    """Cuts five nats below the largest logit of the whole batch."""

    def apply(self, z: Array, context: Context) -> Array:
        return np.where((z >= np.nanmax(z) - 5) | (z == z.max(axis=-1, keepdims=True)), z, -np.inf)


@dataclass(frozen=True)
class ReadsThePast(Transform):
    """Takes one nat off the newest token."""

    def apply(self, z: Array, context: Context) -> Array:
        newest = [row.generated[-1] if row.generated else -1 for row in context.rows] or [-1] * len(z)
        return z - (np.arange(z.shape[-1]) == np.reshape(newest, (-1, 1)))


@dataclass(frozen=True)
class SharesItsCounts(Transform):
    """Counts tokens once a length, and so gives the second of two continuations the counts of the first."""

    seen: dict[int, Any] = field(default_factory=dict, compare=False)

    def apply(self, z: Array, context: Context) -> Array:
        out = z.copy()
        for b, row in enumerate(context.rows):
            tokens = row.tokens()
            out[b] -= self.seen.setdefault(len(tokens), np.bincount(tokens, minlength=z.shape[-1]))
        return out


@dataclass(frozen=True)
class Renormalises(Transform):
    """Keeps the two largest, and makes them log-probabilities."""

    def apply(self, z: Array, context: Context) -> Array:
        second = np.sort(z, axis=-1)[:, -2][:, None]
        return log_softmax(np.where(z >= second, z, -np.inf))


@dataclass(frozen=True)
class CutsInNats(Transform):
    """Keeps what is at most two nats below the maximum."""

    def apply(self, z: Array, context: Context) -> Array:
        return np.where(z >= z.max(axis=-1, keepdims=True) - 2, z, -np.inf)


@dataclass(frozen=True)
class Sharpens(Chooser):
    """Draws from p squared."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(2 * host(z), address)


@dataclass(frozen=True)
class Draws(Chooser):
    """Draws where it should not."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        return noise.categorical(host(z), address)


@dataclass(frozen=True)
class SharesADraw(Chooser):
    """Draws once for all rows of a batch."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        first = Address(np.ravel(address.sequence)[0], np.ravel(address.position)[0], address.purpose)
        return noise.categorical(host(z), Address(np.full(len(z), first.sequence), np.full(len(z), first.position), first.purpose))


@dataclass(frozen=True)
class Settles(Chooser):
    """Draws at first, and is greedy from the sixth token on."""

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        drawn = noise.categorical(host(z), address)
        return np.where(np.asarray(address.position) > 5, np.argmax(z, axis=-1), drawn)


@dataclass(frozen=True)
class RemembersItsDraws(Chooser):
    """Does not draw the token again that it drew last, whosever text that was."""

    last: dict[str, int] = field(default_factory=dict, compare=False)

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        row = host(z).copy()
        if z.shape[-1] > 1 and "token" in self.last:
            row[:, self.last["token"]] -= 1
        token = noise.categorical(row, address)
        self.last["token"] = int(token[-1])
        return token


class Wanders(Transform):
    """Adds noise of its own."""

    def apply(self, z: Array, context: Context) -> Array:
        return z + np.random.default_rng().normal(size=z.shape)


def method(stage: type[Stage], *claims: str) -> Method:
    """A method made of a stage, as the catalogue would hold it."""
    return Method(stage.name, stage, claims, (), stage.__doc__ or "")


TWINS: dict[str, list[Method]] = {
    "identity": [method(ChangesAtNeutral, "identity")],
    "shift": [method(ReadsTheSign, "shift")],
    "shrinks": [method(LiftsTheForbidden, "shrinks")],
    "order": [method(PunishesTheTop, "order")],
    "argmax": [method(ForbidsTheTop, "argmax")],
    "nonempty": [method(NeedsOneHalf, "nonempty")],
    "relabel": [method(LikesLowIds, "relabel")],
    "monotone": [method(EveryKth, "monotone"), method(Sways, "monotone")],
    "idempotent": [method(DropsTheLast, "idempotent")],
    "batch": [method(LooksAcross, "batch"), method(SharesADraw, "batch")],
    "history": [method(ReadsThePast, "history"), method(Settles, "history")],
    "fork": [method(SharesItsCounts, "fork"), method(RemembersItsDraws, "fork")],
    "ratios": [method(Renormalises, "ratios")],
    "scale_free": [method(CutsInNats, "scale_free")],
    "law": [method(Sharpens, "law")],
    "deterministic": [method(Wanders, "deterministic"), method(Draws, "deterministic")],
}
