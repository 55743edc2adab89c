"""A method under test: how the checks run it, on any array library, and what they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, as_logits, to_numpy
from ..core.context import Context, History
from ..core.errors import OutOfRange
from ..core.method import Chooser, Stage, Transform
from ..core.noise import Address, Noise
from ..core.parameter import MISSING, parameters
from ..core.vocabulary import Vocabulary
from ..methods import Method
from .inputs import Probe, Row, irregular, is_wide, letters, settings


class Inapplicable(Exception):
    """A promise says nothing about this input."""


class Subject:
    """A method, run through `array`, which turns NumPy arrays into the library under test.

    The image of a row is what a transform makes of it, or the log-probabilities of a chooser's law.
    """

    def __init__(self, method: Method, array: Callable[[Row], Array] = np.asarray):
        self.method, self.array = method, array
        self.name = method.name
        self.known: dict[Probe, Row] = {}

    def stage(self, probe: Probe) -> Stage:
        return self.method.stage(**probe.parameters)

    def images(self, stage: Stage, rows: Row, histories: Sequence[History] = (), vocabulary: Vocabulary | None = None, states: Sequence[Any] = ()) -> Row:
        """Images [B, V] of rows [B, V], as NumPy. The last token ends a text unless a vocabulary is given."""
        given, width = self.array(rows), rows.shape[-1]
        context = Context(histories, vocabulary or letters(width, (width - 1,)), [[state] for state in states])
        if isinstance(stage, Transform):
            return to_numpy(stage(given, context))
        assert isinstance(stage, Chooser)
        with np.errstate(all="ignore"):  # as in a recipe, where a failing row fails alone
            return to_numpy(stage.law(as_logits(given), context))

    def image(self, probe: Probe, row: Row | None = None) -> Row:
        """The image [V] of the probe's row, computed once, or of another row under the same parameters and history."""
        if row is not None:
            return self.images(self.stage(probe), row[None, :], [probe.history], probe.vocabulary)[0]
        if probe not in self.known:
            self.known[probe] = self.image(probe, probe.row)
        return self.known[probe]

    def tokens(self, stage: Stage, rows: Row, noise: Noise, address: Address, histories: Sequence[History] = (), states: Sequence[Any] = ()) -> list[int]:
        """What a chooser draws for rows [B, V]."""
        assert isinstance(stage, Chooser)
        context = Context(histories, letters(rows.shape[-1], (rows.shape[-1] - 1,)), [[state] for state in states])
        return stage.choose(as_logits(self.array(rows)), noise, address, context).tolist()

    def advanced(self, stage: Stage, state: Any, tokens: Sequence[int], row: Row) -> Any:
        """The state after some tokens more, each chosen from the row [V]; the one given is left as it is."""
        state = stage.fork(state)
        for token in tokens:
            state = stage.advance(state, token, as_logits(self.array(row)))
        return state

    def carried(self, stage: Stage, probe: Probe) -> list[tuple[History, list[Any]]]:
        """Histories, and as a list of one what a stage carries after each: after the probe's, and after likely and unlikely tokens more.

        A stage that carries nothing has one history and an empty list.
        """
        begun = stage.init(probe.history)
        if begun is None:
            return [(probe.history, [])]
        steps = [[], *([token] for token in extremes_of(probe.row)), [*extremes_of(probe.row)] * 2]
        return [(longer(probe.history, tokens), [self.advanced(stage, begun, tokens, probe.row)]) for tokens in steps]

    @cached_property
    def grid(self) -> tuple[str, NDArray[Any]] | None:
        """The first parameter and 20 rising values of it, the neutral one left out; None if it is not a number, or the same for all rows."""
        declared = parameters(self.method.stage)
        if not declared or (bounds := declared[0].range) is None or declared[0].scalar:
            return None
        p, low, high = declared[0], bounds.low, bounds.high
        if p.kind is int:
            values = [int(low) + step for step in range(21)]
        elif np.isfinite(low) and np.isfinite(high):
            values = np.linspace(low, high, 21).tolist()
        else:
            values = [*([low] if np.isfinite(low) else np.linspace(-5, -0.25, 8).tolist()), *np.geomspace(0.05, 40, 12 if np.isinf(low) else 19).tolist()]
        return p.name, np.array([x for x in values if x in bounds and (p.neutral is MISSING or x != p.neutral)])

    def along(self, probe: Probe) -> Row:
        """Images [20, V] of the probe's row along the grid."""
        if self.grid is None:
            raise Inapplicable("the first parameter is not a number that differs by row")
        name, values = self.grid
        try:
            stage = self.method.stage(**{**probe.parameters, name: values})
        except OutOfRange as error:
            raise Inapplicable("another parameter bounds the first") from error
        return self.images(stage, np.tile(probe.row, (len(values), 1)), [probe.history] * len(values))

    @cached_property
    def direction(self) -> int:
        """1 if the first parameter widens the distribution of a fixed irregular row, -1 if it narrows it, 0 if neither."""
        first, last = (spread(image) for image in self.along(Probe(irregular(8, 8), settings(self.method.stage, 8)[0]))[[0, -1]])
        return (last > first) - (last < first)


