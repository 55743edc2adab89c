"""How many paths the law of a recipe has, told before they are walked."""

from __future__ import annotations

from math import inf

import numpy as np

from ..core.arrays import support, to_numpy
from ..core.errors import BudgetExceeded
from ..decode.recipe_model import RecipeModel
from .path import Question

MOST = 128
"""Prefixes of one length that are looked at; the rest are taken to branch as these do."""

FEW = 8
"""So many where there are too many texts already, and only the power of ten is wanted."""


def sizes(model: RecipeModel, prompt: tuple[int, ...], max_tokens: int, enough: float = inf) -> list[float]:
    """The number of texts at every length limit from 1 to `max_tokens`.

    Exact as long as no more than `MOST` prefixes of a length go on, or all branch alike; beyond that an estimate from evenly
    spaced ones, of which there are few where a length has more than `enough` texts.
    """
    ends = list(model.vocabulary.ends)
    prefixes: list[tuple[int, ...]] = [()]
    live, finished = 1.0, 0.0
    counts: list[float] = []
    room = max_tokens if model.context_limit is None else min(max_tokens, model.context_limit - len(prompt))
    while len(counts) < room and prefixes and live < 1e300:
        state, logits = model.prefill([(*prompt, *prefix) for prefix in prefixes], generated=[len(prefix) for prefix in prefixes])
        model.release(state)
        kept = to_numpy(support(logits))
        dead = int((~kept.any(axis=-1)).sum())
        finished += live * (int(kept[:, ends].sum()) + dead) / len(prefixes)
        kept[:, ends] = False
        on = np.argwhere(kept)
        live *= len(on) / len(prefixes)
        counts.append(finished + live)
        spaced = np.linspace(0, max(0, len(on) - 1), MOST if counts[-1] <= enough else FEW)
        prefixes = [(*prefixes[row], int(token)) for row, token in on[np.unique(spaced.round().astype(int))[: len(on)]]]
    return counts


def check_size(model: RecipeModel, prompt: tuple[int, ...], max_tokens: int, max_paths: int) -> None:
    """Raises `BudgetExceeded` for a law of more than `max_paths` paths: how many it has, and the largest length that fits."""
    counts = sizes(model, prompt, max_tokens, enough=max_paths)
    if not counts or counts[-1] <= max_paths:
        return
    fits = sum(1 for count in counts if count <= max_paths)
    needed = round(counts[-1]) if counts[-1] < 1e15 else counts[-1]
    what = f"the law of {max_tokens} tokens under {model.recipe} has {told(counts[-1])} paths, and at most {told(max_paths)} are walked"
    ways = [f"max_tokens={fits}"] if fits else []
    ways += [f"max_paths={needed}"] if isinstance(needed, int) and needed <= 10**9 else []
    error = BudgetExceeded(what, fix=", or ".join([*ways, "a recipe that keeps fewer tokens"]))
    error.needed, error.fits = counts[-1], fits
    raise error


def too_many(paths: int, covered: float, widest: Question | None = None) -> BudgetExceeded:
    """Over budget on the way."""
    most = f"; the widest choice, {widest}, has {len(widest.outcomes)} outcomes" if widest is not None else ""
    what = f"there are more than max_paths={paths} paths; the first {told(paths)} cover {covered:.3g} of the mass{most}"
    return BudgetExceeded(what, fix="a larger max_paths, partial=True for bounds, or fewer choices: a shorter text, a recipe that keeps fewer tokens")


def told(count: float) -> str:
    """A count for people: all digits up to a billion, then the power of ten."""
    return f"{round(count):,}".replace(",", " ") if count < 1e9 else f"{count:.2g}"
