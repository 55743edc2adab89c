"""A recipe is a value: it compares, hashes, copies and never changes; settings without an order get one."""

from __future__ import annotations

import copy
import pickle
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given

from ulam.core.errors import NeedsTokenizer, OutOfRange, RecipeError, TokenOutOfRange, UnknownMethod
from ulam.core.vocabulary import Vocabulary
from ulam.methods import catalogue
from ulam.recipe import Recipe
from ulam.recipe.canonical import arrange

from .strategies import recipes

WORDS = Vocabulary([b"a", b"b", b"ab", b""], names={3: "<end>"}, ends=[3], encode=lambda text: {"ab": [2]}.get(text, ["ab".index(c) for c in text]))


@given(recipes(), recipes())
def test_equality_and_hash_follow_the_text(one: Recipe, other: Recipe) -> None:
    same = str(Recipe(one.written)) == str(Recipe(other.written))
    assert (one == other) == same
    assert hash(one) == hash(Recipe(one.written))
    assert not same or hash(one) == hash(other)
    assert one != str(one)


@given(recipes())
def test_copies_are_equal(recipe: Recipe) -> None:
    for twin in (copy.copy(recipe), copy.deepcopy(recipe), pickle.loads(pickle.dumps(recipe)), eval(repr(recipe), {"Recipe": Recipe})):
        assert twin == recipe
        assert {twin: 1}[recipe] == 1
        assert twin.id == recipe.id


def test_a_recipe_never_changes() -> None:
    recipe = Recipe("top_p=0.5")
    with pytest.raises(AttributeError, match="a recipe is a value"):
        recipe.stages = ()
    with pytest.raises(AttributeError, match="p"):
        recipe.stages[0].p = 0.6  # type: ignore[attr-defined]
    assert str(recipe) == "top_p=0.5"


def test_order_is_part_of_the_value() -> None:
    assert Recipe("temperature=0.5 top_p=0.5") != Recipe("top_p=0.5 temperature=0.5")
    assert Recipe("temperature=0.5") != Recipe("temperature=0.5 temperature=0.5")


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("temperature=1 top_p=1 top_k=0 min_p=0 typical_p=1", "categorical"),
        ("temperature=1.0 top_p=0.9 greedy", "top_p=0.9 greedy"),
        ("repetition_penalty(1.3, window=0) presence_penalty=0 frequency_penalty=0 logit_bias={} gumbel_max", "gumbel_max"),
        ("repetition_penalty=1 temperature=0", "temperature=0"),
        ("categorical", "categorical"),
    ],
)
def test_simplified_drops_what_does_nothing(text: str, simple: str) -> None:
    assert str(Recipe(text).simplified()) == simple


def test_settings_without_an_order_get_the_canonical_one() -> None:
    """Biases, penalties, constraints, temperature, top_k, top_p, min_p, the rest, the chooser."""
    settings = {
        "gumbel_max": None,
        "typical_p": 0.9,
        "min_p": 0.05,
        "top_p": 0.95,
        "top_k": 40,
        "temperature": 0.8,
        "force_tokens": [3],
        "min_tokens": 2,
        "suppress_at_start": [1],
        "no_repeat_ngram": 3,
        "ban_words": [[5, 6]],
        "allow_tokens": [1, 2, 3],
        "ban_tokens": [2],
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "repetition_penalty": 1.1,
        "logit_bias": {7: -5},
    }
    assert set(settings) <= set(catalogue())
    wanted = (
        "logit_bias={7: -5} repetition_penalty=1.1 frequency_penalty=0.3 presence_penalty=0.2 "
        "ban_tokens=[2] allow_tokens=[1, 2, 3] ban_words=[[5, 6]] no_repeat_ngram=3 suppress_at_start=[1] min_tokens=2 force_tokens=[3] "
        "temperature=0.8 top_k=40 top_p=0.95 min_p=0.05 typical_p=0.9 gumbel_max"
    )
    assert str(Recipe(arrange(settings))) == wanted
    assert str(Recipe(arrange(dict(reversed(settings.items()))))) == wanted


def test_the_canonical_order_does_not_depend_on_the_order_given() -> None:
    settings = {"top_p": 0.9, "temperature": 0.7, "greedy": None, "top_k": 5}
    texts = {str(Recipe(arrange(dict(order)))) for order in permutations(settings.items())}
    assert texts == {"temperature=0.7 top_k=5 top_p=0.9 greedy"}


def test_settings_are_checked() -> None:
    with pytest.raises(UnknownMethod, match="Did you mean top_p"):
        arrange({"nucleus": 0.9})
    with pytest.raises(OutOfRange, match=r"top_p=9 is outside \[0, 1\]"):
        arrange({"top_p": 9})
    with pytest.raises(RecipeError, match="one chooser"):
        Recipe(arrange({"greedy": None, "gumbel_max": None}))


def test_binding_turns_texts_and_words_into_ids() -> None:
    recipe = Recipe('temperature=0.5 logit_bias={"ab": 1, end: 2, 0: 3} greedy')
    assert recipe.bind(WORDS) == Recipe("temperature=0.5 logit_bias={0: 3, 2: 1, 3: 2} greedy")
    assert str(recipe) == 'temperature=0.5 logit_bias={0: 3, "ab": 1, end: 2} greedy'


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ('logit_bias={"ba": 1}', NeedsTokenizer, "2 tokens here"),
        ("logit_bias={bos: 1}", NeedsTokenizer, "no single token for the word bos"),
        ("logit_bias={4: 1}", TokenOutOfRange, "token id 4 is outside 0 to 3"),
        ('logit_bias={"a": 1, 0: 2}', OutOfRange, "token 0 stands twice"),
    ],
)
def test_binding_refuses_what_this_vocabulary_does_not_have(text: str, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind, match=part):
        Recipe(text).bind(WORDS)


@pytest.mark.parametrize("text", ['logit_bias={"a": 1}', "logit_bias={end: 1}"])
def test_without_a_vocabulary_a_text_is_no_token(text: str) -> None:
    with pytest.raises(NeedsTokenizer, match="no vocabulary is bound"):
        Recipe(text).distribution(np.zeros(4))
