"""Exact mode on models: the loop enumerated, the tree walked, and numbers worked out by hand; the three agree."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest

import ulam
from tests.models.counted import Counted
from ulam.core.errors import ModelError
from ulam.core.method import Transform
from ulam.core.noise import Purpose
from ulam.decode.recipe_model import RecipeModel
from ulam.exact import Law, Outcome
from ulam.exact.size import sizes
from ulam.exact.walk import leaves as walked
from ulam.models import IID, Table, Tree, abc, alphabet

LN2 = math.log(2)

D = Tree(
    {"": {"x": F(1, 2), "y": F(2, 5), "$": F(1, 10)}, "x": {"y": F(1, 2), "$": F(1, 2)}},
    alphabet("xy", end="$"),
    otherwise={"$": F(1)},
)
"""The running example of the design: leaves `$` .10, `x$` .25, `xy$` .25, `y$` .40."""

X, Y, END = 0, 1, 2
LEAVES = {Outcome((Y, END), "stop"): F(2, 5), Outcome((X, END), "stop"): F(1, 4), Outcome((X, Y, END), "stop"): F(1, 4), Outcome((END,), "stop"): F(1, 10)}


def assert_equal(law: Law, expect: Any, tolerance: float = 1e-12) -> None:
    """Equal supports, and a total variation of at most 1e-12: products of a few rounded numbers."""
    other = expect if isinstance(expect, Law) else Law(expect)
    assert set(law.outcomes) == set(other.outcomes)
    distance = law.total_variation(other)
    assert isinstance(distance, float)
    assert distance <= tolerance


# the design's example


def test_a_models_own_law_is_exact() -> None:
    law = ulam.law(D)
    assert dict(law) == LEAVES
    assert law.exact
    assert [law.text(o) for o in law.outcomes] == ["y$", "xy$", "x$", "$"]
    assert law.paths == 4


def test_cut_at_two_tokens_one_text_is_not_finished() -> None:
    assert dict(ulam.law(D, max_tokens=2)) == {
        Outcome((Y, END), "stop"): F(2, 5),
        Outcome((X, END), "stop"): F(1, 4),
        Outcome((X, Y), "length"): F(1, 4),
        Outcome((END,), "stop"): F(1, 10),
    }


def test_local_temperature_on_the_example() -> None:
    """T = 1/2 squares and renormalises every step: root (25, 16, 1)/42, after x (1, 1)/2."""
    law = ulam.law(D, "temperature=0.5")
    assert law.paths == 4
    assert_equal(law.map(law.text), {"y$": F(16, 42), "x$": F(25, 84), "xy$": F(25, 84), "$": F(1, 42)})


def test_the_recipes_law_says_what_the_model_gives_each_text() -> None:
    law = ulam.law(D, "temperature=0.5")
    assert law.model_log_probs == {o: pytest.approx(math.log(p), abs=1e-15) for o, p in LEAVES.items()}
    assert ulam.law(D).model_log_probs is None


# the lecture's example


def test_greedy_only_ever_says_aaa() -> None:
    law = ulam.law(ulam.load("abc"), "greedy", max_tokens=3)
    assert law.outcomes == (Outcome((0, 0, 0), "length"),)
    assert law.probs == (1.0,)
    assert law.model_log_probs == {law.mode(): pytest.approx(math.log(1 / 8), abs=1e-15)}
    model = ulam.law(ulam.load("abc"), max_tokens=3)
    assert model.prob(law.mode()) == F(1, 8)
    assert model.entropy() == pytest.approx(4.5 * LN2, abs=1e-14)
    assert law.total_variation(model) == 7 / 8
    assert law.kl(model) == pytest.approx(3 * LN2, abs=1e-14)
    assert model.kl(law) == math.inf


def test_top_k_of_two() -> None:
    law = ulam.law(ulam.load("abc"), "top_k=2", max_tokens=3)
    assert_equal(law.map(law.text), {"".join(text): F(2, 3) ** text.count("a") * F(1, 3) ** text.count("b") for text in words("ab", 3)})
    model = ulam.law(ulam.load("abc"), max_tokens=3)
    assert law.total_variation(model) == pytest.approx(1 - F(27, 64), abs=1e-15)
    assert law.kl(model) == pytest.approx(3 * math.log(4 / 3), abs=1e-14)


def words(letters: str, length: int) -> list[str]:
    return [""] if length == 0 else [word + letter for word in words(letters, length - 1) for letter in letters]


def test_positions_are_independent_and_identical() -> None:
    law = ulam.law(ulam.load("abc"), max_tokens=4)
    assert [dict(law.marginal(i)) for i in range(4)] == [{0: F(1, 2), 1: F(1, 4), 2: F(1, 4)}] * 4
    assert dict(law.marginal([0, 3])) == {(i, j): p * q for i, p in enumerate(THIRD) for j, q in enumerate(THIRD)}
    assert law.marginal(4).outcomes == (None,)


THIRD = (F(1, 2), F(1, 4), F(1, 4))


# walking and drawing are other code, and agree


RECIPES = [
    "",
    "gumbel_max",
    "temperature=0.7 top_p=0.8",
    "top_k=2 temperature=1.5",
    "presence_penalty=0.9",
    "repetition_penalty(1.5, scope=all) min_p=0.2",
    "greedy",
]


def random_table(seed: int) -> Table:
    """2 to 4 tokens, the last of which ends a text in two of three tables; Dirichlet rows, a third of the entries zero."""
    rng = np.random.default_rng(seed)
    size, ended = int(rng.integers(2, 5)), seed % 3 > 0
    vocabulary = alphabet("abc"[: size - 1], end="$") if ended else alphabet("abcd"[:size])

    def row(prefix: tuple[int, ...]) -> list[float]:
        rng = np.random.default_rng([seed, len(prefix), *prefix])
        weight = rng.exponential(size=size) * (rng.random(size) > 1 / 3)
        weight[rng.integers(size)] += 0.1
        return (weight / weight.sum()).tolist()

    return Table({}, vocabulary, otherwise=row, fingerprint=f"random {seed}")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loop_draws_what_the_recipe_says(recipe: str) -> None:
    for seed in range(30):
        model, length = random_table(seed), 2 + seed % 3
        drawn, walked = ulam.law(model, recipe, [0], length), ulam.law(RecipeModel(model, recipe), None, [0], length)
        assert_equal(drawn, walked)
        assert drawn.paths == walked.paths == sizes(RecipeModel(model, recipe), (0,), length).counts[-1]


@pytest.mark.parametrize("recipe", ["", "temperature=0.7 top_p=0.8"])
def test_on_two_hundred_tables(recipe: str) -> None:
    for seed in range(100, 300):
        model = random_table(seed)
        assert_equal(ulam.law(model, recipe, [], 3), ulam.law(RecipeModel(model, recipe), None, [], 3))


def test_one_sample_of_a_run_has_the_law_of_a_sample_alone() -> None:
    """Rows that follow paths of their own in one run, against runs of one row each."""
    model = random_table(5)
    for recipe in RECIPES:
        alone = ulam.law(lambda noise, recipe=recipe: ulam.sample(model, [[1]], recipe, max_tokens=3, noise=noise))
        assert_equal(ulam.law(model, recipe, [1], 3), alone, tolerance=1e-15)


def test_several_samples_and_several_prompts_are_independent() -> None:
    model = random_table(4)
    one, other = ulam.law(model, "top_p=0.8", [0], 2), ulam.law(model, "temperature=0.5", [1], 2)
    both = ulam.law(lambda noise: ulam.sample(model, [[0], [1]], ["top_p=0.8", "temperature=0.5"], max_tokens=2, noise=noise))
    assert_equal(both, {(o, other_o): p * q for o, p in one for other_o, q in other})
    twice = ulam.law(lambda noise: ulam.sample(model, [[0]], "top_p=0.8", n=2, max_tokens=2, noise=noise))
    assert_equal(twice, {(o, again): p * q for o, p in one for again, q in one})
    assert "|" in twice.text(twice.mode())


def test_stop_strings_end_a_text() -> None:
    """i.i.d. a, b of 1/4, 3/4, stopped by "ab": a text is cut after its first ab; what is left runs to three tokens."""
    model = IID((F(1, 4), F(3, 4)))
    law = ulam.law(model, "", "", 3, stop="ab", of=lambda sample: (sample.text, sample.finish_reason))
    stopped = {("", "stop"): F(3, 16), ("a", "stop"): F(3, 64), ("b", "stop"): F(9, 64)}
    assert_equal(law, stopped | {(t, "length"): prob(t) for t in words("ab", 3) if "ab" not in t})


def prob(text: str) -> F:
    return F(1, 4) ** text.count("a") * F(3, 4) ** text.count("b")


def test_the_text_as_outcome() -> None:
    law = ulam.law(abc(), "", "a", 2, of=lambda sample: sample.prompt + sample.text)
    assert law.mode() == "aaa"
    assert ulam.law(abc(), None, "a", 2, of=lambda leaf: leaf.tokens.count(0)).mean() == 1


def test_what_the_model_gives_is_told_of_texts_alone() -> None:
    """Under top_k=2 an outcome such as the first letter has only those of its texts that the recipe says: their sum is not the model's."""
    assert ulam.law(abc(), "top_k=2", max_tokens=3, of=lambda sample: sample.text[0]).model_log_probs is None
    assert ulam.law(lambda noise: ulam.sample(abc(), "", "top_k=2", max_tokens=1, noise=noise)[0]).model_log_probs is None


