"""Exact mode on models: the loop enumerated, the tree walked, and numbers worked out by hand; the three agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest

import ulam
from tests.models.counted import Counted
from ulam.core.errors import BudgetExceeded, ModelError, NeedsTokenizer, UsageError
from ulam.core.method import Transform
from ulam.core.noise import Purpose
from ulam.core.vocabulary import Vocabulary
from ulam.decode.recipe_model import RecipeModel
from ulam.exact import Law, Outcome
from ulam.exact.size import sizes
from ulam.exact.walk import leaves as walked
from ulam.models import IID, CachedModel, Table, Tree, abc, alphabet

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


# budgets


def test_over_budget_names_the_count_and_the_length_that_fits() -> None:
    with pytest.raises(BudgetExceeded, match=r"40 tokens under categorical has 1\.2e\+19 paths, and at most 1 000 000 are walked") as caught:
        ulam.law(abc(), "", max_tokens=40)
    assert caught.value.needed == pytest.approx(3.0**40)
    assert caught.value.fits == 12  # 3^12 = 531 441, 3^13 = 1 594 323
    assert "max_tokens=12" in (caught.value.fix or "")
    with pytest.raises(BudgetExceeded, match="27 paths, and at most 26") as caught:
        ulam.law(abc(), max_tokens=3, max_paths=26)
    assert (caught.value.needed, caught.value.fits) == (27, 2)
    assert caught.value.fix == "max_tokens=2, or max_paths=27, or a recipe that keeps fewer tokens"
    assert ulam.law(abc(), max_tokens=3, max_paths=27).paths == 27


def test_no_length_fits() -> None:
    with pytest.raises(BudgetExceeded) as caught:
        ulam.law(abc(), "", max_tokens=2, max_paths=2)
    assert caught.value.fits == 0
    assert "max_tokens" not in (caught.value.fix or "")


@pytest.mark.parametrize("recipe", ["", None])
def test_bounds_over_budget(recipe: str | None) -> None:
    law = ulam.law(abc(), recipe, max_tokens=3, max_paths=5, partial=True)
    assert len(law) == 5
    assert law.uncovered == pytest.approx(1 - math.fsum(float(p) for p in law.probs), abs=1e-15)
    assert law.prob(Outcome((0, 0, 0), "length")) == pytest.approx((1 / 8, 1 / 8 + law.uncovered), abs=1e-15)


def test_bounds_where_rows_go_on_for_too_long() -> None:
    """Half of the texts end at each token; of those that have not after three choices only the mass is known, 1/8 in eight texts."""
    model = Tree({}, alphabet("ab", end="$"), otherwise=(F(1, 4), F(1, 4), F(1, 2)))
    law, full = ulam.law(model, "", max_tokens=4, max_depth=3, partial=True), ulam.law(model, "", max_tokens=4)
    assert law.uncovered == 1 / 8
    assert set(law.outcomes) == {outcome for outcome in full.outcomes if len(outcome.tokens) < 4}
    assert all(law.prob(outcome) == (p, p + 1 / 8) for outcome, p in full if len(outcome.tokens) < 4)
    assert law.paths == 1 + 2 + 4 + 8


@pytest.mark.parametrize("recipe", ["", None])
def test_a_rest_that_rounding_hides(recipe: str | None) -> None:
    """The first outcome has all but 2^-60 of the mass, which is 1 as a float."""
    tiny = F(1, 2**60)
    law = ulam.law(IID((1 - tiny, tiny)), recipe, max_tokens=1, max_paths=1, partial=True)
    low, high = law.prob(Outcome((1,), "length"))  # type: ignore[misc]
    assert low == 0 < tiny <= high <= 2e-12


def test_sizes_are_counted_where_they_can_be_and_estimated_beyond() -> None:
    """A tree in which a goes on with a or the end and b with three tokens: with the recipe's own end, sizes by hand."""
    vocabulary = alphabet("ab", end="$")
    model = Table({}, vocabulary, otherwise=lambda prefix: (0.5, 0.25, 0.25) if prefix[-1:] == (1,) else (0.5, 0.5, 0.0), fingerprint="two or three")
    # live texts: a's and b's: (1, 1), (2, 2), (4, 4), (8, 8); those after b end once each
    assert sizes(RecipeModel(model, ""), (), 4) == ([2, 5, 11, 23], 4)
    assert sizes(RecipeModel(model, "greedy"), (), 4) == ([1, 1, 1, 1], 4)
    assert sizes(RecipeModel(abc(), ""), (), 30) == ([3.0**n for n in range(1, 31)], 30)
    long, exact = sizes(RecipeModel(model, ""), (), 12)
    assert long[-1] == pytest.approx(3 * 2.0**12 / 2 - 1, rel=0.2)
    assert exact == 8  # 2^7 prefixes go on into the eighth token


