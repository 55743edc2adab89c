"""What must hold of a chooser that learns from what it drew, wherever its state travels; each a function that raises `AssertionError`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ulam
from tests.methods.reference import Row
from tests.methods.reference_feedback import Reference
from ulam.decode.recipe_model import RecipeModel
from ulam.exact import Outcome
from ulam.models import Table, alphabet
from ulam.recipe import Recipe

from .checks import irregular
from .conftest import Prefix, Tree

RECIPES: dict[str, tuple[Callable[[Row, Prefix], Row], Reference]] = {
    "mirostat_v2(1.5, eta=0.5)": (lambda z, said: z, Reference("mirostat_v2", tau=1.5, eta=0.5)),
    "mirostat(1.2, eta=1, observed=kept)": (lambda z, said: z, Reference("mirostat", tau=1.2, eta=1.0, observed="kept")),
    "adaptive_p(0.4, decay=0.5)": (lambda z, said: z, Reference("adaptive_p", target=0.4, decay=0.5)),
    "temperature=0.8 presence_penalty=0.7 mirostat_v2(1, eta=0.7)": (
        lambda z, said: [x / 0.8 - 0.7 * (i in said) for i, x in enumerate(z)],
        Reference("mirostat_v2", tau=1.0, eta=0.7),
    ),
}
MIXED = [*RECIPES, "temperature=0.5", "mirostat_v2(0.4, eta=0.9)", ""]
"""Recipes that carry something, some that differ in numbers alone, and some that carry nothing."""

LETTERS = alphabet("abcd", end="$")


def table(seed: int) -> Table:
    return Table({}, LETTERS, otherwise=irregular(5, seed), fingerprint=f"feedback {seed}")


def leaves(seed: int, recipe: str, prompt: Prefix, length: int) -> dict[Outcome, float]:
    """Every text and its probability, by the arithmetic of the reference: at each step the law given what is carried."""
    shape, reference = RECIPES[recipe]
    after, found = irregular(5, seed), dict[Outcome, float]()

    def below(said: Prefix, mass: float, state: Any) -> None:
        z = shape([math.log(p) if p else -math.inf for p in after((*prompt, *said))], said)
        for token, p in enumerate(reference.law(z, state)):
            text = (*said, token)
            if p and (token == 4 or len(text) == length):
                found[Outcome(text, "stop" if token == 4 else "length")] = mass * p
            elif p:
                below(text, mass * p, reference.after(z, state, token))

    below((), 1.0, reference.begin())
    return found


def check_laws() -> None:
    """The law of the loop, that of the walk of model x recipe, and that of plain Python are one."""
    for seed, recipe in enumerate(RECIPES):
        wanted = leaves(seed, recipe, (1,), 3)
        for found in (ulam.law(table(seed), recipe, [1], 3), ulam.law(RecipeModel(table(seed), recipe), None, [1], 3)):
            assert {*found.outcomes} == {*wanted}
            assert max(abs(float(p) - wanted[outcome]) for outcome, p in found) < 1e-12


def check_samples() -> None:
    """A row draws the same alone as among others of other prompts and recipes, and its log-probabilities are those of the law given its state."""
    model, prompts = Tree(irregular(5, 9), [b"a", b"b", b"c", b"d", b""], ends=[4]), [(i % 4,) * (i % 3) for i in range(len(MIXED))]
    together = ulam.sample(model, prompts, MIXED, n=13, max_tokens=7, seed=5)
    assert max(len(each.tokens) for each in together) == 7
    for each in list(together)[::3]:
        (alone,) = ulam.sample(model, [each.prompt_tokens], each.recipe, max_tokens=7, seed=5, sequence=each.sequence)
        assert alone.tokens == each.tokens
        assert alone.recipe_log_probs.tobytes() == each.recipe_log_probs.tobytes()
        assert replayed(model, each.recipe, each.prompt_tokens, each.tokens) == each.recipe_log_probs.tolist()


def logits_after(model: Any, prefix: Prefix) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(np.array(model.after(prefix)))


def replayed(model: Any, recipe: Recipe, prompt: Prefix, tokens: Prefix) -> list[float]:
    """Log-probabilities of a text by the recipe alone: its law given what it carries, and then the next."""
    recipe = recipe.bind(model.vocabulary)
    state, found = recipe.init(prompt), list[float]()
    for at, token in enumerate(tokens):
        z, said = logits_after(model, (*prompt, *tokens[:at])), tokens[:at]
        found.append(float(recipe.distribution(z, prompt, said, state=state).log_probs[token]))
        state = recipe.advance(state, token, z, prompt, said)
    return found


def scored(*arguments: Any, **prompt: Any) -> list[float]:
    """Log-probabilities of a text under a recipe."""
    return np.asarray(ulam.score(*arguments, **prompt).recipe_log_probs).tolist()


def check_scores() -> None:
    """A text's score is that of its sample, in pieces, in windows, and where a token of it is impossible."""
    model = Tree(irregular(5, 13), [b"a", b"b", b"c", b"d", b""], ends=[4])
    rng = np.random.default_rng(4)
    for recipe in map(Recipe, RECIPES):
        for sample in ulam.sample(model, [[2, 0]], recipe, n=12, max_tokens=9, seed=1):
            assert scored(model, sample.tokens, recipe, prompt=[2, 0]) == sample.recipe_log_probs.tolist()
            assert ulam.score(model, sample.tokens, recipe, prompt=[2, 0]).log_normalizers is None
        text = tuple(rng.integers(0, 4, 11).tolist())
        assert scored(model, text, recipe, prompt=[3]) == replayed(model, recipe, (3,), text)
        # a model that sees its last tokens alone, in windows of seven and in one
        short = lambda limit: Tree(lambda prefix: irregular(5, 2, 0.1)(prefix[-1:]), [b"a", b"b", b"c", b"d", b""], ends=[4], context_limit=limit)  # noqa: E731
        assert ulam.score(short(7), text, recipe, prompt=[0]).windows > 1
        assert scored(short(7), text, recipe, prompt=[0]) == scored(short(None), text, recipe, prompt=[0])


