"""Score: how surprising every token of a text is, under the model and under a recipe.

A text is read through the model in pieces of many tokens, and the recipe is applied to all positions of a piece at once: they
are rows of one batch, each with its own history. Where its stages carry something, it is applied to one position after the
other, and what they carry goes along the text. What comes out is what the loop would have said had it drawn these tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, like, log_softmax, namespace, take_columns, to_numpy
from ..core.context import Context, History
from ..core.errors import EmptyPrompt, InvalidLogits, NoGlobalForm, UsageError
from ..core.method import Stage
from ..core.vocabulary import Vocabulary
from ..models.extend import extend
from ..models.protocol import LanguageModel, State
from ..recipe import Recipe
from ..recipe.draw import Failures, check_told_by_texts, go_on, mend, shape, stated
from .loop import reference
from .recipe_model import check_global_form, log_normalizers
from .request import Prompt, check_model, read_prompt, read_tokens
from .scored import Score

MODEL = "model"
"""Who removed a token that the bare model already gives probability 0."""

LOGITS = 2**21
"""Most logits of one piece: bounds memory, whatever the length of the text."""

ROWS = 256
"""Most tokens of one piece."""

Watch: TypeAlias = Callable[[int, int], None]
"""Hears of progress: how many tokens of the text are done, and how many it has."""


def score(model: LanguageModel, text: Prompt, recipe: str | Recipe | None = None, *, prompt: Prompt = "", watch: Watch | None = None) -> Score:
    """The surprise of a text, token by token, after a prompt that is not scored.

    text     a text, or token ids, which may end with an end token: that one is scored as any other
    recipe   a recipe whose probabilities are wanted too; without it only the model's
    prompt   a text (encoded after the start token, if there is one), or token ids as they are
    watch    called with (tokens done, tokens of the text) after every piece

    Prompt and text are encoded each on its own: scored are exactly the tokens that a sample after this prompt would have had to
    draw. Both encoded together may give other tokens at the seam, whose probability is not what is told here.

    A stage that reads the history sees the prompt as prompt and the tokens before as generated, all of them, as it would in
    `ulam.sample`; so the log-probabilities of a sample are the scores of its tokens.

    A token that is impossible has `-inf`; those after it are scored all the same. Where the recipe leaves no token at all
    (`EmptySupport` in a run) the token has `-inf` too, removed by the stage that did it.
    A model that cannot begin (`EmptyPrompt`) leaves the first token unscored if nothing stands before it.

    Prompt and text longer than the model's context C are read in windows of C tokens, each C // 2 after the last: a token is
    scored once, in the first window that holds it, and has at least half a context before it, the first C tokens excepted.

    Raises `UsageError` for an empty text and for an end token that is not its last, `InvalidLogits` naming the position, and the
    errors of recipes and models.
    """
    check_model(model)
    vocabulary = model.vocabulary
    said, tokens = read_tokens(vocabulary, text, "the text", begins=isinstance(prompt, str) and not prompt)
    before, prompt_tokens = read_prompt(vocabulary, prompt)
    check_text(tokens, vocabulary)
    chosen = None if recipe is None else Recipe(recipe)
    sheet = Sheet(prompt_tokens, tokens, vocabulary, chosen)
    ids, first = (*prompt_tokens, *tokens), len(prompt_tokens)
    spans = list(windows(len(ids), first, model.context_limit))
    for begin, low, high in spans:
        for place, logits in read(model, ids, begin, low, high):
            sheet.add(place - first, logits)
            if watch is not None:
                watch(place - first + logits.shape[0], len(tokens))
    return Score(
        text=said,
        tokens=tokens,
        prompt=before,
        prompt_tokens=prompt_tokens,
        recipe=chosen,
        model_log_probs=sheet.model,
        ranks=sheet.ranks,
        recipe_log_probs=sheet.under,
        removed_by=tuple(sheet.removed),
        log_normalizers=sheet.normalizers,
        byte_counts=np.array([len(vocabulary.tokens[token]) for token in tokens]),
        windows=len(spans),
    )


def check_text(tokens: Sequence[int], vocabulary: Vocabulary) -> None:
    """Raises `UsageError` for no token, and for one after an end token."""
    if not tokens:
        raise UsageError("the text is empty, so there is nothing to score", fix='ulam.score(model, "Once upon a time")')
    for position, token in enumerate(tokens[:-1]):
        if token in vocabulary.ends:
            what = f"the text goes on after {vocabulary.show(token)}, which ends it (position {position} of {len(tokens)})"
            begins = position == 0 and token == vocabulary.start
            raise UsageError(what, fix=f"where it begins the text it is no part of it: prompt=[{token}]" if begins else "score each text by itself")


def windows(length: int, first: int, limit: int | None) -> Iterator[tuple[int, int, int]]:
    """How tokens `first` to `length` - 1 are read: (begin, low, high) for a window that begins at `begin` and scores `low` to `high` - 1."""
    if limit is None or length <= limit:
        yield 0, first, length
        return
    stride = max(1, limit // 2)
    low = 0
    for begin in range(0, length, stride):
        high = min(begin + limit, length)
        if high > first:
            yield begin, max(low, first), high
        low = high
        if high == length:
            return


def read(model: LanguageModel, ids: Sequence[int], begin: int, low: int, high: int) -> Iterator[tuple[int, Array]]:
    """Logits of the tokens `low` to `high` - 1 of `ids` in pieces [K, V], each with the place of its first token.

    The model reads from `begin` on. The first token is left out if nothing stands before it and the model cannot begin.
    """
    width = len(model.vocabulary)
    low, state, logits = begun(model, ids, begin, low)
    try:
        if low < high:
            yield low, reference(logits, 1, width)
        size = min(ROWS, max(1, LOGITS // width))
        for at in range(low + 1, high, size):
            end = min(at + size, high)
            state, logits = extend(model, state, [ids[at - 1 : end - 1]])
            yield at, reference(logits[0, :, :], end - at, width)
    finally:
        model.release(state)


def begun(model: LanguageModel, ids: Sequence[int], begin: int, low: int) -> tuple[int, State, Array]:
    """The first place that can be scored, from `low` on, and the model's state and logits there."""
    try:
        return low, *model.prefill([ids[begin:low]])
    except EmptyPrompt:
        if low > begin:
            raise
        return low + 1, *model.prefill([ids[begin : low + 1]])


