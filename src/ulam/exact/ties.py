"""Ties that a recipe breaks: tokens as likely as a token that stays, and gone all the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.arrays import Array, support, to_numpy
from ..core.context import Context, History
from ..core.method import Stage
from ..core.parameter import parameters
from ..decode.loop import reference
from ..methods import claims_of
from ..models.protocol import LanguageModel
from ..recipe import Recipe
from ..recipe.draw import Failures, mend, shape
from .laws import Law
from .texts import Prefix, branches, in_batches


@dataclass(frozen=True)
class Tie:
    """Tokens with equal logits in front of a stage that keeps some of them and removes the others.

    stage     the stage, as it stands in the recipe
    kept      ids that stay, and that the recipe goes on to say
    removed   ids that go; none of them is said there
    prefixes  how many texts so far it happens after; `first` is the first of them, shortest first
    always    whether that is all of them, so that the removed tokens are never said
    """

    stage: str
    kept: tuple[int, ...]
    removed: tuple[int, ...]
    first: Prefix
    prefixes: int
    always: bool


def ties(law: Law, model: LanguageModel, recipe: Recipe, prompt: Prefix) -> list[Tie]:
    """The ties along the texts of `law`, which is that of `model` under `recipe` after `prompt`.

    Logits are compared as the stage gets them, bit for bit. Stages that may tell equal logits apart for another reason than a
    tie (those that read the history, or name tokens) are not looked at, nor are recipes that toss a coin.
    """
    bound = recipe.bind(model.vocabulary)
    if any(stage.coin is not None for stage in bound.transforms):
        return []
    said = branches(law.outcomes)
    found: dict[tuple[str, tuple[int, ...], tuple[int, ...]], list[Prefix]] = {}
    for batch in in_batches(said):
        state, z = model.prefill([(*prompt, *prefix) for prefix in batch])
        model.release(state)
        for stage, before, after in passes(bound, reference(z, len(batch), len(model.vocabulary)), Context([History(prompt, each) for each in batch])):
            z, kept = to_numpy(before), to_numpy(support(after))
            removed = to_numpy(support(before)) & ~kept
            for row in np.flatnonzero(removed.any(axis=-1)).tolist():
                stays = [token for token in sorted(said[batch[row]]) if kept[row, token]]
                for value in dict.fromkeys(z[row, stays].tolist()):
                    gone = np.flatnonzero(removed[row] & (z[row] == value)).tolist()
                    if gone and not said[batch[row]].intersection(gone):
                        key = (str(stage), tuple(token for token in stays if z[row, token] == value), tuple(gone))
                        found.setdefault(key, []).append(batch[row])
    return [Tie(*key, first=prefixes[0], prefixes=len(prefixes), always=len(prefixes) == len(said)) for key, prefixes in found.items()]


def passes(recipe: Recipe, z: Array, context: Context) -> list[tuple[Stage, Array, Array]]:
    """The stages that break ties by id alone, the chooser included, each with the logits before and after it."""
    failures: Failures = {}
    seen: list[tuple[Stage, Array, Array]] = []
    with np.errstate(all="ignore"):
        z = shape(recipe.transforms, mend(z, None, context, failures), context, failures, watch=lambda *step: seen.append(step))
        seen.append((recipe.chooser, z, recipe.chooser.law(z, context)))
    return [step for step in seen if blind(step[0])]


def blind(stage: Stage) -> bool:
    """Whether two tokens with equal logits differ for this stage in nothing but their ids."""
    claims, named = claims_of(stage), any(p.kind is dict for p in parameters(stage))
    return "history" in claims and not named and ("relabel" in claims or stage.kind == "chooser")