def stepped(model: RecipeModel, prompt: Prefix, tokens: Sequence[int], state: Any = None) -> list[bytes]:
    """Log-probabilities after every prefix, going on from a state or from the prompt."""
    if state is None:
        state, logits = model.prefill([prompt])
        found = [logits[0].tobytes()]
    else:
        found = []
    for token in tokens:
        state, logits = model.step(state, [token])
        found.append(logits[0].tobytes())
    return found


def check_resumed() -> None:
    """What goes on from the tokens generated so far is what was never broken off."""
    for recipe in RECIPES:
        model, tokens = RecipeModel(table(3), recipe), [0, 2, 2, 1, 3, 0]
        whole = stepped(model, (1, 1), tokens)
        for at in range(len(tokens)):
            state, logits = model.prefill([(1, 1, *tokens[:at]), (1,)], generated=[at, 0])
            assert logits[0].tobytes() == whole[at]
            assert stepped(model, (), tokens[at:], model.select(state, [0])) == whole[at + 1 :]


def check_forks() -> None:
    """Two rows that were one go on by other tokens, in turn; neither sees the other, nor does the row they came from."""
    left, right = [0, 0, 3, 1], [3, 2, 2, 2]
    for text in RECIPES:
        model, bound = RecipeModel(table(6), text), Recipe(text).bind(LETTERS)
        stem, _ = model.prefill([(2,)])
        stem, _ = model.step(stem, [1])
        both = model.select(stem, [0, 0])
        for place, tokens in enumerate(zip(left, right, strict=True)):
            both, logits = model.step(both, list(tokens))
            assert [row.tobytes() for row in logits] == [stepped(model, (2,), [1, *way[: place + 1]])[-1] for way in (left, right)]
        assert stepped(model, (), left, model.select(stem, [0])) == stepped(model, (2,), [1, *left])[2:]
        z, begun = np.log([0.4, 0.3, 0.2, 0.1, 1e-3]), bound.init([2])
        ways = [bound.fork(begun), bound.fork(begun)]
        for at in range(4):
            ways = [bound.advance(state, way[at], z, [2], way[:at]) for state, way in zip(ways, (left, right), strict=True)]
        for state, way in zip(ways, (left, right), strict=True):
            alone = bound.init([2])
            for at, token in enumerate(way):
                alone = bound.advance(alone, token, z, [2], way[:at])
            said = [bound.distribution(z, [2], way, state=each).log_probs.tobytes() for each in (state, alone)]
            assert said[0] == said[1]
        assert bound.distribution(z, [2], state=begun).log_probs.tobytes() == bound.distribution(z, [2], state=bound.init([2])).log_probs.tobytes()


CHECKS = (check_laws, check_samples, check_scores, check_resumed, check_forks)
