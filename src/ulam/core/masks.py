"""Masks: the tokens of a row that a list of ids means, and sets of tokens as parameters.

A mask is bool, [B, V], or [1, V] where it is the same for all rows; it is made on the host and lives where the logits do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, like, namespace
from .context import Context
from .errors import NeedsTokenizer, TokenOutOfRange
from .method import Constraint, Stage
from .parameter import Item
from .values import Word, print_value
from .vocabulary import Vocabulary

T = TypeVar("T", bound="TokenSet")


def ids_in(stage: Stage, parameter: str, items: Iterable[Item], width: int) -> list[int]:
    """The ids that a parameter lists, for rows of V = `width`. Raises `NeedsTokenizer` for a text or a word, `TokenOutOfRange`."""
    found: list[int] = []
    for item in items:
        if not isinstance(item, int):
            what = f"{stage.name}: {print_value(item)} is no id, and no vocabulary is bound"
            raise NeedsTokenizer(what, stage=stage.name, parameter=parameter, fix="give token ids, or recipe.bind(vocabulary)")
        if item >= width:
            what = f"{stage.name}: token id {item} is outside 0 to {width - 1} (V = {width})"
            raise TokenOutOfRange(what, stage=stage.name, parameter=parameter, fix="use ids of this model's vocabulary")
        found.append(item)
    return found


def marked(z: Array, rows: Sequence[Iterable[int]]) -> Array:
    """Mask of the ids given for every row, or for one row that stands for all."""
    mask = np.zeros((len(rows), int(z.shape[-1])), dtype=np.bool_)
    for b, ids in enumerate(rows):
        mask[b, list(ids)] = True
    return like(z, mask, namespace(z).bool)


def positions(z: Array, context: Context) -> NDArray[np.int64]:
    """The number of generated tokens of every row, [B]."""
    return np.array([row.position for row in context.rows] or [0] * int(z.shape[0]), dtype=np.int64)


def banned_before(z: Array, context: Context, until: Any, ids: Iterable[int]) -> Array:
    """Mask of the tokens that are allowed if these are banned while fewer than `until` tokens, scalar or [B], are generated."""
    late = like(z, positions(z, context) >= until, namespace(z).bool)
    return late[:, None] | ~marked(z, [ids])


class TokenSet(Constraint):
    """Base of the constraints on a set of tokens, in which the word `end` stands for every end token."""

    tokens: tuple[Item, ...]

    def bind(self: T, vocabulary: Vocabulary) -> T:
        ends: Sequence[Item] = vocabulary.ends or (Word("end"),)  # without one the word has no meaning, and an error that says so
        tokens = [each for item in self.tokens for each in (ends if item == Word("end") else (item,))]
        return cast(T, Constraint.bind(dataclasses.replace(cast(Any, self), tokens=tokens), vocabulary))

    def listed(self, z: Array) -> list[int]:
        """The ids of the set, for rows like these."""
        return ids_in(self, "tokens", self.tokens, int(z.shape[-1]))
