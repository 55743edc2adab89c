"""What all models share: states that are used once, and the checks of ids and row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array
from ..core.errors import StaleState, TokenOutOfRange, UsageError


class OnceState:
    """A state that `step` or `release` ends. Whoever wants to keep it forks first."""

    live = True

    def check(self) -> None:
        """Raises `StaleState` if an earlier step or a release has ended this state."""
        if not self.live:
            raise StaleState("this state was used up by an earlier step or release", fix="fork before stepping: kept = model.select(state, rows)")


def token_ids(tokens: Sequence[int] | Array, size: int, count: int | None = None) -> NDArray[np.int64]:
    """`tokens` as ids [T], each from 0 to `size` - 1, with T = `count` if given.

    Raises `TokenOutOfRange`, and `UsageError` for something that is no list of that length.
    """
    ids = np.asarray(tokens)
    if ids.ndim != 1 or (count is not None and len(ids) != count):
        wanted = "a list of token ids" if count is None else f"{count} token ids, one a row"
        raise UsageError(f"expected {wanted}, found {type(tokens).__name__} of shape {list(ids.shape)}", fix="give token ids: [3, 17, 4]")
    if len(ids) == 0:
        return np.zeros(0, np.int64)
    if ids.dtype.kind not in "iu":
        raise TokenOutOfRange(f"token ids are whole numbers, found {ids.dtype}", fix="give token ids: [3, 17, 4]")
    if ids.min() < 0 or ids.max() >= size:
        wrong = next(i for i in ids.tolist() if not 0 <= i < size)
        raise TokenOutOfRange(f"token id {wrong} is outside 0 to {size - 1}", fix="use ids of this model's vocabulary")
    return ids.astype(np.int64, copy=False)


def token_rows(tokens: Sequence[Sequence[int]] | Array, size: int, count: int | None = None) -> NDArray[np.int64]:
    """`tokens` as ids [B, K], each from 0 to `size` - 1, with B = `count` if given. Raises as `token_ids`."""
    try:
        ids = np.asarray(tokens)
    except ValueError:  # rows of unequal length
        ids = np.zeros(0)
    if ids.ndim != 2 or (count is not None and len(ids) != count):
        wanted = "rows of token ids, all of one length" if count is None else f"{count} rows of token ids, all of one length"
        raise UsageError(f"expected {wanted}, found {type(tokens).__name__} of shape {list(ids.shape)}", fix="give token ids: [[3, 17, 4]]")
    return token_ids(ids.reshape(-1), size).reshape(ids.shape)


def row_numbers(rows: Sequence[int] | Array, count: int) -> list[int]:
    """`rows` as row numbers of a state with `count` rows. Raises `UsageError` for one that it does not have."""
    numbers: list[Any] = np.asarray(rows).tolist()
    for row in numbers:
        if type(row) is not int or not 0 <= row < count:
            raise UsageError(f"there is no row {row} in a state of {count} rows", fix="select by row number, from 0")
    return numbers
