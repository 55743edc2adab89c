"""A noise that takes every outcome of every question, one path after another, by running the procedure again.

No program state is copied: the procedure is run once a path, and its first questions are answered as they were before. That asks
only one thing of it, that it repeat itself; a question that differs from the recorded one is an error that says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import AddressReused, InvalidLogits, NotEnumerable, OutOfRange
from ..core.noise import Address, Coupling, Uniform, bounds, fields, partition
from .path import GUMBEL, OWN, Choices, Key, Path, shown


class EnumeratingNoise:
    """Answers every question as the path says that it belongs to.

    With one path all questions are its own. With several, the sequence numbers 0, 1, 2, ... are independent rows of one run, and
    each follows a path of its own.
    """

    def __init__(self, paths: Sequence[Path]):
        self.paths = paths
        for path in paths:
            path.begin()

    def __repr__(self) -> str:
        return f"EnumeratingNoise({len(self.paths)} {'path' if len(self.paths) == 1 else 'paths'})"

    def at(self, address: Address, shape: tuple[int, ...]) -> list[tuple[Path, Key]]:
        """The addresses one by one, and the path of each."""
        keys = zip(*(np.broadcast_to(field, shape).ravel().tolist() for field in fields(address)), strict=True)
        if len(self.paths) == 1:
            return [(self.paths[0], key) for key in keys]
        return [(self.paths[row], (0, *rest)) for row, *rest in keys]

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        """One token a row, [B]. Both couplings have the same law."""
        rows = np.asarray(log_probs, dtype=np.float64)
        kind = "categorical" if coupling == "inverse_cdf" else GUMBEL
        if kind == GUMBEL:
            address = Address(address.sequence, address.position, address.purpose)  # its lanes are the tokens
        places = zip(self.at(address, (len(rows),)), rows, strict=True)
        return np.array([path.once(key, kind, row.tobytes(), lambda row=row: tokens_of(row)) for (path, key), row in places], dtype=np.int64)

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]:
        """A coin for every address."""
        chances = np.asarray(p, dtype=np.float64)
        if not bool(np.all((chances >= -1e-12) & (chances <= 1 + 1e-12))):
            raise OutOfRange(f"a probability of {p} is outside [0, 1]", parameter="p")
        shape = shape_of(address)
        flat = np.broadcast_to(np.clip(chances, 0, 1), shape).ravel()
        places = zip(self.at(address, shape), flat, strict=True)
        faces = [path.once(key, "bernoulli", chance.tobytes(), lambda chance=chance: faces_of(float(chance))) for (path, key), chance in places]
        return np.array(faces, dtype=bool).reshape(shape)

    def uniform(self, address: Address) -> EnumeratedUniform:
        """A handle: it can be compared, and not read."""
        shape = shape_of(address)
        places = self.at(address, shape)
        for path, key in places:
            path.claim(key, "a uniform")
            kind, _, _ = path.known.setdefault(key, ("uniform", b"", 0))
            if kind != "uniform":
                raise AddressReused(f"a uniform is asked for at {shown(key)}, which was used for {kind}", fix=OWN)
            path.intervals.setdefault(key, (0.0, 1.0))
        return EnumeratedUniform(places, shape)


class EnumeratedUniform(Uniform):
    """Uniforms of which only the interval is known that each lies in; every comparison narrows it."""

    def __init__(self, places: list[tuple[Path, Key]], shape: tuple[int, ...]):
        self.places, self.shape = places, shape

    @property
    def values(self) -> NDArray[np.float64]:
        """Raises `NotEnumerable`."""
        where = f" at {shown(self.places[0][1])}" if self.places else ""
        raise NotEnumerable(f"the procedure reads a number from [0, 1){where}, which has no list of outcomes", fix="compare it: below(a), cell(edges)")

    def below(self, a: ArrayLike) -> NDArray[np.bool_]:
        edges = bounds(a)
        shape = np.broadcast_shapes(self.shape, edges.shape)
        numbers = np.broadcast_to(np.arange(len(self.places)).reshape(self.shape), shape).ravel().tolist()
        cells = [locate(*self.places[i], np.array([edge])) for i, edge in zip(numbers, np.broadcast_to(edges, shape).ravel(), strict=True)]
        return np.array([cell == 0 for cell in cells], dtype=bool).reshape(shape)

    def cell(self, edges: ArrayLike) -> NDArray[np.int64]:
        rising = partition(edges)
        return np.array([locate(path, key, rising) for path, key in self.places], dtype=np.int64).reshape(self.shape)


def locate(path: Path, key: Key, edges: NDArray[np.float64]) -> int:
    """The cell that a uniform lies in: its interval is cut by the edges inside it, and one of the pieces is taken."""
    low, high = path.intervals[key]
    cuts = np.unique(np.concatenate([[low, high], edges[(edges > low) & (edges < high)]]))
    lengths = np.diff(cuts)
    piece = path.ask(key, "cell", cuts.tobytes(), lambda: (np.arange(len(lengths)), lengths / (high - low))) if len(lengths) > 1 else 0
    path.intervals[key] = (float(cuts[piece]), float(cuts[piece + 1]))
    return int(np.searchsorted(edges, cuts[piece], side="right"))


def tokens_of(row: NDArray[np.float64]) -> Choices:
    """The tokens of positive probability."""
    top = row.max()
    if not np.isfinite(top):
        raise InvalidLogits("a row to draw from has NaN, +inf or no finite entry")
    weight = np.exp(row - top)
    (tokens,) = np.nonzero(weight)
    return tokens, weight[tokens] / weight.sum()


def faces_of(p: float) -> Choices:
    """False and True, as far as they are possible."""
    probs = np.array([1 - p, p])
    (faces,) = np.nonzero(probs)
    return faces, probs[faces]


def shape_of(address: Address) -> tuple[int, ...]:
    """The shape of the answer to a question at this address."""
    return np.broadcast_shapes(*(np.shape(x) for x in (address.sequence, address.position, address.lane)))
