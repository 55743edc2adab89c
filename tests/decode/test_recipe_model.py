"""Model x recipe: its law, its normalisers, and the one identity, on tables; wrong versions of it are seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction as F
from itertools import product
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.context import Context
from ulam.core.errors import NoGlobalForm, StaleState, UsageError
from ulam.core.method import Transform
from ulam.core.noise import Purpose
from ulam.decode.recipe_model import RecipeModel
from ulam.models import CachedModel, Table, Tree, alphabet
from ulam.recipe import Recipe

from .checks import irregular

D = Tree({"": {"x": F(1, 2), "y": F(2, 5), "$": F(1, 10)}, "x": {"y": F(1, 2), "$": F(1, 2)}}, alphabet("xy", end="$"), otherwise={"$": F(1)})
ROOT, AFTER_X, AFTER_Y = (0.5, 0.4, 0.1), (0.0, 0.5, 0.5), (0.0, 0.0, 1.0)


def read(model: RecipeModel, prefix: list[int], generated: int = 0) -> tuple[Any, Any]:
    """Probabilities of the next token and log N after one prefix."""
    state, logits = model.prefill([prefix], generated=[generated])
    return np.exp(logits[0]), model.log_normalizers(state)[0]


def root_of(probs: tuple[float, ...], power: float) -> float:
    return math.log(math.fsum(p**power for p in probs if p))


@pytest.mark.parametrize(
    ("recipe", "prefix", "normalizer", "law"),
    [
        # temperature 1/2: N = sum of squares, .42 at the root
        ("temperature=0.5", [], 0.42, (0.25 / 0.42, 0.16 / 0.42, 0.01 / 0.42)),
        ("temperature=0.5", [0], 0.5, (0, 0.5, 0.5)),
        ("temperature=0.5", [1], 1, (0, 0, 1)),
        # a truncation: the mass it keeps
        ("top_k=1", [], 0.5, (1, 0, 0)),
        ("top_p=0.6", [], 0.9, (5 / 9, 4 / 9, 0)),
        ("min_p=0.9 top_k=2", [0], 1, (0, 0.5, 0.5)),
        ("greedy", [], 0.5, (1, 0, 0)),
        ("temperature=0", [], 0.5, (1, 0, 0)),
        # a bias: E[e^b]; first the bias, then the square of what it made
        ("logit_bias={1: 0.6931471805599453}", [], 1.4, (5 / 14, 8 / 14, 1 / 14)),
        ("logit_bias={1: 0.6931471805599453} temperature=0.5", [], 0.25 + 0.64 + 0.01, (25 / 90, 64 / 90, 1 / 90)),
        ("temperature=0.5 top_k=2", [], 0.41, (25 / 41, 16 / 41, 0)),
        ("", [0], 1, (0, 0.5, 0.5)),
    ],
)
def test_normalizers_by_hand(recipe: str, prefix: list[int], normalizer: float, law: tuple[float, ...]) -> None:
    probs, log_n = read(RecipeModel(D, recipe), prefix)
    assert probs == pytest.approx(law, abs=1e-15)
    assert log_n == pytest.approx(math.log(normalizer), abs=1e-14)


def test_generated_tokens_are_counted_and_the_prompt_is_not() -> None:
    """presence_penalty looks at what was generated: e^-1 for x only if x was."""
    even = Table({}, alphabet("xy"), otherwise=lambda prefix: (0.5, 0.5), fingerprint="even")
    model = RecipeModel(even, "presence_penalty=1")
    low = math.exp(-1) / (1 + math.exp(-1))
    assert read(model, [0])[0] == pytest.approx((0.5, 0.5))
    assert read(model, [0], generated=1)[0] == pytest.approx((low, 1 - low), abs=1e-15)
    state, _ = model.prefill([[1]])
    _, logits = model.step(state, [0])
    assert np.exp(logits[0]) == pytest.approx((low, 1 - low), abs=1e-15)


def leaves(model: Any, length: int) -> list[tuple[int, ...]]:
    return [outcome.tokens for outcome in ulam.law(model, None, [], length).outcomes]


def along(model: RecipeModel, tokens: tuple[int, ...]) -> tuple[float, float]:
    """Sum of log q and sum of log N along a text, by prefill, step and select."""
    state, logits = model.prefill([[], []])
    state, logits = model.select(state, [1]), logits[1:]
    log_q = log_n = 0.0
    for i, token in enumerate(tokens):
        log_q += float(logits[0, token])
        log_n += float(model.log_normalizers(state)[0])
        if i + 1 < len(tokens):
            state, logits = model.step(state, [token])
    return log_q, log_n


SHAPES: dict[str, Callable[[list[float], tuple[int, ...]], list[float]]] = {
    "temperature=0.7": lambda p, h: [x ** (1 / 0.7) for x in p],
    "top_k=2": lambda p, h: [x if i in sorted(range(len(p)), key=lambda i: (-p[i], i))[:2] else 0 for i, x in enumerate(p)],
    "presence_penalty=0.9": lambda p, h: [x * math.exp(-0.9) if i in h else x for i, x in enumerate(p)],
    "top_k=2 temperature=1.5": lambda p, h: [x ** (1 / 1.5) for x in SHAPES["top_k=2"](p, h)],
    "presence_penalty=0.9 temperature=0.5 greedy": lambda p, h: SHAPES["argmax"]([(x * math.exp(-0.9) if i in h else x) ** 2 for i, x in enumerate(p)], h),
    "argmax": lambda p, h: [x if i == p.index(max(p)) else 0 for i, x in enumerate(p)],
}
"""u(v|h) of a recipe by arithmetic of this file."""


def assert_identity(recipe: str, seed: int, model: Any = RecipeModel) -> None:
    """q(x) = gamma(x) / prod N, and each N is the sum of its u, over all leaves of a random table."""
    after = irregular(4, seed)
    table = Table({}, alphabet("abc", end="$"), otherwise=after, fingerprint=f"irregular {seed}")
    under = model(table, recipe)
    for tokens in leaves(under, 3):
        log_q, log_n = along(under, tokens)
        weights = [SHAPES[recipe](after(tokens[:i]), tokens[:i]) for i in range(len(tokens))]
        log_gamma = math.fsum(math.log(u[token]) for u, token in zip(weights, tokens, strict=True))
        assert log_n == pytest.approx(math.fsum(math.log(math.fsum(u)) for u in weights), abs=1e-12)
        assert log_q == pytest.approx(log_gamma - log_n, abs=1e-12)


@pytest.mark.parametrize("recipe", [name for name in SHAPES if name != "argmax"])
def test_the_identity_on_fifty_tables(recipe: str) -> None:
    for seed in range(50):
        assert_identity(recipe, seed)


def test_the_identity_sees_wrong_models() -> None:
    """Normalisers of the raw logits after a shift; of one stage only; a history with the prompt; the law before the chooser."""

    class Shifted(RecipeModel):
        def log_normalizers(self, state: Any) -> Any:
            return super().log_normalizers(state) + 0.01

    class FirstStage(RecipeModel):
        def log_normalizers(self, state: Any) -> Any:
            return RecipeModel(self.model, Recipe(self.recipe.stages[:1])).log_normalizers(state)

    class NoHistory(RecipeModel):
        def step(self, state: Any, tokens: Any) -> Any:
            state, _ = super().step(state, tokens)
            state.carried = [self.bound.init(row.prompt) for row in state.rows]
            return self._law(state)

    for wrong, recipe in ((Shifted, "temperature=0.7"), (FirstStage, "top_k=2 temperature=1.5"), (NoHistory, "presence_penalty=0.9")):
        with pytest.raises(AssertionError):
            assert_identity(recipe, 3, wrong)


@pytest.mark.parametrize("recipe", ["top_k=2", "top_p=0.7", "min_p=0.4", "typical_p=0.6", "top_k=3 top_p=0.8"])
def test_two_facts_about_a_truncation(recipe: str) -> None:
    """KL(q || p) = -ln p(S) and TV(q, p) = 1 - p(S), with S the tokens that stay; N = p(S)."""
    for seed in range(20):
        p = np.array(irregular(5, seed, zeros=0.0)(()))
        q, log_n = read(RecipeModel(Table({(): p}, alphabet("abcde")), recipe), [])
        stays = q > 0
        assert math.fsum(q[stays] * np.log(q[stays] / p[stays])) == pytest.approx(-math.log(math.fsum(p[stays])), abs=1e-12)
        assert math.fsum(np.abs(q - p)) / 2 == pytest.approx(1 - math.fsum(p[stays]), abs=1e-12)
        assert log_n == pytest.approx(math.log(math.fsum(p[stays])), abs=1e-12)


# what has no global form


@pytest.mark.parametrize("recipe", ["repetition_penalty=1.3", "temperature=0.5 repetition_penalty=1.3"])
def test_a_stage_that_depends_on_a_constant_has_no_normalizer(recipe: str) -> None:
    model = RecipeModel(D, recipe)
    state, logits = model.prefill([[0]])
    assert np.exp(logits[0]).sum() == pytest.approx(1)
    with pytest.raises(NoGlobalForm, match="repetition_penalty depends on a constant"):
        model.log_normalizers(state)


# coins


class Flip(Transform):
    """Acts with probability p, and then keeps only the tokens beyond the first that is possible."""

    coin = Purpose.xtc

    def __init__(self, p: float, drop: int = 0):
        object.__setattr__(self, "p", p)
        object.__setattr__(self, "drop", drop)

    def chance(self, rows: int) -> Any:
        return np.full(rows, self.p)

    def apply(self, z: Any, context: Context) -> Any:
        out = z.copy()
        out[:, self.drop] = -np.inf
        return out


def mixture(probs: tuple[float, ...], coins: list[tuple[float, int]], power: float = 1) -> list[float]:
    """Over all falls of the coins: the tokens they drop, the power of what is left, normalised; weighed by the falls."""
    total = [0.0] * len(probs)
    for falls in product((True, False), repeat=len(coins)):
        weight = math.prod(p if acts else 1 - p for (p, _), acts in zip(coins, falls, strict=True))
        dropped = {drop for (_, drop), acts in zip(coins, falls, strict=True) if acts}
        left = [0.0 if i in dropped else p**power for i, p in enumerate(probs)]
        total = [t + weight * x / math.fsum(left) for t, x in zip(total, left, strict=True)]
    return total


@pytest.mark.parametrize("coins", [[(0.5, 0)], [(0.25, 0), (0.75, 1)], [(1.0, 0)], [(0.0, 0)], [(0.3, 0), (0.6, 1), (0.1, 2), (0.9, 0)]])
def test_a_stage_with_a_coin_gives_the_mixture(coins: list[tuple[float, int]]) -> None:
    probs = (0.4, 0.3, 0.2, 0.1)
    recipe = Recipe([*(Flip(p, drop) for p, drop in coins), *Recipe("temperature=0.5").stages])
    expect = mixture(probs, coins, 2)
    table = Table({(): probs}, alphabet("abcd"))
    assert recipe.distribution(np.log(probs)).probs == pytest.approx(expect, abs=1e-15)
    law = ulam.law(lambda noise: ulam.sample(table, [[]], recipe, max_tokens=1, noise=noise), of=lambda samples: samples[0].tokens[0])
    assert [law.prob(i) for i in range(4)] == pytest.approx(expect, abs=1e-15)
    assert np.exp(RecipeModel(table, recipe).prefill([[]])[1][0]) == pytest.approx(expect, abs=1e-15)


def test_the_log_prob_of_a_draw_is_that_of_the_mixture_and_not_of_the_branch() -> None:
    recipe = Recipe([Flip(0.5)])
    for seed in range(20):
        drawn = recipe.choose(np.log([0.5, 0.3, 0.2]), seed=seed)
        assert drawn.recipe_log_prob == pytest.approx(math.log(mixture((0.5, 0.3, 0.2), [(0.5, 0)])[drawn.token]), abs=1e-14)


def test_each_coin_of_a_method_has_a_lane() -> None:
    """Two coins of one method are two coins: with one they would fall alike."""
    recipe = Recipe([Flip(0.5, 0), Flip(0.5, 1)])
    law = ulam.law(lambda noise: ulam.sample(Table({(): (0.4, 0.4, 0.2)}, alphabet("abc")), [[]], recipe, max_tokens=1, noise=noise)[0].tokens[0])
    assert law.prob(0) == pytest.approx(0.25 * 0.4 + 0.25 * 0.4 / 0.6, abs=1e-15)


def test_a_coin_has_no_global_form_and_too_many_are_refused() -> None:
    model = RecipeModel(D, Recipe([Flip(0.5)]))
    state, _ = model.prefill([[]])
    with pytest.raises(NoGlobalForm, match="flip tosses a coin"):
        model.log_normalizers(state)
    with pytest.raises(ulam.UlamError, match="tosses 5 coins"):
        Recipe([Flip(0.5)] * 5).distribution([0.0, 1.0])


def test_a_branch_that_leaves_nothing_fails_where_it_is_drawn() -> None:
    """One possible token, dropped with probability 1/2: the text fails as often, and the law of the row is an error that says so."""
    recipe, table = Recipe([Flip(0.5)]), Table({(): (1.0, 0.0)}, alphabet("ab"))
    law = ulam.law(lambda noise: ulam.sample(table, [[]], recipe, max_tokens=1, noise=noise)[0].finish_reason)
    assert dict(law) == {"length": 0.5, "error": 0.5}
    with pytest.raises(ulam.UlamError, match="flip left no token"):
        recipe.distribution([0.0, -np.inf])


# a model like any other


def test_states_are_used_once_and_select_keeps_them() -> None:
    model = RecipeModel(D, "temperature=0.5")
    state, first = model.prefill([[]])
    fork = model.select(state, [0, 0])
    _, logits = model.step(fork, [0, 1])
    assert np.exp(logits) == pytest.approx(np.array([AFTER_X, AFTER_Y]))
    assert np.exp(first[0]) == pytest.approx([25 / 42, 16 / 42, 1 / 42])
    for used in (lambda: model.step(fork, [0, 0]), lambda: model.select(fork, [0]), lambda: model.log_normalizers(fork)):
        with pytest.raises(StaleState):
            used()
    model.release(state)
    model.release(state)


def test_sampling_from_it_is_sampling_with_the_recipe() -> None:
    """The law of the bare product is the recipe's; and so are the draws, up to rounding at a boundary, which none of these meets."""
    table = Table({}, alphabet("abcd"), otherwise=irregular(4, 3), fingerprint="irregular 3")
    recipe = "temperature=0.7 top_p=0.8"
    one = ulam.sample(table, [[0]], recipe, n=50, max_tokens=8, seed=3)
    other = ulam.sample(RecipeModel(table, recipe), [[0]], "", n=50, max_tokens=8, seed=3)
    assert [sample.tokens for sample in one] == [sample.tokens for sample in other]
    assert [sample.recipe_log_prob for sample in one] == pytest.approx([sample.model_log_prob for sample in other], abs=1e-12)