class Sheet:
    """What is known of every token so far: what a `Score` is made of."""

    def __init__(self, prompt: Sequence[int], tokens: Sequence[int], vocabulary: Vocabulary, recipe: Recipe | None):
        # arrays, because a slice of one is a view: all histories together are no larger than the text
        self.prompt: Any = np.array(prompt, dtype=np.int64)
        self.tokens: Any = np.array(tokens, dtype=np.int64)
        self.vocabulary, self.recipe = vocabulary, recipe
        self.bound = None if recipe is None else recipe.bind(vocabulary)
        self.model, self.ranks = np.full(len(tokens), np.nan), np.zeros(len(tokens), np.int64)
        self.under = None if recipe is None else np.full(len(tokens), np.nan)
        self.normalizers = np.full(len(tokens), np.nan) if recipe is not None and has_global_form(recipe) else None
        self.removed: list[str | None] = [None] * len(tokens)
        self.carried: list[Any] | None = None
        if recipe is not None:
            check_told_by_texts(recipe.transforms, recipe.chooser)

    @np.errstate(all="ignore")  # differences of huge logits have their right limit
    def add(self, first: int, z: Array) -> None:
        """Logits [K, V] of the tokens from position `first` on. Raises `InvalidLogits`."""
        here = slice(first, first + z.shape[0])
        tokens = self.tokens[here]
        context = Context([History(self.prompt, self.tokens[:position]) for position in range(here.start, here.stop)], self.vocabulary)
        failures: Failures = {}
        z = mend(z, None, context, failures)
        refuse(failures)
        self.model[here], self.ranks[here] = take_columns(log_softmax(z), tokens), ranks(z, tokens)
        if self.bound is not None:
            if self.carried is None:  # a first token that is not scored counts as said
                self.carried = self.bound.init(self.prompt, self.tokens[:first])
            size = 1 if self.carried else z.shape[0]
            for at in range(0, z.shape[0], size):
                rows = slice(at, at + size)
                self.judge(first + at, z[rows, :], Context(context.rows[rows], self.vocabulary, [self.carried] if self.carried else ()))
        for position in np.flatnonzero(self.model[here] == -np.inf).tolist():
            self.removed[first + position] = MODEL

    def judge(self, first: int, z: Array, context: Context) -> None:
        """What the recipe says of these tokens; what its stages carry goes on."""
        if self.recipe is None or self.bound is None or self.under is None:
            return
        here = slice(first, first + z.shape[0])
        if self.normalizers is not None:
            self.normalizers[here] = log_normalizers(self.bound, z, context)
        self.under[here], removed = under(self.recipe, self.bound, z, context, self.tokens[here])
        for row, what in removed.items():
            self.removed[first + row] = what


