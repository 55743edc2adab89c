"""Two recipes compared in law: the distribution of the next token on rows and histories without ties."""

from __future__ import annotations

from typing import Any

import numpy as np

from ulam.core.errors import UlamError
from ulam.core.vocabulary import Vocabulary
from ulam.recipe import Recipe

WIDTH = 12
LETTERS = Vocabulary(
    [*(bytes([97 + i]) for i in range(WIDTH - 1)), b""], names={WIDTH - 1: "<end>"}, ends=[WIDTH - 1], encode=lambda text: [ord(c) - 97 for c in text]
)
HISTORIES = [((), ()), ((3, 0, 3), (1, 0, 1, 2)), ((5, 6, 5), (6, 5, 6, 5, 6))]


def rows(seed: int, count: int = 12) -> list[np.ndarray[Any, Any]]:
    """Rows of logits without ties, sharp and flat, positive and negative."""
    rng = np.random.default_rng(seed)
    scales = rng.choice([0.3, 1.0, 2.5, 6.0], count)
    return [rng.standard_normal(WIDTH) * scale + rng.normal() for scale in scales]


def law(recipe: Recipe, row: np.ndarray[Any, Any], history: Any) -> np.ndarray[Any, Any] | str:
    """The distribution, or the name of the error of a row that has none."""
    try:
        return np.asarray(recipe.bind(LETTERS).distribution(row, *history).probs)
    except UlamError as error:
        return type(error).__name__


def distance(a: Recipe, b: Recipe, seed: int = 0) -> float:
    """The greatest total variation over rows and histories, the worst row in twenty left out (a value beside a threshold)."""
    found: list[float] = []
    for row in rows(seed):
        for history in HISTORIES:
            p, q = law(a, row, history), law(b, row, history)
            if isinstance(p, str) or isinstance(q, str):
                found.append(float(not (isinstance(p, str) and isinstance(q, str) and p == q)))
            else:
                found.append(0.5 * float(np.abs(p - q).sum()))
    return sorted(found)[-1 - len(found) // 20]
