"""A law of texts beside another one, also where the other has too many texts to list."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core.errors import BudgetExceeded, UlamError
from ..decode.recipe_model import RecipeModel
from ..decode.request import Prompt, read_prompts
from ..models.protocol import LanguageModel
from ..recipe import Recipe
from .laws import Interval, Law, log_of
from .mode import Watch, law, remembering
from .texts import text_log_probs

ROUNDING = 1e-12
"""Less mass than this may be none."""


class Comparison:
    """What two laws say of the outcomes of the first, and how far they are apart. Nats.

    law       a law, wholly covered
    other     the law beside it; or, where that cannot be listed, the log-probability it gives to each outcome of `law`
    probs     the other's probability of each outcome of `law`, in their order; `log_probs`: where it is below the least float too
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
        if isinstance(other, Law):
            listed, said = dict(other), {*law.outcomes}
            self.probs = [float(listed.get(outcome, 0)) for outcome in law.outcomes]
            self.log_probs = [log_of(listed.get(outcome, 0)) for outcome in law.outcomes]
            beyond = [q for outcome, q in other if outcome not in said and q]
            self.removed, left = len(beyond), math.fsum(map(float, beyond))
        else:
            self.log_probs = [other.get(outcome, -math.inf) for outcome in law.outcomes]
            self.probs = [*map(math.exp, self.log_probs)]
            self.removed, left = None, 1 - math.fsum(self.probs)
        self.pairs = [(float(p), q) for p, q in zip(law.probs, self.probs, strict=True)]
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
        return divergence((float(p), log_of(p), log_q) for p, log_q in zip(self.law.probs, self.log_probs, strict=True))

    @property
    def reverse_kl(self) -> float | None:
        """Divergence of the other from `law`: inf if the other says what `law` never says; None if rounding hides whether it does."""
        if self.other is None:
            return math.inf if self.rest else None
        return math.inf if self.removed else divergence((q, log_q, log_of(p)) for p, q, log_q in zip(self.law.probs, self.probs, self.log_probs, strict=True))

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
        return Comparison(first, text_log_probs(model if against is None else RecipeModel(model, against), tokens, first.outcomes), error)


def divergence(outcomes: Iterable[tuple[float, float, float]]) -> float:
    """sum of p (ln p - ln q) over outcomes (p, ln p, ln q): inf where q is 0 and p is not, and not where it is only too small for a float."""
    return max(0.0, math.fsum(p * (log_p - log_q) for p, log_p, log_q in outcomes if p))