def test_a_row_that_the_recipe_empties_says_so() -> None:
    model = RecipeModel(Table({}, alphabet("ab"), otherwise=lambda prefix: (1.0, 0.0), fingerprint="one"), Recipe([Flip(1.0)]))
    state, logits = model.prefill([[], [0]])
    assert np.isneginf(logits).all()
    assert {row: type(error).__name__ for row, error in state.failures.items()} == {0: "EmptySupport", 1: "EmptySupport"}


@pytest.mark.parametrize("recipe", ["presence_penalty=1", "temperature=linear(1, 2, over=3)"])
def test_what_tells_prompt_and_generated_apart_is_not_remembered_by_tokens_alone(recipe: str) -> None:
    """A prefix that is read anew would be all prompt; and the bits of a row do depend on how its tokens came."""
    with pytest.raises(UsageError, match="tells prompt and generated tokens apart") as caught:
        CachedModel(RecipeModel(D, recipe))
    assert "RecipeModel(CachedModel(model), recipe)" in (caught.value.fix or "")
    assert RecipeModel(D, recipe).capabilities == frozenset()
    with pytest.raises(UsageError):
        CachedModel(RecipeModel(RecipeModel(D, recipe), "top_k=2"))
    for same in ("presence_penalty=0", "temperature=0.5 top_k=2", ""):
        assert CachedModel(RecipeModel(D, same)).capabilities == {"batch_invariant"}


