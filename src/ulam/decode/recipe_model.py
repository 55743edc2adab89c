"""Model x recipe: the law of the next token under a recipe, as a language model.

What an importance weight needs stands beside it: q(v|h) = u(v|h) / N(h), where u is what the stages make of the model's
log-probabilities, and N its sum. Over a whole text q(x) = gamma(x) / prod N with gamma = prod u, so that exp(sum of log N) repairs
local normalisation (Kempton and Burrell 2025, "Local normalization distortion", arXiv 2503.21929).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, keep, like, log_softmax, namespace, row_max, row_sum, support, take_rows, to_numpy
from ..core.context import Context, History
from ..core.errors import NoGlobalForm, UsageError
from ..methods import claims_of
from ..models.protocol import LanguageModel, State, TokenIds, refuse_engine
from ..models.state import OnceState
from ..models.table import digest
from ..recipe import Recipe
from ..recipe.draw import Failures, check_told_by_texts, law, mend, shape
from .loop import reference


class RecipeState(OnceState):
    """What the inner model remembers, its logits, and of every row the history and what the stages carry, if any does.

    `failures` are rows that have no next token.
    """

    def __init__(self, inner: State, z: Array, rows: Sequence[History], carried: Sequence[list[Any]] = ()):
        self.inner, self.z, self.rows, self.carried = inner, z, tuple(rows), carried
        self.failures: Failures = {}


class RecipeModel:
    """A language model whose next token has the law of a recipe, chooser included.

    Logits are log q, nats, [B, V]; `-inf` for what the recipe removes. A stage that tosses a coin gives the mixture. A row
    that the recipe empties is `-inf` throughout; why is in `state.failures`. What is read by `prefill` is prompt and what is
    stepped is generated, and a recipe may tell them apart (`splits_history`): then a row depends on how its tokens came, and what
    is remembered of it is the model inside: RecipeModel(CachedModel(model), recipe).
    """

    def __init__(self, model: LanguageModel, recipe: str | Recipe):
        refuse_engine(model)
        self.model, self.recipe = model, Recipe(recipe)
        self.bound = self.recipe.bind(model.vocabulary)
        self.carries = bool(self.bound.init())
        check_told_by_texts(self.recipe.transforms, self.recipe.chooser)
        self.name, self.vocabulary, self.context_limit = f"{model.name} x {self.recipe}", model.vocabulary, model.context_limit
        self.fingerprint = digest(model.fingerprint, self.recipe.id)
        self.splits_history = splits_history(self.recipe) or bool(getattr(model, "splits_history", False))
        self.capabilities = model.capabilities & ({"batch_invariant"} if not self.splits_history else frozenset())

    def __repr__(self) -> str:
        return f"RecipeModel({self.name})"

    def prefill(self, prompts: Sequence[TokenIds], *, generated: Sequence[int] | None = None) -> tuple[RecipeState, Array]:
        """As every model's. With `generated`, so many of a row's last tokens count as generated, not as prompt. Raises `UsageError`."""
        counts = [0] * len(prompts) if generated is None else generated
        if len(counts) != len(prompts) or not all(0 <= n <= len(tokens) for n, tokens in zip(counts, prompts, strict=True)):
            raise UsageError(f"generated={list(counts)} for prompts of {[len(tokens) for tokens in prompts]} tokens", fix="a number for each, 0 to its length")
        inner, z = self.model.prefill(prompts, generated=counts) if isinstance(self.model, RecipeModel) else self.model.prefill(prompts)
        rows = [History(tuple(tokens[: len(tokens) - n]), tuple(tokens[len(tokens) - n :])) for tokens, n in zip(prompts, counts, strict=True)]
        return self._law(RecipeState(inner, z, rows, [self._carried(row) for row in rows] if self.carries else ()))

    def step(self, state: RecipeState, tokens: Sequence[int] | Array) -> tuple[RecipeState, Array]:
        """As every model's; the tokens count as generated."""
        state.check()
        ids = np.asarray(to_numpy(tokens) if hasattr(tokens, "dtype") else tokens).tolist()
        inner, z = self.model.step(state.inner, tokens)
        state.live = False
        for b, carried in enumerate(state.carried):
            self.bound.advance(carried, ids[b], state.z[b, :], state.rows[b].prompt, state.rows[b].generated)
        rows = [History(row.prompt, (*row.generated, token)) for row, token in zip(state.rows, ids, strict=True)]
        return self._law(RecipeState(inner, z, rows, state.carried))

    def select(self, state: RecipeState, rows: Sequence[int] | Array) -> RecipeState:
        state.check()
        numbers: list[int] = np.asarray(rows).tolist()
        carried = [self.bound.fork(state.carried[i]) for i in numbers] if state.carried else ()
        chosen = RecipeState(self.model.select(state.inner, rows), take_rows(state.z, numbers), [state.rows[i] for i in numbers], carried)
        chosen.failures = {place: state.failures[i] for place, i in enumerate(numbers) if i in state.failures}
        return chosen

    def release(self, state: RecipeState) -> None:
        if state.live:
            self.model.release(state.inner)
        state.live = False

    def log_normalizers(self, state: RecipeState) -> NDArray[np.float64]:
        """log N of every row, [B], nats: temperature T, ln sum p^(1/T); a truncation, ln of the mass it keeps; a bias b, ln E[e^b].

        `-inf` for a row that the recipe empties. Raises `NoGlobalForm` for a recipe that has no N.
        """
        state.check()
        check_global_form(self.recipe)
        return log_normalizers(self.bound, state.z, Context(state.rows, self.vocabulary, state.carried))

    def _carried(self, row: History) -> list[Any]:
        """What the stages carry after a history: feedback goes through every generated token, the rest is made from the history."""
        if not row.generated or not self.bound.chooser.feedback:
            return self.bound.init(row.prompt, row.generated)
        state, _ = self.prefill([row.prompt])
        for token in row.generated:
            state, _ = self.step(state, [token])
        self.release(state)
        return state.carried[0]

    def _law(self, state: RecipeState) -> tuple[RecipeState, Array]:
        state.z = reference(state.z, len(state.rows), len(self.vocabulary))
        q, state.failures = law(self.bound.transforms, self.bound.chooser, state.z, Context(state.rows, self.vocabulary, state.carried))
        if state.failures:
            lost = np.isin(np.arange(q.shape[0]), list(state.failures))
            q = namespace(q).where(like(q, lost, namespace(q).bool)[:, None], like(q, -np.inf), q)
        return state, q


