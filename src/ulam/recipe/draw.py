"""Logits through the stages: the law of the next token, and a draw from it.

A row that fails does so alone: an even row takes its place on the way, so that its mates are computed exactly as
without it, and what came of that row is never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, finite_rows, like, log_softmax, namespace, support, take_columns, take_rows
from ..core.context import Context
from ..core.errors import EmptySupport, InvalidLogits, NoGlobalForm, RecipeError, UlamError
from ..core.method import Chooser, Stage, Transform
from ..core.noise import Address, Noise

Failures = dict[int, UlamError]

Toss: TypeAlias = Callable[[Transform, NDArray[np.int64]], NDArray[np.bool_]]
"""The rows [B] on which a stage with a coin acts; the lane of its draws is its number, row by row, among the stages of its method that are not neutral."""

Watch: TypeAlias = Callable[[Transform, Array, Array], None]
"""Hears of every stage: the stage, the logits before it, the logits after it."""

MOST_COINS = 4


@dataclass(frozen=True)
class Draw:
    """Drawn tokens [B] and their log-probabilities [B] in nats, under the recipe and under the bare model.

    A row in `failures` holds token -1 and NaN.
    """

    tokens: NDArray[np.int64]
    recipe_log_probs: NDArray[np.float64]
    model_log_probs: NDArray[np.float64]
    failures: Failures


def shape(
    transforms: Sequence[Transform], z: Array, context: Context, failures: Failures, toss: Toss | None = None, watch: Watch | None = None
) -> Array:
    """Logits [B, V] after all transforms; rows that fail on the way join `failures`. Stages with a coin need a `toss`."""
    lanes: dict[str, NDArray[np.int64]] = {}
    rows = int(z.shape[0])
    for place, stage in enumerate(transforms):
        tossed = toss is not None and tosses(stage, rows).any()
        stage = stage.settled(z, context)
        after = stage(z, context.at(place))
        if toss is not None and tossed:
            xp = namespace(z)
            lane = lanes.get(stage.name, np.zeros(rows, np.int64))
            after = xp.where(like(z, toss(stage, lane), xp.bool)[:, None], after, z)
            lanes[stage.name] = lane + ~stage.neutral(rows)
        after = mend(after, stage, context, failures, z)
        if watch is not None:
            watch(stage, z, after)
        z = after
    return z


def tosses(stage: Transform, rows: int) -> NDArray[np.bool_]:
    """The rows [B] for which a stage tosses a coin: where it has one, and is not neutral."""
    return ~stage.neutral(rows) if stage.coin is not None else np.zeros(rows, np.bool_)


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
            what = f"{stage.name} left no token of {count}: mass 1 removed"  # of the row as it entered the stage
            empty = EmptySupport(what, stage=stage.name, row=row, position=position, fix=f"let {stage.name} keep more, or leave it out")
            empty.constraint = stage.kind == "constraint"
            failures[row] = empty
    return xp.where(like(z, good, xp.bool)[:, None], z, like(z, 0.0))


@np.errstate(all="ignore")  # differences of huge logits have their right limit
def law(transforms: Sequence[Transform], chooser: Chooser, z: Array, context: Context) -> tuple[Array, Failures]:
    """Log-probabilities [B, V] of the next token, chooser included, and the rows that failed."""
    failures: Failures = {}
    z = mend(z, None, context, failures)
    return stated(transforms, chooser, z, context, failures), failures


def stated(transforms: Sequence[Transform], chooser: Chooser, z: Array, context: Context, failures: Failures) -> Array:
    """Log-probabilities [B, V] of the next token for rows that are in order: the mixture over what the coins may say.

    A branch in which a row fails adds nothing to it; the failure joins `failures`.
    """
    height = int(z.shape[0])
    tossed = [rows for rows in (tosses(stage, height) for stage in transforms) if rows.any()]
    coins = len(tossed)
    if not coins:
        return chooser.law(shape(transforms, z, context, failures), context.at(len(transforms)))
    if coins > MOST_COINS:
        what = f"the recipe tosses {coins} coins, and its law is a mixture of 2^{coins}"
        raise RecipeError(what, fix=f"at most {MOST_COINS} stages with a coin")
    xp = namespace(z)
    mixture: Array = xp.zeros_like(z)
    for outcome in product((True, False), repeat=coins):
        fallen, weight = iter(outcome), np.ones(height)

        def toss(stage: Transform, lane: NDArray[np.int64], fallen: Iterator[bool] = fallen, weight: NDArray[np.float64] = weight) -> NDArray[np.bool_]:
            chance, acts = stage.chance(len(weight)), next(fallen)
            weight *= chance if acts else 1 - chance
            return np.full(len(weight), acts, dtype=np.bool_)

        lost: Failures = {}
        row_law = chooser.law(shape(transforms, z, context, lost, toss), context.at(len(transforms)))
        failures |= {row: error for row, error in lost.items() if weight[row] > 0 and row not in failures}
        weight[list(lost)] = 0
        mixture = mixture + like(z, weight)[:, None] * xp.exp(row_law)
    mixture, certain = xp.log(mixture), ~np.any(tossed, axis=0)
    if certain.any():  # rows without a coin have the bits that they have alone
        plain = chooser.law(shape(transforms, z, context, {}), context.at(len(transforms)))
        mixture = xp.where(like(z, certain, xp.bool)[:, None], plain, mixture)
    return mixture


def go_on(stages: Sequence[Stage], states: Any, token: int, z: Array, row: int = 0) -> None:
    """Advance what the stages of one row carry, in place; `z` [V] is the row that entered the chooser, `row` its place in a stack."""
    for place, state in enumerate(states):
        if state is not None:
            states[place] = stages[place].row(row).advance(state, token, z)


def check_told_by_texts(transforms: Sequence[Transform], chooser: Chooser) -> None:
    """Raises `NoGlobalForm` for a recipe whose next law depends on how coins fell before, which a text does not tell."""
    coin = next((stage.name for stage in transforms if stage.coin is not None), None)
    if coin is not None and chooser.feedback:
        what = f"what {chooser.name} carries depends on how the coins of {coin} fell, so a text alone gives no law of the next token"
        raise NoGlobalForm(what, stage=chooser.name, fix=f"the recipe without {coin}, or with another chooser; sample and law draw from it as it is")


@np.errstate(all="ignore")
def draw(transforms: Sequence[Transform], chooser: Chooser, z: Array, context: Context, noise: Noise, address: Address) -> Draw:
    """One token a row; `address` has a sequence and a position for every row. What the stages carry, `context.states`, goes on to the next."""
    failures: Failures = {}
    z = mend(z, None, context, failures)

    def toss(stage: Transform, lane: NDArray[np.int64]) -> NDArray[np.bool_]:
        acts = ~stage.neutral(z.shape[0])  # a coin that cannot fall is not tossed, nor one for a row that has failed
        acts[list(failures)] = False
        if (rows := np.flatnonzero(acts)).size:
            place = address.select(rows)
            acts[rows] = noise.bernoulli(stage.chance(z.shape[0])[rows], Address(place.sequence, place.position, stage.coin or 0, lane[rows]))
        return acts

    after = shape(transforms, z, context, failures, toss)
    last = context.at(len(transforms))
    good = np.array([row for row in range(z.shape[0]) if row not in failures], np.int64)
    tokens = np.zeros(z.shape[0], np.int64)
    if failures:
        tokens[good] = chooser.choose(take_rows(after, good), noise, address.select(good), last.select(good) if last.rows else last)
    else:
        tokens = chooser.choose(after, noise, address, last)
    tossed = any(tosses(stage, z.shape[0]).any() for stage in transforms)
    recipe = take_columns(stated(transforms, chooser, z, context, {}) if tossed else chooser.law(after, last), tokens)
    model = take_columns(log_softmax(z), tokens)
    if context.states:
        for row in good.tolist():
            go_on((*transforms, chooser), context.states[row], int(tokens[row]), after[row, :], row)
    if failures:
        rows = list(failures)
        tokens[rows], recipe[rows], model[rows] = -1, np.nan, np.nan
    return Draw(tokens, recipe, model, failures)
