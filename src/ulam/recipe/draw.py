"""Logits through the stages: the law of the next token, and a draw from it.

A row that fails does so alone: an even row takes its place on the way, so that its mates are computed exactly as
without it, and what came of that row is never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, finite_rows, like, log_softmax, namespace, support, take_columns
from ..core.context import Context
from ..core.errors import EmptySupport, InvalidLogits, UlamError
from ..core.method import Chooser, Transform
from ..core.noise import Address, Noise

Failures = dict[int, UlamError]


@dataclass(frozen=True)
class Draw:
    """Drawn tokens [B] and their log-probabilities [B] in nats, under the recipe and under the bare model.

    A row in `failures` holds token -1 and NaN.
    """

    tokens: NDArray[np.int64]
    recipe_log_probs: NDArray[np.float64]
    model_log_probs: NDArray[np.float64]
    failures: Failures


def shape(transforms: Sequence[Transform], z: Array, context: Context, failures: Failures) -> Array:
    """Logits [B, V] after all transforms; rows that fail on the way join `failures`."""
    for stage in transforms:
        z = mend(stage(z, context), stage, context, failures, z)
    return z


def mend(z: Array, stage: Transform | None, context: Context, failures: Failures, before: Array | None = None) -> Array:
    """Note the rows that no token can be drawn from, and put an even row in their place.

    `stage` made them, from the logits `before`; without a stage they are the model's.
    """
    good = finite_rows(z)
    if good.all():
        return z
    xp = namespace(z)
    for row in set(np.flatnonzero(~good).tolist()) - failures.keys():
        position = context.rows[row].position if row < len(context.rows) else None
        if stage is None:
            what = "the logits hold NaN, +inf or no finite entry"
            failures[row] = InvalidLogits(what, row=row, position=position, fix="look at the model: its weights, or products in a type too small")
        elif not bool(xp.all(z[row, :] < float("inf"))):
            failures[row] = InvalidLogits(f"{stage.name} made NaN or +inf: a fault of the method", stage=stage.name, row=row, position=position)
        else:
            count = 0 if before is None else int(xp.sum(xp.astype(support(before[row, :]), xp.int64)))
            what = f"{stage.name} left no token of {count}"
            failures[row] = EmptySupport(what, stage=stage.name, row=row, position=position, fix=f"a {stage.name} that allows more, or none")
    return xp.where(like(z, good, xp.bool)[:, None], z, like(z, 0.0))


@np.errstate(all="ignore")  # differences of huge logits have their right limit
def law(transforms: Sequence[Transform], chooser: Chooser, z: Array, context: Context) -> tuple[Array, Failures]:
    """Log-probabilities [B, V] of the next token, chooser included, and the rows that failed."""
    failures: Failures = {}
    z = mend(z, None, context, failures)
    return chooser.law(shape(transforms, z, context, failures)), failures


@np.errstate(all="ignore")
def draw(transforms: Sequence[Transform], chooser: Chooser, z: Array, context: Context, noise: Noise, address: Address) -> Draw:
    """One token a row; `address` has a sequence and a position for every row."""
    failures: Failures = {}
    z = mend(z, None, context, failures)
    after = shape(transforms, z, context, failures)
    tokens = chooser.choose(after, noise, address)
    recipe = take_columns(chooser.law(after), tokens)
    model = take_columns(log_softmax(z), tokens)
    if failures:
        rows = list(failures)
        tokens[rows], recipe[rows], model[rows] = -1, np.nan, np.nan
    return Draw(tokens, recipe, model, failures)
