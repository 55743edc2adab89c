"""Whatever is typed: a recipe, or an error of a recipe in a few printable lines; never another exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import RecipeError
from ulam.methods import ALIASES, catalogue
from ulam.recipe import Recipe

NAMES = st.sampled_from([*catalogue(), *ALIASES, "T", "p", "k", "r", "window", "scope", "map", "end", "all", "inf", "nan", "true", "x"])
SIGNS = st.sampled_from(["=", "(", ")", "[", "]", "{", "}", ",", ":", " ", "\n", '"', "\\", "\\u00", "-", "+", ".", "e", "_", "\x00", "\u202e", "é", "🙂"])
NUMBERS = st.floats().map(repr) | st.integers().map(str) | st.sampled_from(["0", "1", "0.5", "1e999", "-0.0", "1e-999", "00", "9" * 400])
TYPED = st.lists(NAMES | SIGNS | NUMBERS, max_size=14).map("".join) | st.text(max_size=20)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["inf", "-inf", "end", "all", "prompt"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["word", "stage", "stages", "p"]) | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["T", "p", "k", "r", "a", "map", "window", "scope", "fade", "slope", "on"]) | st.text(max_size=3), VALUES, max_size=3
)
STAGES = st.lists(st.tuples(NAMES, PARAMETERS).map(lambda pair: {**pair[1], "stage": pair[0]}) | VALUES, max_size=3)


def assert_reads(reader: Callable[[Any], Recipe], text: Any) -> None:
    try:
        recipe = reader(text)
    except RecipeError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= 4
        assert all(line.isprintable() for line in lines)
    else:
        assert reader is not Recipe or Recipe(str(recipe)) == recipe
        assert Recipe.from_json(recipe.to_json()) == recipe


@given(TYPED)
def test_any_text(text: str) -> None:
    assert_reads(Recipe, text)


@given(STAGES.map(lambda stages: {"stages": stages}) | VALUES)
def test_any_json(data: Any) -> None:
    assert_reads(Recipe.from_json, json.dumps(data))


@given(st.text(max_size=30))
def test_any_text_as_json_and_toml(text: str) -> None:
    assert_reads(Recipe.from_json, text)
    assert_reads(Recipe.from_toml, text)


@given(NAMES, st.lists(st.tuples(st.sampled_from(["p", "T", "k", "map", "stage", "x y"]), NUMBERS | TYPED), max_size=3))
def test_any_toml(name: str, pairs: list[tuple[str, str]]) -> None:
    assert_reads(Recipe.from_toml, f'[[stages]]\nstage = "{name}"\n' + "".join(f"{key} = {value}\n" for key, value in pairs))
