"""How many paths the law of a recipe has, told before they are walked."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, inf, log10
from typing import NamedTuple

import numpy as np

from ..core.arrays import support, to_numpy
from ..core.errors import BudgetExceeded
from ..decode.recipe_model import RecipeModel
from ..decode.text import TextStream
from .path import Question

MOST = 128
"""Prefixes of one length that are looked at; the rest are taken to branch as these do."""

FEW = 8
"""So many where only the power of ten is told."""

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples lie evenly between whole numbers and keep time with no period: every second or third prefix may be of a kind."""

ALL_DIGITS = 1e9
"""Counts below it are told to the last digit."""

DOUBT = 2
"""An estimate within this factor of the budget refuses nothing: walking shows."""


class Sizes(NamedTuple):
    """The number of texts at the length limits 1, 2, ...; the first `exact` of them are counted, the others are estimates."""

    counts: list[float]
    exact: int


def sizes(model: RecipeModel, prompt: tuple[int, ...], max_tokens: int, enough: float = inf, stop: Sequence[str] = ()) -> Sizes:
    """The number of texts at every length limit from 1 to `max_tokens`; a text is over where it has a stop string.

    Counted as long as no more than `MOST` prefixes of a length go on; beyond that worked out from some all over the
    tree, of which there are few where a length has far more than `enough` texts. That is an estimate unless these all branch alike.
    """
    ends = list(model.vocabulary.ends)
    prefixes: list[tuple[int, ...]] = [()]
    live, finished = 1.0, 0.0
    whole, sure, exact = True, True, 0  # `prefixes` are all that go on; the counts so far are no estimates; how many those are
    counts: list[float] = []
    room = max_tokens if model.context_limit is None else min(max_tokens, model.context_limit - len(prompt))
    while len(counts) < room and prefixes and live < 1e300:
        state, logits = model.prefill([(*prompt, *prefix) for prefix in prefixes], generated=[len(prefix) for prefix in prefixes])
        model.release(state)
        kept = to_numpy(support(logits))
        over = kept[:, ends].sum(axis=-1) + ~kept.any(axis=-1)  # a row that nothing can be drawn from is a text that ends in error
        kept[:, ends] = False
        further = kept.sum(axis=-1)
        finished += live * int(over.sum()) / len(prefixes)
        on = np.argwhere(kept)
        live *= len(on) / len(prefixes)
        counts.append(finished + live)
        sure = sure and (whole or bool(np.ptp(over) == 0 == np.ptp(further)))
        exact += sure
        most = MOST if counts[-1] <= max(enough, ALL_DIGITS) else FEW
        some = on if len(on) <= most else on[np.unique((np.arange(1, most + 1) * GOLDEN % 1 * len(on)).astype(int))]
        whole = whole and len(some) == len(on)
        found = [(*prefixes[row], int(token)) for row, token in some]
        prefixes = [prefix for prefix in found if not stopped(model, prefix, stop)]
        ended = live * (len(found) - len(prefixes)) / max(1, len(found))
        finished, live = finished + ended, live - ended
        sure = sure and (whole or len(prefixes) in (0, len(found)))
    return Sizes(counts, exact)


def stopped(model: RecipeModel, tokens: tuple[int, ...], stop: Sequence[str]) -> bool:
    """Whether the text of some tokens has a stop string."""
    text = TextStream(stop)
    text.feed(b"".join(model.vocabulary.tokens[token] for token in tokens))
    return text.stopped_by is not None


def check_size(model: RecipeModel, prompt: tuple[int, ...], max_tokens: int, max_paths: int, stop: Sequence[str] = ()) -> None:
    """Raises `BudgetExceeded` for a law of more than `max_paths` paths: how many it has, and the largest length that fits.

    What is only estimated must be twice as many.
    """
    counts, exact = sizes(model, prompt, max_tokens, enough=max_paths, stop=stop)
    sure = exact == len(counts) or counts[exact - 1] > max_paths
    if not counts or counts[-1] <= max_paths * (1 if sure else DOUBT):
        return
    fits = sum(1 for count in counts if count <= max_paths)
    needed = counts[-1] if exact == len(counts) else rounded_up(counts[-1])
    count = ("" if exact == len(counts) else "about ") + told(needed)
    what = f"the law of {max_tokens} tokens under {model.recipe} has {count} paths, and at most {told(max_paths)} are walked"
    ways = [f"max_tokens={fits}"] if fits else []
    ways += [f"max_paths={round(needed)}"] if needed <= ALL_DIGITS else []
    error = BudgetExceeded(what, fix=", or ".join([*ways, "a recipe that keeps fewer tokens"]))
    error.needed, error.count, error.fits = needed, count, fits
    raise error


def rounded_up(count: float) -> float:
    """Two digits."""
    unit = 10.0 ** (floor(log10(count)) - 1)
    return ceil(count / unit) * unit


def too_many(paths: int, covered: float, widest: Question | None = None) -> BudgetExceeded:
    """Over budget on the way."""
    most = f"; the widest choice, {widest}, has {len(widest.outcomes)} outcomes" if widest is not None else ""
    what = f"there are more than max_paths={paths} paths; the first {told(paths)} cover {covered:.3g} of the mass{most}"
    return BudgetExceeded(what, fix="a larger max_paths, partial=True for bounds, or fewer choices: a shorter text, a recipe that keeps fewer tokens")


def told(count: float) -> str:
    """A count for people: all digits up to a billion, then the power of ten."""
    return f"{round(count):,}".replace(",", " ") if count < ALL_DIGITS else f"{count:.2g}"