@dataclass(frozen=True)
class Flip(Transform):
    """With probability 1/2 the first token goes."""

    coin = Purpose.xtc

    def chance(self, rows: int) -> Any:
        return np.full(rows, 0.5)

    def apply(self, z: Any, context: Any) -> Any:
        return np.where(np.arange(z.shape[1]) == 0, -np.inf, z)


def test_a_text_that_two_falls_of_a_coin_lead_to_is_one_text() -> None:
    """b and c are said with the coin either way; the model gives them 1/4 each, not twice."""
    law = ulam.law(abc(), ulam.Recipe([Flip()]), max_tokens=1)
    assert law.paths == 5
    assert_equal(law, {Outcome((0,), "length"): F(1, 4), Outcome((1,), "length"): F(3, 8), Outcome((2,), "length"): F(3, 8)})
    assert law.model_log_probs == {Outcome((i,), "length"): pytest.approx(math.log(p), abs=1e-15) for i, p in enumerate((0.5, 0.25, 0.25))}


def test_a_full_context_is_a_limit() -> None:
    model = Table({}, alphabet("ab"), otherwise=lambda prefix: (0.5, 0.5), fingerprint="even")
    model.context_limit = 3
    law = ulam.law(model, "", "a", 9)
    assert_equal(law, {Outcome((i, j), "length"): F(1, 4) for i in (0, 1) for j in (0, 1)})
    assert_equal(law, ulam.law(model, None, "a", 9))