def test_an_estimate_is_called_one_and_refuses_only_what_is_far_too_large() -> None:
    """Of six tokens every prefix has some others left: no two branches are alike, and what is told of seven tokens is a guess."""
    model = uneven(0)
    paths = ulam.law(model, max_tokens=7).paths
    guess, exact = sizes(RecipeModel(model, ""), (), 7)
    assert exact < 7
    assert guess[-1] != paths == pytest.approx(guess[-1], rel=0.1)
    assert ulam.law(model, max_tokens=7, max_paths=paths).paths == paths
    with pytest.raises(BudgetExceeded, match="has about 2 300 paths, and at most 1 000 are") as caught:
        ulam.law(model, max_tokens=7, max_paths=1000)
    assert (caught.value.needed, caught.value.count) == (2300, "about 2 300")
    assert "max_paths=2300" in (caught.value.fix or "")


def uneven(seed: int) -> Table:
    def row(prefix: tuple[int, ...]) -> Any:
        rng = np.random.default_rng([seed, len(prefix), *prefix])
        left = rng.random(6) < 0.35
        left[rng.integers(6)] = True
        return left / left.sum()

    return Table({}, alphabet("abcdef"), otherwise=row, fingerprint=f"uneven {seed}")


def test_stop_strings_are_counted() -> None:
    """Only a's go on: after each of them b and c stop. Without them there would be 3^40 texts."""
    law = ulam.law(abc(), "", max_tokens=40, stop=["b", "c"])
    assert law.paths == 2 * 40 + 1
    assert sizes(RecipeModel(abc(), ""), (), 40, stop=["b", "c"]) == ([2 * n + 1 for n in range(1, 41)], 40)
    with pytest.raises(BudgetExceeded, match=r"has 81 paths, and at most 80"):
        ulam.law(abc(), "", max_tokens=40, stop=["b", "c"], max_paths=80)
    # "aa" stops: of the words of a, b, c without it w(n) = 2 w(n-1) + 2 w(n-2) go on
    words, counts = [1, 3], []
    for _ in range(11):
        words.append(2 * words[-1] + 2 * words[-2])
    for n in range(1, 12):
        stopped = sum(2 * words[k] if k >= 0 else 1 for k in range(-1, n - 2))
        counts.append(words[n] + stopped)
    guess, exact = sizes(RecipeModel(abc(), ""), (), 11, stop=["aa"])
    assert guess[:exact] == counts[:exact]
    assert 4 <= exact < 11
    assert guess == pytest.approx(counts, rel=0.1)
    assert ulam.law(abc(), "", max_tokens=8, stop="aa", max_paths=counts[7]).paths == counts[7]


def test_texts_that_all_end_need_no_larger_budget() -> None:
    assert ulam.law(D, "", max_tokens=500).paths == 4
    assert sizes(RecipeModel(D, ""), (), 500) == ([3, 4, 4], 3)


# what cannot be meant


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda: ulam.law(abc(), "", ["a", "b"]), "a law is of one prompt, and there are 2"),
        (lambda: ulam.law(abc(), None, stop="a"), "is not drawn"),
        (lambda: ulam.law(abc(), "topk=2"), "Did you mean top_k"),
        (lambda: ulam.law(abc(), "", "d"), "'d' is not in the alphabet|d"),
        (lambda: ulam.law(abc(), "", max_tokens=-1), "max_tokens=-1"),
        (lambda: ulam.law(abc(), 0), "0 is not a recipe"),  # type: ignore[arg-type]
        (lambda: ulam.law(abc(), False), "False is not a recipe"),  # type: ignore[arg-type]
        (lambda: ulam.law(abc(), "", None), "the prompt: None is not a list"),  # type: ignore[arg-type]
        (lambda: ulam.law(abc(), "", 5), "the prompt: 5 is not a list"),  # type: ignore[arg-type]
        (lambda: ulam.law(abc(), "", np.array(1)), r"the prompt: array\(1\) is not a list"),  # type: ignore[arg-type]
        (lambda: ulam.law(abc(), None, of=lambda leaf: [leaf]), "of type list cannot be counted"),
    ],
)
def test_arguments_that_cannot_be_meant(ask: Callable[[], Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        ask()


def test_a_prompt_may_be_any_sequence() -> None:
    expect = ulam.law(abc(), "", [0, 1], 1)
    for prompt in ("ab", (0, 1), np.array([0, 1]), iter([0, 1]), ["ab"], [[0, 1]]):
        assert dict(ulam.law(abc(), "", prompt, 1)) == dict(expect)  # type: ignore[arg-type]
    for nothing in ("", [], (), iter([])):
        assert len(ulam.law(abc(), "", nothing, 1)) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("entries", [10, 20, 40, 200])
def test_a_model_whose_bits_vary_has_a_law_however_little_is_remembered(entries: int) -> None:
    """81 texts of four tokens have 121 prefixes; what is dropped and evaluated anew has other bits, so no path that is under way may lose any."""
    law = ulam.law(CachedModel(Counted(noisy=True), entries), "", max_tokens=4)
    assert law.paths == 81
    assert law.total_variation(ulam.law(Counted(), "", max_tokens=4)) == pytest.approx(0, abs=1e-3)


def test_a_model_without_text() -> None:
    silent = Table({}, Vocabulary([b"", b""]), otherwise=lambda prefix: (0.5, 0.5))
    with pytest.raises(NeedsTokenizer):
        ulam.law(silent, "", "a")
    assert ulam.law(silent, "", [], 1).paths == 2
