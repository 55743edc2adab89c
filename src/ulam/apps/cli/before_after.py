"""A small picture of what a method does: one row of probabilities before it and after it, with bars."""

from __future__ import annotations

import numpy as np

from ...core.errors import UlamError
from ...core.method import Stage
from ...models.alphabet import alphabet
from ...recipe import Recipe
from ...render.bars import bar
from ...render.numbers import probability

PROBS = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)
GENERATED = (0, 1, 2, 0, 1)
LETTERS, END = "abcde", "$"
WIDE = 20  # columns of probability 1


def before_after(stage: Stage) -> str | None:
    """Lines with the probabilities of a to e and the end after the text `abcab`, before and after the stage; None where
    nothing changes or nothing can be shown."""
    try:
        recipe = Recipe([stage]).bind(alphabet(LETTERS, end=END))
        after = recipe.distribution(np.log(PROBS), generated=GENERATED).probs
    except (UlamError, LookupError):  # it asks for tokens that six letters have not
        return None
    if np.abs(after - np.array(PROBS)).max() < 1e-9:
        return None
    lines = ["after abcab  before                       after"]
    for token, p, q in zip((*LETTERS, END), PROBS, after.tolist(), strict=True):
        shown = probability(q) if q else "–"
        lines.append(f"{token:<10}   {probability(p):<6} {bar(p * WIDE):<20}  {shown:<6} {bar(q * WIDE)}".rstrip())
    return "\n".join(lines)