def test_a_product_of_a_product_has_one_history() -> None:
    """What counts as generated outside counts as generated inside: of xy with one token generated only y was, and loses e^-1."""
    even = Table({}, alphabet("xy"), otherwise=lambda prefix: (0.5, 0.5), fingerprint="even")
    outer = RecipeModel(RecipeModel(even, "presence_penalty=1"), "temperature=2")
    low = math.exp(-0.5) / (1 + math.exp(-0.5))
    assert read(outer, [0, 1], generated=1)[0] == pytest.approx((1 - low, low), abs=1e-15)
    assert read(outer, [0, 1])[0] == pytest.approx((0.5, 0.5), abs=1e-15)


@pytest.mark.parametrize("generated", [[3], [-1], [], [1, 1]])
def test_no_more_tokens_are_generated_than_there_are(generated: list[int]) -> None:
    with pytest.raises(UsageError, match=r"for prompts of \[2\] tokens"):
        RecipeModel(D, "top_k=2").prefill([[0, 0]], generated=generated)


def test_its_name_and_fingerprint_say_what_it_is() -> None:
    model = RecipeModel(D, "top_k=2")
    assert model.name == f"{D.name} x top_k=2"
    assert model.fingerprint != RecipeModel(D, "top_k=1").fingerprint != D.fingerprint
    assert model.fingerprint == RecipeModel(D, "top_k=2").fingerprint
