"""JSON, TOML and the id: other ways to write the same recipe."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ulam.core.errors import OutOfRange, RecipeError, UlamError, UnknownMethod, UnknownParameter
from ulam.core.values import Word
from ulam.methods.transforms.logit_bias import LogitBias
from ulam.recipe import Recipe

from .strategies import recipes


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@given(recipes())
def test_json_is_inverse_and_is_json(recipe: Recipe) -> None:
    text = recipe.to_json()
    assert Recipe.from_json(text) == recipe
    assert text.isascii()
    json.loads(text, parse_constant=refuse)


@given(recipes())
def test_toml_is_inverse(recipe: Recipe) -> None:
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@given(recipes())
def test_json_and_toml_hold_the_same_data(recipe: Recipe) -> None:
    assert tomllib.loads(recipe.to_toml()) == json.loads(recipe.to_json())


def turned(value: Any) -> Any:
    """The same data with every table's keys the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in sorted(value, reverse=True)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@given(recipes())
def test_the_id_does_not_depend_on_the_order_of_keys_or_on_blanks(recipe: Recipe) -> None:
    other = Recipe.from_json(json.dumps(turned(json.loads(recipe.to_json())), indent=3))
    assert other.id == recipe.id
    assert Recipe(str(recipe)).id == recipe.id


@given(recipes(), recipes())
def test_ids_differ_exactly_where_recipes_do(one: Recipe, other: Recipe) -> None:
    assert (one.id == other.id) == (one == other)


@given(recipes())
def test_categorical_need_not_be_written(recipe: Recipe) -> None:
    assume(recipe.chooser.name == "categorical")
    bare = Recipe(recipe.transforms)
    written = Recipe([*recipe.transforms, recipe.chooser])
    assert (bare.id, bare, hash(bare)) == (written.id, written, hash(written))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", '{"stages":[{"stage":"categorical"}]}'),
        ("temperature=0.80 top_k=40", '{"stages":[{"T":0.8,"stage":"temperature"},{"k":40,"stage":"top_k"},{"stage":"categorical"}]}'),
        ("temperature=1.0 greedy", '{"stages":[{"T":1,"stage":"temperature"},{"stage":"greedy"}]}'),
        ("repetition_penalty(1.1, scope=all, window=64)", '{"stages":[{"r":1.1,"stage":"repetition_penalty","window":64},{"stage":"categorical"}]}'),
        (
            'logit_bias={" é": 1, end: -2.5, 7: 3}',
            '{"stages":[{"map":[[7,3],[" \\u00e9",1],[{"word":"end"},-2.5]],"stage":"logit_bias"},{"stage":"categorical"}]}',
        ),
    ],
)
def test_the_id_is_the_hash_of_the_canonical_json(text: str, canonical: str) -> None:
    """Written out by hand: keys in order, no blanks, ASCII, defaults left out, whole numbers without a point, the chooser named."""
    assert Recipe(text).id == "r-" + hashlib.sha256(canonical.encode()).hexdigest()[:8]
    assert Recipe.from_json(canonical) == Recipe(text)


def test_toml_as_it_is_written() -> None:
    written = (
        '[[stages]]\nstage = "temperature"\nT = 0.8\n\n'
        '[[stages]]\nstage = "logit_bias"\nmap = [[7, -5], ["🙂\\u007f\\n", 1], [{ word = "end" }, 2.5]]\n\n'
        '[[stages]]\nstage = "greedy"\n'
    )
    recipe = Recipe('temperature=0.8 logit_bias={7: -5, "🙂\\u007f\\n": 1, end: 2.5} greedy')
    assert recipe.to_toml() == written
    assert Recipe.from_toml(written) == recipe
    assert Recipe("").to_toml() == "stages = []\n"
    assert Recipe.from_toml("stages = []") == Recipe("")


@given(st.text() | st.sampled_from(["inf", "-inf", "nan", "word", "\x00", "\x7f", "\x85", "\u2028", "\ufeff", "🙂", "\ue000", "\U0010ffff", '"', "\\", "'''"]))
def test_every_text_of_a_token_survives_every_format(text: str) -> None:
    recipe = Recipe([LogitBias({text: 1.5, Word("end"): 2})])
    assert dict(Recipe(str(recipe)).stages[0].map)[text] == 1.5  # type: ignore[attr-defined]
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_toml(recipe.to_toml()) == recipe


