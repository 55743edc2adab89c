"""The law of whole texts: the real loop under a noise that branches, against a walk over the model's table."""

from __future__ import annotations

import pytest

import ulam

from .checks import RECIPES, D, check_ends_and_limits, check_joint_law, check_law, check_stop_strings_in_the_law, model_of
from .conftest import Tree, distance, law_of


def test_the_running_example() -> None:
    """Leaves of D: $ .10, x$ .25, xy$ .25, y$ .40. Cut at two tokens, xy is not finished."""
    assert distance(law_of(lambda noise: ulam.sample(D, [[]], "", max_tokens=3, noise=noise)[0].text), {"": 0.1, "x": 0.25, "xy": 0.25, "y": 0.4}) < 1e-15
    law = law_of(lambda noise: (lambda s: (s.text, s.finish_reason))(ulam.sample(D, [[]], "", max_tokens=2, noise=noise)[0]))
    assert distance(law, {("", "stop"): 0.1, ("x", "stop"): 0.25, ("xy", "length"): 0.25, ("y", "stop"): 0.4}) < 1e-15


def test_temperature_on_the_running_example() -> None:
    """T = 1/2 squares and renormalises each step: root (25, 16, 1)/42, after x (1, 1)/2. So y$ has 16/42, not its global share."""
    law = law_of(lambda noise: ulam.sample(D, [[]], "temperature=0.5", max_tokens=3, noise=noise)[0].text)
    assert distance(law, {"": 1 / 42, "x": 25 / 84, "xy": 25 / 84, "y": 16 / 42}) < 1e-15


def test_greedy_says_one_text() -> None:
    abc = Tree(lambda prefix: (0.5, 0.25, 0.25), [b"a", b"b", b"c"])
    assert law_of(lambda noise: ulam.sample(abc, [[]], "greedy", max_tokens=3, noise=noise)[0].text) == {"aaa": 1.0}


def test_ends_and_limits() -> None:
    check_ends_and_limits()


def test_stop_strings() -> None:
    check_stop_strings_in_the_law()


def test_prompts_and_samples_are_independent() -> None:
    check_joint_law()


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_on_irregular_tables(recipe: str) -> None:
    for seed in range(8):
        check_law(model_of(seed), (seed % 3,), recipe, 3)


@pytest.mark.parametrize("stop", [["a"], ["ab"], ["ba", "abb"], ["bab", "a"], ["é"], ["aé", "b"], ["zz"]])
def test_stop_strings_on_irregular_tables(stop: list[str]) -> None:
    for seed in range(4):
        check_law(model_of(seed), (1,), "temperature=0.7 top_p=0.8" if seed % 2 else "", 3, stop)


def test_length_alone() -> None:
    """A model without an end: every leaf is cut."""
    model = Tree(lambda prefix: (0.2, 0.5, 0.3), [b"a", b"b", b"c"])
    for length in (1, 2, 4):
        check_law(model, (), "top_p=0.8 temperature=1.5 gumbel_max", length)
