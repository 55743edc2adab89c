"""Exact mode: budgets, and what cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest

import ulam
from tests.models.counted import Counted
from ulam.core.errors import BudgetExceeded, NeedsTokenizer, UsageError
from ulam.core.vocabulary import Vocabulary
from ulam.decode.recipe_model import RecipeModel
from ulam.exact import Outcome
from ulam.exact.size import sizes
from ulam.models import IID, CachedModel, Table, Tree, abc, alphabet

D = Tree(
    {"": {"x": F(1, 2), "y": F(2, 5), "$": F(1, 10)}, "x": {"y": F(1, 2), "$": F(1, 2)}},
    alphabet("xy", end="$"),
    otherwise={"$": F(1)},
)
"""The running example of the design: leaves `$` .10, `x$` .25, `xy$` .25, `y$` .40."""

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