JSON_ERRORS = [
    ("", RecipeError, ["not JSON", "line 1 column 1"]),
    ('{"stages": [}', RecipeError, ["not JSON", "line 1 column 13"]),
    ("[" * 200_000, RecipeError, ["not JSON"]),
    ('{"stages": [{"stage": "top_k", "k": ' + "9" * 5000 + "}]}", RecipeError, ["not JSON", "digits"]),
    ("[]", RecipeError, ["a map with the one key", "fix:"]),
    ('{"stages": [], "seed": 7}', RecipeError, ["a map with the one key", "fix:"]),
    ('{"stage": []}', RecipeError, ["a map with the one key"]),
    ('{"stages": {"stage": "greedy"}}', RecipeError, ["must be a list"]),
    ('{"stages": ["greedy"]}', RecipeError, ["stage 1", 'no "stage"']),
    ('{"stages": [{"stage": "greedy"}, {"name": "greedy"}]}', RecipeError, ["stage 2", 'no "stage"']),
    ('{"stages": [{"stage": 3}]}', RecipeError, ["stage 1", 'no "stage"']),
    ('{"stages": [{"stage": "topp", "p": 0.5}]}', UnknownMethod, ['"topp" (stage 1)', "Did you mean top_p?"]),
    ('{"stages": [{"stage": "a\\n\\u001b[0m"}]}', RecipeError, ["stage 1", 'no "stage"']),
    ('{"stages": [{"stage": "repetition_penalty", "r": 1.1, "windw": 3}]}', UnknownParameter, ['no parameter "windw" (stage 1)', "Did you mean window?"]),
    ('{"stages": [{"stage": "greedy", "stop\\n": 1}]}', UnknownParameter, ['no parameter "stop\\n" (stage 1)']),
    ('{"stages": [{"stage": "top_p"}]}', UnknownParameter, ["top_p needs a value for p", "stage 1"]),
    ('{"stages": [{"stage": "top_p", "p": 0.5, "p": 0.6}]}', RecipeError, ["a key stands twice", '"p"']),
    ('{"stages": [{"stage": "top_p", "p": NaN}]}', OutOfRange, ["top_p=nan is outside [0, 1]"]),
    ('{"stages": [{"stage": "top_p", "p": Infinity}]}', OutOfRange, ["top_p=inf is outside [0, 1]"]),
    ('{"stages": [{"stage": "top_p", "p": "inf"}]}', OutOfRange, ["top_p=inf is outside [0, 1]"]),
    ('{"stages": [{"stage": "top_p", "p": "0.5"}]}', OutOfRange, ['top_p="0.5" is not a number']),
    ('{"stages": [{"stage": "top_p", "p": null}]}', OutOfRange, ["top_p=NoneType is not a number"]),
    ('{"stages": [{"stage": "top_p", "p": true}]}', OutOfRange, ["top_p=true is not a number"]),
    ('{"stages": [{"stage": "top_p", "p": {"word": "end"}}]}', OutOfRange, ["top_p=end is not a number"]),
    ('{"stages": [{"stage": "logit_bias", "map": {"50256": -5}}]}', RecipeError, ["a token map is a list of pairs", "stage 1", "[[50256, -5]"]),
    ('{"stages": [{"stage": "logit_bias", "map": [[1, 2], [1, 3]]}]}', OutOfRange, ["token 1 stands twice"]),
    ('{"stages": [{"stage": "logit_bias", "map": [[1, 2, 3]]}]}', OutOfRange, ["a map from tokens to numbers"]),
    ('{"stages": [{"stage": "logit_bias", "map": [[{"word": 5}, 2]]}]}', OutOfRange, ["5 is not a token"]),
    ('{"stages": [{"stage": "logit_bias", "map": [["\\ud83d", 2]]}]}', OutOfRange, ['"\\ud83d"', "surrogate"]),
    ('{"stages": [{"stage": "greedy"}, {"stage": "gumbel_max"}]}', RecipeError, ["one chooser"]),
    ('{"stages": [{"stage": "greedy"}, {"stage": "top_p", "p": 0.5}]}', RecipeError, ["stands last"]),
]


@pytest.mark.parametrize(("text", "kind", "parts"), JSON_ERRORS, ids=[text[:60].encode("ascii", "backslashreplace").decode() for text, _, _ in JSON_ERRORS])
def test_json_that_is_no_recipe(text: str, kind: type[UlamError], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json(text)
    assert type(caught.value) is kind
    assert [part for part in parts if part not in str(caught.value)] == []
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stages = [", ["not TOML"]),
        ("a = " + "[" * 100_000, ["not TOML"]),
        ("[[stages]]\nstage = 'top_p'\np = 0.5\np = 0.6", ["not TOML"]),
        ("stage = 'greedy'", ["a map with the one key"]),
        ("[[stages]]\nstage = 'top_p'\np = nan", ["top_p=nan is outside [0, 1]"]),
        ("[[stages]]\nstage = 'top_p'\np = 2020-01-01", ["top_p=date is not a number"]),
        ("[[stages]]\nstage = 'logit_bias'\nmap = {50256 = -5}", ["a token map is a list of pairs"]),
        ("[[stages]]\nstage = 'minp'\na = 0.1", ["Did you mean min_p?"]),
    ],
)
def test_toml_that_is_no_recipe(text: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_toml(text)
    assert [part for part in parts if part not in str(caught.value)] == []
