"""A noise that takes every outcome of every question, one path after another, by running the procedure again.

No program state is copied: the procedure is run once a path, and its first questions are answered as they were before. That asks
only one thing of it, that it repeat itself; a question that differs from the recorded one is an error that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import AddressReused, BudgetExceeded, InvalidLogits, NotDeterministic, NotEnumerable, OutOfRange
from ..core.noise import Address, Coupling, Purpose, Uniform

Key: TypeAlias = tuple[int, int, int, int]
"""One address: sequence, position, purpose, lane."""


@dataclass
class Question:
    """A choice point of the path: what was asked, the outcomes that are possible, and which of them is taken now.

    before   mass of the path up to here
    """

    key: Key
    kind: str
    asked: bytes
    outcomes: NDArray[np.int64]
    probs: NDArray[np.float64]
    before: float
    taken: int = 0

    @property
    def answer(self) -> int:
        return int(self.outcomes[self.taken])

    @property
    def after(self) -> float:
        return self.before * float(self.probs[self.taken])

    def __str__(self) -> str:
        return f"{self.kind} at {shown(self.key)}"


def shown(key: Key) -> str:
    """An address for people."""
    sequence, position, purpose, lane = key
    name = next((each.name for each in Purpose if each == purpose), str(purpose))
    return f"sequence {sequence}, position {position}, purpose {name}" + (f", lane {lane}" if lane else "")


class EnumeratingNoise:
    """Answers questions along one path at a time; `next_path` goes on to the next.

    max_depth     the most questions a path may ask
    max_outcomes  the most possible outcomes a question may have
    """

    def __init__(self, max_depth: int = 10_000, max_outcomes: int | None = None):
        self.max_depth, self.max_outcomes = max_depth, max_outcomes
        self.stack: list[Question] = []
        self.widest: Question | None = None
        self.begin()

    def __repr__(self) -> str:
        return f"EnumeratingNoise({len(self.stack)} questions on this path)"

    def begin(self) -> None:
        """Forget what this run of the procedure has asked; the recorded path stays."""
        self.depth, self.mass = 0, 1.0
        self.asked: dict[Key, tuple[str, bytes, int]] = {}
        self.intervals: dict[Key, tuple[float, float]] = {}

    def end(self) -> None:
        """The procedure is through. Raises `NotDeterministic` if it asked fewer questions than on the recorded path."""
        if self.depth < len(self.stack):
            raise NotDeterministic(
                f"the procedure asked {self.depth} questions where it asked {len(self.stack)} before; the first one missing is {self.stack[self.depth]}",
                fix=REPEAT,
            )

    def next_path(self) -> bool:
        """Go on to the next path; False if this was the last."""
        while self.stack and self.stack[-1].taken + 1 == len(self.stack[-1].outcomes):
            self.stack.pop()
        if not self.stack:
            return False
        self.stack[-1].taken += 1
        return True

    def ask(self, key: Key, kind: str, asked: bytes, law: Callable[[], tuple[NDArray[np.int64], NDArray[np.float64]]]) -> int:
        """The answer of this path. `asked` is all that the law of the answer depends on; `law` gives possible outcomes and probabilities."""
        if self.depth == len(self.stack):
            if self.depth == self.max_depth:
                raise BudgetExceeded(f"a path asks more than {self.max_depth} questions", fix="a procedure that ends, or a larger max_depth")
            outcomes, probs = law()
            question = Question(key, kind, asked, outcomes, probs, self.mass)
            if self.max_outcomes is not None and len(outcomes) > self.max_outcomes:
                raise BudgetExceeded(f"{question} has {len(outcomes)} outcomes, and max_outcomes is {self.max_outcomes}", fix=f"max_outcomes={len(outcomes)}")
            if self.widest is None or len(outcomes) > len(self.widest.outcomes):
                self.widest = question
            self.stack.append(question)
        question = self.stack[self.depth]
        if (question.key, question.kind, question.asked) != (key, kind, asked):
            what = "with other probabilities" if (question.key, question.kind) == (key, kind) else f"where it asked for {question} before"
            raise NotDeterministic(f"the procedure does not repeat itself: it asks for {kind} at {shown(key)} {what}", fix=REPEAT)
        self.depth, self.mass = self.depth + 1, question.after
        return question.answer

    def once(self, key: Key, kind: str, asked: bytes, law: Callable[[], tuple[NDArray[np.int64], NDArray[np.float64]]]) -> int:
        """As `ask`; a question that was asked before on this path has its old answer. Raises `AddressReused` for another one at its address."""
        if key not in self.asked:
            self.asked[key] = (kind, asked, self.ask(key, kind, asked, law))
        earlier, of, answer = self.asked[key]
        if (earlier, of) != (kind, asked):
            what = f"{kind} is asked for at {shown(key)}, which was used for " + (f"{earlier} with other probabilities" if earlier == kind else earlier)
            raise AddressReused(what, fix="an address of its own, or, to share noise on purpose, one handle: u = noise.uniform(address)")
        return answer

    def categorical(self, log_probs: NDArray[np.float64], address: Address, coupling: Coupling = "inverse_cdf") -> NDArray[np.int64]:
        """One token a row, [B]. Both couplings have the same law."""
        rows = np.asarray(log_probs, dtype=np.float64)
        kind = "categorical" if coupling == "inverse_cdf" else f"categorical({coupling})"
        answers = [self.once(key, kind, row.tobytes(), lambda row=row: possible(row)) for key, row in zip(keys(address, (len(rows),)), rows, strict=True)]
        return np.array(answers, dtype=np.int64)

    def bernoulli(self, p: ArrayLike, address: Address) -> NDArray[np.bool_]:
        """A coin for every address."""
        chances = np.asarray(p, dtype=np.float64)
        if not bool(np.all((chances >= -1e-12) & (chances <= 1 + 1e-12))):
            raise OutOfRange(f"a probability of {p} is outside [0, 1]", parameter="p")
        shape = shape_of(address)
        flat = np.broadcast_to(np.clip(chances, 0, 1), shape).ravel()
        answers = [self.once(key, "bernoulli", one.tobytes(), lambda one=one: coin(float(one))) for key, one in zip(keys(address, shape), flat, strict=True)]
        return np.array(answers, dtype=bool).reshape(shape)

    def uniform(self, address: Address) -> EnumeratedUniform:
        """A handle: it can be compared, and not read."""
        shape = shape_of(address)
        places = keys(address, shape)
        for key in places:
            kind, _, _ = self.asked.setdefault(key, ("uniform", b"", 0))
            if kind != "uniform":
                raise AddressReused(f"a uniform is asked for at {shown(key)}, which was used for {kind}", fix="an address of its own")
            self.intervals.setdefault(key, (0.0, 1.0))
        return EnumeratedUniform(self, places, shape)


REPEAT = "draw from the noise alone: no other generator, no clock, no state that outlives a call, no order of a set"


class EnumeratedUniform(Uniform):
    """A uniform of which only the interval is known that it lies in; every comparison narrows it."""

    def __init__(self, noise: EnumeratingNoise, places: list[Key], shape: tuple[int, ...]):
        self.noise, self.places, self.shape = noise, places, shape

    @property
    def values(self) -> NDArray[np.float64]:
        """Raises `NotEnumerable`."""
        where = shown(self.places[0]) if self.places else "no address"
        raise NotEnumerable(f"the procedure reads a number from [0, 1) at {where}, which has no list of outcomes", fix="compare it: below(a), cell(edges)")

    def below(self, a: ArrayLike) -> NDArray[np.bool_]:
        edges = np.broadcast_to(np.asarray(a, dtype=np.float64), self.shape).ravel()
        return np.array([self.locate(key, np.array([edge])) == 0 for key, edge in zip(self.places, edges, strict=True)], dtype=bool).reshape(self.shape)

    def cell(self, edges: ArrayLike) -> NDArray[np.int64]:
        rising = np.asarray(edges, dtype=np.float64)
        return np.array([self.locate(key, rising) for key in self.places], dtype=np.int64).reshape(self.shape)

    def locate(self, key: Key, edges: NDArray[np.float64]) -> int:
        """The cell of one of the numbers: its interval is cut by the edges inside it, and one of the pieces is taken."""
        low, high = self.noise.intervals[key]
        bounds = np.unique(np.concatenate([[low, high], edges[(edges > low) & (edges < high)]]))
        piece = 0
        if len(bounds) > 2:
            lengths = np.diff(bounds)
            piece = self.noise.ask(key, "cell", bounds.tobytes(), lambda: (np.arange(len(lengths)), lengths / (high - low)))
        self.noise.intervals[key] = (float(bounds[piece]), float(bounds[piece + 1]))
        return int(np.searchsorted(edges, bounds[piece], side="right"))


def possible(row: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens of positive probability, and their probabilities."""
    top = row.max()
    if not np.isfinite(top):
        raise InvalidLogits("a row to draw from has NaN, +inf or no finite entry")
    weight = np.exp(row - top)
    (tokens,) = np.nonzero(weight)
    return tokens, weight[tokens] / weight.sum()


def coin(p: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """False and True, as far as they are possible."""
    probs = np.array([1 - p, p])
    (faces,) = np.nonzero(probs)
    return faces, probs[faces]


def shape_of(address: Address) -> tuple[int, ...]:
    """The shape of the answer to a question at this address."""
    return np.broadcast_shapes(*(np.shape(x) for x in (address.sequence, address.position, address.lane)))


def keys(address: Address, shape: tuple[int, ...]) -> list[Key]:
    """The addresses one by one."""
    fields = [np.broadcast_to(np.asarray(x), shape).ravel().tolist() for x in (address.sequence, address.position, address.lane)]
    return [(int(sequence), int(position), int(address.purpose), int(lane)) for sequence, position, lane in zip(*fields, strict=True)]