def test_a_long_text_is_walked() -> None:
    """2000 tokens, each certain: deeper than Python's calls go."""
    once = {Outcome((0,) * 2000, "length"): 1}
    assert dict(ulam.law(IID((F(1),)), None, max_tokens=2000)) == dict(ulam.law(RecipeModel(abc(), "greedy"), None, max_tokens=2000)) == once


class Breaking(Counted):
    """The fifth evaluation fails."""

    def step(self, state: Any, tokens: Any) -> Any:
        if len(self.calls) == 4:
            raise ModelError("broken", fix="another model")
        return super().step(state, tokens)


@pytest.mark.parametrize("recipe", [None, "top_k=2"])
def test_a_walk_gives_its_states_back(recipe: str | None) -> None:
    """At its end, where nobody asks for more, and where the model fails."""
    for model, leaves, error in ((Counted(), None, None), (Counted(), 5, None), (Breaking(), None, ModelError)):
        walk = walked(model if recipe is None else RecipeModel(model, recipe), (), 4)
        with pytest.raises(error) if error else nullcontext():
            for number, _ in enumerate(walk, 1):
                if number == leaves:
                    break
        walk.close()  # type: ignore[attr-defined]
        assert model.states
        assert model.live == 0


def test_no_token_at_all() -> None:
    assert dict(ulam.law(D, "", max_tokens=0)) == dict(ulam.law(D, None, max_tokens=0)) == {Outcome((), "length"): 1}


def test_rows_that_fail_are_outcomes() -> None:
    """After b the model has NaN: such a row ends in error there, and its mass is in the law."""
    model = ulam.load(lambda tokens: [math.nan] * 2 if 1 in tokens else [math.log(0.75), math.log(0.25)], alphabet("ab"))
    law = ulam.law(model, "", max_tokens=2)
    assert_equal(law, {Outcome((0, 0), "length"): F(9, 16), Outcome((0, 1), "length"): F(3, 16), Outcome((1,), "error"): F(1, 4)})
    assert "error" in law.text(Outcome((1,), "error"))
    assert law.paths == 3
    assert_equal(law, ulam.law(model, None, max_tokens=2))


def test_rows_that_fail_toss_no_coin() -> None:
    """After b the model has NaN. From the root two falls of the coin lead to a or b, and to b; after a likewise; after b nothing is asked."""
    model = ulam.load(lambda tokens: [math.nan] * 2 if 1 in tokens else [math.log(0.75), math.log(0.25)], alphabet("ab"))
    law = ulam.law(model, ulam.Recipe([Flip()]), max_tokens=2)
    assert law.paths == 2 + 3
    assert law.prob(Outcome((1,), "error")) == pytest.approx(5 / 8, abs=1e-15)
