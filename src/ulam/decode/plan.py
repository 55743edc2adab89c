"""Which rows are drawn together: those whose recipes differ in numbers only.

Rows of one group have the same stages; their parameters are stacked into arrays [B] here and nowhere else. A
row's token does not depend on its group, by the `batch` claim of every method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, take_rows
from ..core.context import Context
from ..core.method import Chooser, Transform, stack, stack_key
from ..core.noise import Address, Noise
from ..recipe import Recipe
from ..recipe.draw import Draw, draw

Group = tuple[NDArray[np.int64], tuple[Transform, ...], Chooser]


class Plan:
    """Draws for rows that each have a recipe of their own."""

    def __init__(self, recipes: Sequence[Recipe]):
        self.recipes = tuple(recipes)
        self.rows: NDArray[np.int64] | None = None
        self.groups: list[Group] = []

    def draw(self, rows: NDArray[np.int64], z: Array, context: Context, noise: Noise, sequences: NDArray[np.uint64], positions: NDArray[np.int64]) -> Draw:
        """Tokens for `rows` (numbers into the recipes), whose logits are `z` [len(rows), V]."""
        if self.rows is None or not np.array_equal(rows, self.rows):
            self.rows, self.groups = rows, self.group(rows)
        out = Draw(np.full(len(rows), -1), np.full(len(rows), np.nan), np.full(len(rows), np.nan), {})
        for places, transforms, chooser in self.groups:
            whole = len(places) == len(rows)
            part = draw(
                transforms,
                chooser,
                z if whole else take_rows(z, places),
                context if whole else context.select(places),
                noise,
                Address(sequences[places], positions[places]),
            )
            out.tokens[places], out.recipe_log_probs[places], out.model_log_probs[places] = part.tokens, part.recipe_log_probs, part.model_log_probs
            for row, error in part.failures.items():
                error.row = int(rows[places[row]])
                out.failures[int(places[row])] = error
        return out

    def group(self, rows: NDArray[np.int64]) -> list[Group]:
        members: dict[tuple[Any, ...], list[int]] = {}
        for place, row in enumerate(rows.tolist()):
            members.setdefault(tuple(stack_key(stage) for stage in self.recipes[row].written), []).append(place)
        groups: list[Group] = []
        for places in members.values():
            recipes = [self.recipes[int(rows[place])] for place in places]
            transforms = tuple(stack(column) for column in zip(*(recipe.transforms for recipe in recipes), strict=True))
            groups.append((np.asarray(places), transforms, stack([recipe.chooser for recipe in recipes])))
        return groups
