"""What every constraint promises is tested: for each promise a constraint that breaks it, and honest ones that keep all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ulam.core.arrays import Array, like, namespace
from ulam.core.claims import Case
from ulam.core.context import Context, History
from ulam.core.method import Constraint
from ulam.core.parameter import parameter
from ulam.methods import Method, find
from ulam.methods.constraints.no_repeat_ngram import NoRepeatNgram, Seen
from ulam.testing import ConformanceError, check_constraint
from ulam.testing.check import assert_all
from ulam.testing.inputs import probes
from ulam.testing.masks import CONSTRAINT_PROMISES, intersection, mask, texts, told
from ulam.testing.subject import Subject


@dataclass(frozen=True)
class First(Constraint):
    """Allows the first n tokens: honest."""

    n: int = parameter(int, "[0, inf)", fixed=True, help="how many tokens are allowed")

    def allowed(self, z: Array, context: Context) -> Array:
        return like(z, np.arange(z.shape[-1]) < self.n, namespace(z).bool)[None, :]


class Likely(First):
    """Allows the n most likely tokens: what is allowed depends on the logits."""

    def allowed(self, z: Array, context: Context) -> Array:
        return np.argsort(np.argsort(-z, axis=-1, kind="stable"), axis=-1) < self.n


class Shifted(First):
    def apply(self, z: Array, context: Context) -> Array:
        return super().apply(z, context) + z.dtype.type(1)


class Spared(First):
    """An only token may always come."""

    def allowed(self, z: Array, context: Context) -> Array:
        return super().allowed(z, context) | ((z > -np.inf).sum(axis=-1, keepdims=True) == 1)


class Patched(First):
    """A row that would be emptied stays as it is, unless it is all alike."""

    def apply(self, z: Array, context: Context) -> Array:
        out = super().apply(z, context)
        return np.where((out > -np.inf).any(axis=-1, keepdims=True), out, z)


class Nameless(First):
    kind = "transform"


class Window(NoRepeatNgram):
    """Forgets an n-gram that leaves the window although it came again inside it."""

    def add(self, seen: Seen, token: int) -> None:
        super().add(seen, token)
        if not isinstance(self.window, str) and len(seen.tokens) > self.window:
            gone = seen.tokens[len(seen.tokens) - self.window - 1 :][: self.n]
            seen.after.get(tuple(gone[:-1]), {}).pop(gone[-1], None)

    def init(self, history: History) -> Seen | None:
        seen, whole = super().init(History()), NoRepeatNgram.init(NoRepeatNgram(self.n, self.window, self.scope), history)
        return whole if seen is not None else None


def method(stage: Any) -> Method:
    case = Case((0.25, 0.5, 0.25), {"n": 2}, (1 / 3, 2 / 3, 0), "nothing")
    return Method(stage.name, stage, ("batch",), (case,) * 3, "A constraint: for a test.")


def broken(stage: Any, promise: str) -> str:
    """What the test of one promise says."""
    with pytest.raises(ConformanceError) as caught:
        assert_all(Subject(method(stage)), promise, CONSTRAINT_PROMISES[promise], probes(stage, 300))
    assert caught.value.promise == promise
    assert caught.value.probe is not None
    assert len(caught.value.probe.row) <= 4
    return str(caught.value)


def test_the_promises_are_of_masks() -> None:
    assert list(CONSTRAINT_PROMISES.values())[-4:] == [mask, intersection, told, texts]


def test_an_honest_constraint_keeps_them_all() -> None:
    report = check_constraint(method(First), inputs=75)
    assert {"mask", "intersection", "told"} <= {*report.asserted}
    assert report.not_applicable["texts"] == "it carries nothing"
    assert "nonempty" not in report.understated
    assert {"ratios", "scale_free", "history"} <= {*report.understated}
    assert check_constraint(find("no_repeat_ngram"), inputs=75).asserted["texts"] > 10


@pytest.mark.parametrize(
    ("stage", "promise", "says"),
    [
        (Likely, "mask", "a row of equal logits keeps"),
        (Shifted, "mask", "a row of equal logits keeps"),
        (Spared, "mask", "otherwise where it is the only one"),
        (Patched, "mask", "otherwise where it is the only one"),
        (Likely, "intersection", "it does not allow what both do"),
        (Patched, "intersection", "it does not allow what both do"),
        (Patched, "told", "gives NoneType instead of EmptySupport"),
        (Nameless, "told", "gives EmptySupport instead of EmptySupport by a constraint"),
        (Window, "texts", "and from the history"),
    ],
)
def test_a_constraint_that_breaks_a_promise(stage: Any, promise: str, says: str) -> None:
    assert says in broken(stage, promise)