def extremes_of(row: Row) -> tuple[int, int]:
    """The most likely token of a row, and the least likely that is possible."""
    return int(np.argmax(row)), int(np.argmin(np.where(kept(row), row, np.inf)))


def longer(history: History, tokens: Sequence[int]) -> History:
    return History(history.prompt, [*history.generated, *tokens])


def probabilities(logits: Row) -> NDArray[np.float64]:
    """Softmax of rows in float64, on its own; zeros where no token is left."""
    z = logits.astype(np.float64)
    top = z.max(axis=-1, keepdims=True)
    weight = np.exp(np.where(z > -np.inf, z - np.where(np.isfinite(top), top, 0.0), -np.inf))
    return weight / np.maximum(weight.sum(axis=-1, keepdims=True), 1e-300)


def kept(logits: Row) -> NDArray[np.bool_]:
    return logits > -np.inf


def spread(logits: Row) -> tuple[int, float]:
    """How wide a distribution is: tokens kept, then entropy in nats."""
    p = probabilities(logits)
    p = p[p > 0]
    return int(kept(logits).sum()), float(-(p * np.log(p)).sum())


def same_bits(a: Row, b: Row) -> bool:
    """Equal shape, type and bytes."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def tolerance(row: Row) -> float:
    """How far probabilities that are equal by law may lie apart: 1e-10 in float64, 1e-4 below (semantics of the claims)."""
    return 1e-10 if row.dtype == np.float64 else 1e-4


def far(a: Row, b: Row, allowed: float) -> str | None:
    """Whether the distributions of two images are further apart than `allowed`, in total variation, or one has no number where it should."""
    distance = float(np.abs(probabilities(a) - probabilities(b)).sum()) / 2
    if distance <= allowed:
        return None
    return f"{int(kept(a).sum())} tokens are kept here and {int(kept(b).sum())} there, and the total variation between them is {distance:.3g}"


def unlike(probe: Probe, a: Row, b: Row, allowed: float) -> str | None:
    """Where two images of a probe's row, alike but for rounding, differ. In a wide row in float32 tokens lie so close to each other that some
    are on any threshold: there the distance of the distributions counts.
    """
    crowded = is_wide(probe) and probe.row.dtype != np.float64
    return far(a, b, tolerance(probe.row)) if crowded else differ(a, b, allowed)


def differ(a: Row, b: Row, allowed: float) -> str | None:
    """Where the distributions of two images differ: in the kept set, or in a probability by more than `allowed`."""
    if not np.array_equal(kept(a), kept(b)):
        return f"keeps {np.flatnonzero(kept(a)).tolist()[:12]} here and {np.flatnonzero(kept(b)).tolist()[:12]} there"
    gap = np.abs(probabilities(a) - probabilities(b))
    if not gap.max(initial=0.0) <= allowed:
        i = int(np.nanargmax(gap))
        return f"token {i} has probability {probabilities(a)[i]:.12g} here and {probabilities(b)[i]:.12g} there"
    return None
