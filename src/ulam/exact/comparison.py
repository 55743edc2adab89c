"""A law of texts beside another one, also where the other has too many texts to list."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..core.arrays import softmax, to_numpy
from ..core.errors import BudgetExceeded, UlamError
from ..decode.recipe_model import RecipeModel
from ..decode.request import Prompt, read_prompts
from ..decode.samples import failing
from ..models.protocol import LanguageModel
from ..recipe import Recipe
from .distances import kl
from .laws import Interval, Law, Outcome
from .mode import Watch, law, remembering

Prefix: TypeAlias = tuple[int, ...]

ROUNDING = 1e-12
"""Less mass than this may be none."""

TOGETHER = 64
"""Prefixes that are evaluated in one call."""


class Comparison:
    """What two laws say of the outcomes of the first, and how far they are apart. Nats.

    law       a law, wholly covered
    other     the law beside it; or, where that cannot be listed, the probability it gives to each outcome of `law`
    probs     the other's probability of each outcome of `law`, in their order
    rest      the other's mass of all that `law` never says
    removed   how many outcomes that is; None where they are not listed
    unlisted  why they are not

    All but `removed` and the other's entropy is exact either way, because `law` gives 0 to what is not listed. Raises `UsageError`
    for laws of different things.
    """

    def __init__(self, law: Law, other: Law | Mapping[Any, float], unlisted: UlamError | None = None):
        whole = isinstance(other, Law)
        law._pairs(other if whole else law, "a comparison")  # raises unless both are covered, and of one kind
        self.law, self.other, self.unlisted = law, other if whole else None, unlisted
        given = dict(other) if whole else other
        self.probs = [float(given.get(outcome, 0)) for outcome in law.outcomes]
        self.pairs = [(float(p), q) for p, q in zip(law.probs, self.probs, strict=True)]
        beyond = [float(given[outcome]) for outcome in given.keys() - {*law.outcomes}] if whole else []
        self.removed = sum(q > 0 for q in beyond) if whole else None
        left = math.fsum(beyond) if whole else 1 - math.fsum(self.probs)
        self.rest = left if whole or left > ROUNDING else 0.0

    @property
    def entropy(self) -> float | None:
        """Of the other law, nats; None if it is not known."""
        return None if self.other is None else self.other.entropy()

    @property
    def total_variation(self) -> float:
        """Half the sum of absolute differences, over all outcomes of either."""
        return min(1.0, (math.fsum(abs(p - q) for p, q in self.pairs) + self.rest) / 2)

    @property
    def kl(self) -> float:
        """Divergence of `law` from the other, sum of p ln(p/q); inf where the other has 0 and `law` has not."""
        return kl(self.pairs)

    @property
    def reverse_kl(self) -> float | None:
        """Divergence of the other from `law`: inf if the other says what `law` never says; None if rounding hides whether it does."""
        if self.other is None:
            return math.inf if self.rest else None
        return math.inf if self.removed else kl([(q, p) for p, q in self.pairs])

    def mass(self, event: Callable[[Any], bool]) -> float | Interval:
        """The other's probability of an event; bounds where it has outcomes that are not listed."""
        if self.other is not None:
            return math.fsum(float(q) for outcome, q in self.other if event(outcome))
        known = math.fsum(q for outcome, q in zip(self.law.outcomes, self.probs, strict=True) if event(outcome))
        return Interval(known, min(1.0, known + self.rest))


def compare(
    model: LanguageModel,
    recipe: str | Recipe,
    against: str | Recipe | None = None,
    prompt: Prompt = "",
    max_tokens: int = 3,
    *,
    max_paths: int = 1_000_000,
    watch: Watch | None = None,
) -> Comparison:
    """The law of a model's texts under a recipe beside that under another one, or beside the model's own (None).

    The recipe's law must fit the budget; raises as `law`. Where the other one does not, each
    text of the recipe's law is evaluated under it, which is enough for their distance.
    """
    model = remembering(model)
    first = law(model, recipe, prompt, max_tokens, max_paths=max_paths, watch=watch)
    try:
        return Comparison(first, law(model, against, prompt, max_tokens, max_paths=max_paths, watch=watch))
    except BudgetExceeded as error:
        tokens = read_prompts(model, prompt)[1][0]
        return Comparison(first, text_probs(RecipeModel(model, against or ""), tokens, first.outcomes), error)


def text_probs(model: RecipeModel, prompt: Prefix, outcomes: Iterable[Outcome]) -> dict[Outcome, float]:
    """The probability of each of some texts under a model with a recipe; one that has no next token has some if the model fails there too, and alike."""
    outcomes = list(outcomes)
    after = branches(outcomes)
    masses: dict[Prefix, float] = {(): 1.0}
    failed: set[Outcome] = set()
    for batch in in_batches([*after, *(outcome.tokens for outcome in outcomes if outcome.failed)]):
        state, logits = model.prefill([(*prompt, *prefix) for prefix in batch], generated=[len(prefix) for prefix in batch])
        failed |= {Outcome(batch[row], failing(error)) for row, error in state.failures.items()}
        model.release(state)
        with np.errstate(invalid="ignore"):  # a row that fails has no probability at all
            probs = np.nan_to_num(softmax(to_numpy(logits).astype(np.float64)))
        for prefix, row in zip(batch, probs, strict=True):
            masses |= {(*prefix, token): masses[prefix] * float(row[token]) for token in after.get(prefix, ())}
    return {outcome: masses[outcome.tokens] if not outcome.failed or outcome in failed else 0.0 for outcome in outcomes}


def branches(outcomes: Iterable[Outcome]) -> dict[Prefix, set[int]]:
    """The tokens that follow each prefix of some texts."""
    found: dict[Prefix, set[int]] = defaultdict(set)
    for outcome in outcomes:
        for length, token in enumerate(outcome.tokens):
            found[outcome.tokens[:length]].add(token)
    return found


def in_batches(prefixes: Iterable[Prefix]) -> Iterator[list[Prefix]]:
    """Prefixes of one length, shortest first, some at a time."""
    lengths: dict[int, list[Prefix]] = defaultdict(list)
    for prefix in prefixes:
        lengths[len(prefix)].append(prefix)
    for length in sorted(lengths):
        for at in range(0, len(lengths[length]), TOGETHER):
            yield lengths[length][at : at + TOGETHER]
