"""Randomness with an address: a draw is a function of (seed, sequence, position, purpose, lane).

Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11), pinned for
good. Key: the 64-bit seed, low word first. Counter words: position; purpose << 24 | lane; the 64-bit sequence
number, low word first. The sequence number belongs to the logical row (its prompt and its sample), never
to its place in a batch, so a row draws the same alone, in a batch, reordered, resumed and streamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from numbers import Integral
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InvalidLogits, OutOfRange

Words: TypeAlias = NDArray[np.uint32]
Coupling: TypeAlias = Literal["inverse_cdf", "gumbel"]


class Purpose(IntEnum):
    """What a draw is for. Numbers are part of the pinned streams and are never reused."""

    choose = 0
    xtc = 1
    accept = 2
    residual = 3
    resample = 4
    proposal = 5
    coupling = 6
    draft = 7
    cut = 8
    shift = 9
    pick = 10


@dataclass(frozen=True)
class Address:
    """Where a draw is in the stream; each field a scalar or an array [B], one draw a row.

    sequence  the logical row, 0 to 2^64 - 1
    position  tokens generated before this one, 0 to 2^32 - 1
    purpose   what the draw is for
    lane      place inside one draw (the token id under Gumbel coupling), 0 to 2^24 - 1
    """

    sequence: ArrayLike
    position: ArrayLike
    purpose: int = Purpose.choose
    lane: ArrayLike = 0

    def select(self, rows: NDArray[np.int64]) -> Address:
        """The addresses of some rows; sequence and position are arrays [B], and the lane is that of all."""
        return Address(np.asarray(self.sequence)[rows], np.asarray(self.position)[rows], self.purpose, self.lane)


def sequence_number(prompt: int, sample: int) -> int:
    """The sequence number of a row: prompt index in the upper half, sample index in the lower."""
    return prompt << 32 | sample


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[Any, Any], rounds: int = 10) -> tuple[Words, Words, Words, Words]:
    """Philox4x32: four counter words and two key words (numbers, or arrays of unsigned 64-bit ones) to four random words, vectorised."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(rounds):
        p0 = c0.astype(np.uint64) * np.uint64(0xD2511F53)
        p1 = c2.astype(np.uint64) * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> shift).astype(np.uint32) ^ c1 ^ np.asarray(k0, np.uint32),
            (p1 & low).astype(np.uint32),
            (p0 >> shift).astype(np.uint32) ^ c3 ^ np.asarray(k1, np.uint32),
            (p0 & low).astype(np.uint32),
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def inverse_cdf(weights: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Tokens [B] from weights [B, V] >= 0 and uniforms [B]: the first id whose running sum exceeds u times the total.

    The running sum is float64, in vocabulary order. If rounding leaves none, the last id of positive weight.
    """
    total = np.cumsum(weights, axis=-1)
    beyond = total > (u * total[:, -1])[:, None]
    last = weights.shape[-1] - 1 - np.argmax(weights[:, ::-1] > 0, axis=-1)
    return np.asarray(np.where(beyond.any(axis=-1), np.argmax(beyond, axis=-1), last), dtype=np.int64)


class Uniform:
    """Uniform numbers of [0, 1), one an address, looked at or not.

    An algorithm that only compares them (`below`, `cell`) can be enumerated; one that reads `values`, or `float`, cannot.
    Several laws may share one handle: that is how noise is shared on purpose.
    """

    def __init__(self, values: ArrayLike):
        self._values = np.asarray(values, dtype=np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """The numbers themselves, in the shape of the address."""
        return self._values

    def __float__(self) -> float:
        return float(self.values.item())

    def below(self, a: ArrayLike) -> NDArray[np.bool_]:
        """[u < a]: never at a = 0, always at a = 1. Broadcasts. Raises `OutOfRange` for NaN."""
        return self.values < bounds(a)

    def cell(self, edges: ArrayLike) -> NDArray[np.int64]:
        """Which interval of a partition u lies in: the number of `edges` (rising, [K]) that are at most u, 0 to K.

        Raises `OutOfRange` for edges that do not rise.
        """
        return np.searchsorted(partition(edges), self.values, side="right")


def bounds(a: ArrayLike) -> NDArray[np.float64]:
    """What a uniform is compared with."""
    numbers = np.asarray(a, dtype=np.float64)
    if np.isnan(numbers).any():
        raise OutOfRange("a uniform is compared with NaN", parameter="a", fix="a number: below(0.5)")
    return numbers


def partition(edges: ArrayLike) -> NDArray[np.float64]:
    """Edges [K] between intervals."""
    numbers = bounds(edges)
    if numbers.ndim != 1 or not (numbers[1:] >= numbers[:-1]).all():
        raise OutOfRange(f"{numbers.tolist()} are no edges of a partition", parameter="edges", fix="a rising list: cell([0.2, 0.5])")
    return numbers


class Noise(Protocol):
    """The only source of random choices. Every question carries its address; arrays ask for many rows at once."""

    def uniform(self, address: Address) -> Uniform: ...

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]: ...

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]: ...


def random_bits(address: Address, key: tuple[Any, Any]) -> NDArray[np.uint64]:
    """Output word 0 above word 1 at every address; the two words of the key are numbers, or arrays that broadcast with the address."""
    sequence, position, purpose, lane = np.broadcast_arrays(*fields(address))
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    words = (position, purpose << np.uint64(24) | lane, sequence & low, sequence >> shift)
    x0, x1, _, _ = philox(tuple(w.astype(np.uint32) for w in words), key)  # type: ignore[arg-type]
    return (x0.astype(np.uint64) << shift) | x1.astype(np.uint64)


class PhiloxNoise:
    """The noise of real runs."""

    def __init__(self, seed: int):
        self.seed = check_seed(seed)

    def __repr__(self) -> str:
        return f"PhiloxNoise({self.seed})"

    def bits(self, address: Address) -> NDArray[np.uint64]:
        """64 random bits at every address. `OutOfRange` for a field that does not fit its word."""
        return random_bits(address, (self.seed & 0xFFFFFFFF, self.seed >> 32))

    def uniform(self, address: Address) -> Uniform:
        """k 2^-53 with k the top 53 bits: [0, 1)."""
        return Uniform((self.bits(address) >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    def gumbel(self, address: Address) -> NDArray[np.float64]:
        """-ln(-ln u) with u = (2k + 1) 2^-53 and k the top 52 bits: finite, never 0 or 1 under the logarithms."""
        k = (self.bits(address) >> np.uint64(12)).astype(np.float64)
        return -np.log(-np.log((2 * k + 1) * 2.0**-53))

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]:
        """u < p: never at p = 0, always at p = 1. `OutOfRange` for p outside [0, 1]."""
        chance = np.asarray(p, dtype=np.float64)
        if not bool(np.all((chance >= -1e-12) & (chance <= 1 + 1e-12))):
            raise OutOfRange(f"a probability of {p} is outside [0, 1]", parameter="p")
        return self.uniform(address).below(chance)

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        """One token a row, [B], from log-probabilities [B, V] that need not be normalised.

        `inverse_cdf` takes one uniform a row; `gumbel` takes the maximum of log p + Gumbel noise with lane = token id,
        which couples draws of different distributions at one address. Both have the law of the row exactly.
        Raises `InvalidLogits` for a row with NaN, +inf or nothing finite, `OutOfRange` for lanes past 2^24.
        """
        log_probs = np.asarray(log_probs, dtype=np.float64)
        top = log_probs.max(axis=-1, keepdims=True)
        if not bool(np.isfinite(top).all()):
            raise InvalidLogits("a row to draw from has NaN, +inf or no finite entry")
        if coupling == "gumbel":
            lanes = Address(column(address.sequence), column(address.position), address.purpose, np.arange(log_probs.shape[-1], dtype=np.uint64))
            keys = np.where(log_probs > -np.inf, log_probs - top + self.gumbel(lanes), -np.inf)
            return np.argmax(keys, axis=-1)
        return inverse_cdf(np.exp(log_probs - top), self.uniform(address).values)


def column(x: ArrayLike) -> NDArray[Any]:
    """A field of an address, one entry a row, ready to meet one lane a token."""
    return np.asarray(x).reshape(-1, 1)


def words_of(x: ArrayLike, name: str, bits: int) -> NDArray[np.uint64]:
    """A field of an address as whole numbers of so many bits: a number that wrapped would use an address twice."""
    field = np.asarray(x)
    if field.size and (field.dtype.kind not in "iu" or int(field.min()) < 0 or int(field.max()) >= 2**bits):
        raise OutOfRange(f"{name} of an address is not a whole number from 0 to 2^{bits} - 1", parameter=name)
    return field.astype(np.uint64)


def fields(address: Address) -> tuple[NDArray[np.uint64], ...]:
    """Sequence, position, purpose and lane. Raises `OutOfRange` for one that does not fit its word."""
    sizes = {"sequence": 64, "position": 32, "purpose": 8, "lane": 24}
    return tuple(words_of(getattr(address, name), name, bits) for name, bits in sizes.items())


def check_seed(seed: Any) -> int:
    """A seed is an integer of 64 bits. Raises `OutOfRange`."""
    return check_word(seed, "seed", fix="seed=7")


def check_word(value: Any, name: str, bits: int = 64, fix: str | None = None) -> int:
    """A whole number of so many bits, for a key or a part of an address. Raises `OutOfRange`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**bits:
        raise OutOfRange(f"{name}={value} is not a whole number from 0 to 2^{bits} - 1", parameter=name, fix=fix)
    return int(value)