def ranks(z: Array, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of a token in every row of logits [K, V]: 1 is the largest, ties by id."""
    xp = namespace(z)
    ids = like(z, tokens, xp.int64)[:, None]
    own = xp.take_along_axis(z, ids, axis=-1)
    ahead = (z > own) | ((z == own) & (like(z, np.arange(z.shape[-1]), xp.int64)[None, :] < ids))
    return 1 + to_numpy(xp.sum(xp.astype(ahead, xp.int64), axis=-1))


def under(recipe: Recipe, bound: Recipe, z: Array, context: Context, tokens: NDArray[np.int64]) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Log-probabilities [K] of a token a row under a recipe, and the stage, as written, that made it impossible.

    What the stages of a single row carry, `context.states`, goes on to the next. Where a coin decides whether a stage acts, the
    probability is that of the mixture; impossible is then what every outcome forbids, and the stage is the one that does when
    all of them act.
    """
    failures: Failures = {}
    fallen: set[int] = set()
    removed: dict[int, Stage] = {}
    written = iter(recipe.written)

    def watch(stage: Stage, before: Array, after: Array) -> None:
        as_written, new = next(written), failures.keys() - fallen
        gone = np.flatnonzero((take_columns(before, tokens) > -np.inf) & (take_columns(after, tokens) == -np.inf))
        removed.update(dict.fromkeys({*gone.tolist()} - fallen | new, as_written))
        fallen.update(new)

    shaped = shape(bound.transforms, z, context, failures, watch=watch)
    law = bound.chooser.law(shaped, context.at(len(bound.transforms)))
    watch(bound.chooser, shaped, law)
    log_probs = take_columns(law, tokens)
    log_probs[list(failures)] = -np.inf
    if any(stage.coin is not None for stage in bound.transforms):
        log_probs = take_columns(stated(bound.transforms, bound.chooser, z, context, failures), tokens)
    refuse(failures)
    for states in context.states:
        go_on(bound.written, states, int(tokens[0]), shaped[0, :])
    return log_probs, {row: str(stage) for row, stage in removed.items() if log_probs[row] == -np.inf}


def refuse(failures: Failures) -> None:
    """Raises the first `InvalidLogits`, which nothing can be said about, by its position in the text."""
    for _, error in sorted(failures.items()):
        if isinstance(error, InvalidLogits):
            error.row = None
            raise error


def has_global_form(recipe: Recipe) -> bool:
    try:
        check_global_form(recipe)
    except NoGlobalForm:
        return False
    return True
