"""One way through the choices of a procedure: what was asked so far, how it was answered, and which answers are still to be tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.errors import AddressReused, BudgetExceeded, NotDeterministic
from ..core.noise import Purpose

Key: TypeAlias = tuple[int, int, int, int]
"""One address: sequence, position, purpose, lane."""

Choices: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""The possible answers of a question and their probabilities."""

GUMBEL = "categorical(gumbel)"
"""The kind of a question that uses every lane of its address."""

OWN = "an address of its own"

REPEAT = (
    "draw from the noise alone: no other generator, no clock, no state that outlives a call, no order of a set; "
    "where a model's bits vary from call to call, CachedModel(model)"
)


@dataclass
class Question:
    """A choice point.

    asked    all that the law of the answer depends on, to compare with what is asked when the procedure runs again
    before   mass of the path up to here
    taken    which of the outcomes is the answer now; `last` is the first that this path leaves to others
    """

    key: Key
    kind: str
    asked: bytes
    outcomes: NDArray[np.int64]
    probs: NDArray[np.float64]
    before: float
    taken: int
    last: int

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


@dataclass(frozen=True)
class Limits:
    """The most questions on a path, and the most outcomes of a question."""

    max_depth: int = 10_000
    max_outcomes: int | None = None


class Path:
    """The present way, and all ways that are still to be tried below it."""

    def __init__(self, limits: Limits, stack: list[Question] | None = None):
        self.limits, self.stack = limits, stack or []
        self.begin()

    def begin(self) -> None:
        """The procedure starts, for the first time or again."""
        self.depth, self.mass = 0, 1.0
        self.known: dict[Key, tuple[str, bytes, int]] = {}
        self.spread: dict[tuple[int, int, int], bool] = {}
        self.intervals: dict[Key, tuple[float, float]] = {}

    def end(self) -> None:
        """The procedure is through. Raises `NotDeterministic` if it asked fewer questions than it did before."""
        if self.depth < len(self.stack):
            what = f"the procedure asked {self.depth} questions where it asked {len(self.stack)} before; the first one missing is {self.stack[self.depth]}"
            raise NotDeterministic(what, fix=REPEAT)

    def next(self) -> bool:
        """Go on to the next way; False if there is none left."""
        while self.stack and self.stack[-1].taken + 1 == self.stack[-1].last:
            self.stack.pop()
        if not self.stack:
            return False
        self.stack[-1].taken += 1
        return True

    def split(self) -> Path | None:
        """Another path that takes over half of the untried answers of the first question that has some."""
        for depth, question in enumerate(self.stack):
            left = question.last - question.taken - 1
            if left:
                middle = question.last - (left + 1) // 2
                fixed = [replace(each, last=each.taken + 1) for each in self.stack[:depth]]
                other = Path(self.limits, [*fixed, replace(question, taken=middle)])
                question.last = middle
                return other
        return None

    def ask(self, key: Key, kind: str, asked: bytes, choices: Callable[[], Choices]) -> int:
        """The answer on this way; a question that comes for the first time has its first."""
        if self.depth == len(self.stack):
            if self.depth == self.limits.max_depth:
                raise BudgetExceeded(f"a path asks more than {self.depth} questions", fix="a procedure that ends, or a larger max_depth")
            outcomes, probs = choices()
            question = Question(key, kind, asked, outcomes, probs, self.mass, 0, len(outcomes))
            if self.limits.max_outcomes is not None and len(outcomes) > self.limits.max_outcomes:
                what = f"{question} has {len(outcomes)} outcomes, and max_outcomes is {self.limits.max_outcomes}"
                raise BudgetExceeded(what, fix=f"max_outcomes={len(outcomes)}")
            self.stack.append(question)
        question = self.stack[self.depth]
        if (question.key, question.kind, question.asked) != (key, kind, asked):
            what = "with other probabilities" if (question.key, question.kind) == (key, kind) else f"where it asked for {question} before"
            raise NotDeterministic(f"the procedure does not repeat itself: it asks for {kind} at {shown(key)} {what}", fix=REPEAT)
        self.depth, self.mass = self.depth + 1, question.after
        return question.answer

    def claim(self, key: Key, kind: str) -> None:
        """An address is used for a question. Raises `AddressReused` if it is a lane of a draw under Gumbel coupling, one of whose tokens has it."""
        if self.spread.setdefault(key[:3], kind == GUMBEL) != (kind == GUMBEL):
            what = f"a draw under Gumbel coupling uses all lanes at {shown((*key[:3], 0))}, and another question is asked at one of them"
            raise AddressReused(what, fix=OWN)

    def once(self, key: Key, kind: str, asked: bytes, choices: Callable[[], Choices]) -> int:
        """As `ask`, but the same question again has the same answer. Raises `AddressReused` for another question at its address."""
        self.claim(key, kind)
        if key not in self.known:
            self.known[key] = (kind, asked, self.ask(key, kind, asked, choices))
        earlier, of, answer = self.known[key]
        if (earlier, of) != (kind, asked):
            what = f"{kind} is asked for at {shown(key)}, which was used for " + (f"{earlier} with other probabilities" if earlier == kind else earlier)
            raise AddressReused(what, fix=f"{OWN}, or, to share noise on purpose, one handle: u = noise.uniform(address)")
        return answer