@np.errstate(all="ignore")
def log_normalizers(bound: Recipe, z: Array, context: Context) -> NDArray[np.float64]:
    """log N of every row of logits, for a bound recipe with a global form; see `RecipeModel.log_normalizers`."""
    failures: Failures = {}
    z = log_softmax(mend(z, None, context, failures))
    u = shape(bound.transforms, z, context, failures)
    u = keep(u, support(bound.chooser.law(u, context)))
    top = row_max(u)
    total = to_numpy((top + namespace(u).log(row_sum(namespace(u).exp(u - top))))[:, 0]).astype(np.float64)
    total[list(failures)] = -np.inf
    return total


def check_global_form(recipe: Recipe) -> None:
    """Raises `NoGlobalForm` for a recipe that weighs whole texts in no one way."""
    if not {"law", "deterministic"} & {*claims_of(recipe.chooser)} or recipe.chooser.feedback:
        what = f"{recipe.chooser.name} draws from a row of its own making, so a text has no one weight under {recipe}"
        raise NoGlobalForm(what, stage=recipe.chooser.name, fix="the recipe's own law, q; or another chooser")
    for stage in (stage for stage in recipe.transforms if not stage.neutral(1).all()):
        if stage.coin is not None:
            raise NoGlobalForm(f"{stage.name} tosses a coin, so a text has no one weight under {recipe}", stage=stage.name, fix="the recipe's own law, q")
        if "shift" not in claims_of(stage):
            what = f"{stage.name} depends on a constant added to the logits, so a text has no one weight under {recipe}"
            raise NoGlobalForm(what, stage=stage.name, fix="the recipe's own law, q; or another stage")


def splits_history(recipe: Recipe) -> bool:
    """Whether the same tokens may have another law when more of them are prompt: a stage looks at them, or at how many were generated."""
    stages = [stage for stage in recipe.written if not stage.neutral(1).all()]
    carries = recipe.chooser.init(History()) is not None
    return carries or any("history" not in claims_of(stage) or stage.scheduled for stage in stages)
