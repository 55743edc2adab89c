"""Schedules: their values by hand, where they may stand, and stages that have one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ulam
from ulam.core.context import Context, History
from ulam.core.errors import OutOfRange, RecipeError
from ulam.core.schedule import Schedule
from ulam.methods.transforms.temperature import Temperature
from ulam.methods.transforms.top_k import TopK
from ulam.models import Table, alphabet
from ulam.recipe import Recipe

ROW = np.log([[0.5, 0.3, 0.15, 0.05]])


def schedule(text: str) -> Schedule:
    value = Recipe(f"temperature={text}").stages[0].T  # type: ignore[attr-defined]
    assert isinstance(value, Schedule)
    return value


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("linear(1.2, 0.6, over=100)", {0: 1.2, 25: 1.05, 50: 0.9, 100: 0.6, 400: 0.6}),
        # 0.6 + 0.3 (1 + cos(pi/4)) = 0.6 + 0.3 (1 + 0.7071067811865476)
        ("cosine(1.2, 0.6, over=100)", {0: 1.2, 25: 1.112132034355964, 50: 0.9, 100: 0.6, 400: 0.6}),
        # 1.2 / 2^(1/4) = 1.2 / 1.189207115002721
        ("geometric(1.2, 0.6, over=100)", {0: 1.2, 25: 1.009075698, 50: 1.2 / math.sqrt(2), 100: 0.6, 400: 0.6}),
        ("steps({50: 2, 0: 1, 200: 0})", {0: 1, 49: 1, 50: 2, 199: 2, 200: 0, 10**6: 0}),
    ],
)
def test_values_by_hand(text: str, at: dict[int, float]) -> None:
    assert {t: schedule(text).at(t) for t in at} == {t: pytest.approx(value, abs=1e-9) for t, value in at.items()}
    assert all(schedule(text).at(t) == value for t, value in at.items() if t in (0, 100, 400, 200, 10**6))  # the ends are reached exactly


@pytest.mark.parametrize("kind", ["linear", "cosine", "geometric"])
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 1000))
def test_a_schedule_begins_and_ends_with_its_numbers_to_the_bit(kind: str, a: float, b: float, over: int) -> None:
    """A neutral end is neutral only if it is met exactly."""
    found = schedule(f"{kind}({a!r}, {b!r}, over={over})")
    assert (found.at(0), found.at(over)) == (a, b)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_middle_is_met_to_the_bit(kind: str) -> None:
    """Half-way numbers round to even only if they are half-way."""
    assert schedule(f"{kind}(5, 0, over=6)").at(3) == 2.5


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_a_flat_row_has_the_high_end_to_the_bit(low: float, high: float) -> None:
    assert schedule(f"entropy({low!r}, {high!r}, exponent=0)").of_rows(ROW, Context()).tolist() == [high]


def test_entropy_by_hand() -> None:
    """H of (.5, .3, .15, .05) is 1.142119... nats, ln 4 = 1.386294...; low + (high - low) H / ln 4."""
    entropy = -math.fsum(p * math.log(p) for p in (0.5, 0.3, 0.15, 0.05))
    share = entropy / math.log(4)
    rows = np.concatenate([ROW, [[0.0, 0.0, -np.inf, -np.inf]], [[-np.inf, 3.0, -np.inf, -np.inf]], np.zeros((1, 4))])
    found = schedule("entropy(0.2, 0.02)").of_rows(rows, Context())
    assert found == pytest.approx([0.2 - 0.18 * share, 0.02, 0.2, 0.02], abs=1e-12)
    assert found[0] == pytest.approx(0.051704, abs=1e-6)
    squared = schedule("entropy(0, 2, exponent=2)").of_rows(ROW, Context())
    assert squared == pytest.approx([2 * share**2], abs=1e-12)
    assert schedule("entropy(1, 3, exponent=0)").of_rows(rows, Context()).tolist() == [3, 3, 1, 3]


def test_min_p_by_entropy_keeps_what_its_number_keeps() -> None:
    assert np.array_equal(Recipe("min_p=entropy(0.2, 0.02)").distribution(ROW[0]).support, Recipe("min_p=0.051704").distribution(ROW[0]).support)


# text


@pytest.mark.parametrize(
    "text",
    [
        "temperature=linear(1.2, 0.7, over=100)",
        "min_p=entropy(0.2, 0.02)",
        "min_p=entropy(0.2, 0.02, exponent=2)",
        "presence_penalty(steps({0: 0, 200: 0.8}), window=64)",
        "temperature=geometric(2, 0.5, over=7) top_k=linear(40, 5, over=20) gumbel_max",
    ],
)
def test_a_schedule_is_printed_as_it_is_typed(text: str) -> None:
    recipe = Recipe(text)
    assert str(recipe) == text
    assert Recipe.from_json(recipe.to_json()) == Recipe.from_toml(recipe.to_toml()) == Recipe(text)
    assert hash(recipe) == hash(Recipe(text))


def test_named_and_positional_numbers_are_the_same() -> None:
    assert Recipe("temperature=linear(a=1, b=2, over=3)") == Recipe("temperature=linear(1, 2, 3)")
    assert Recipe("temperature=linear(1, 2, over=3)").id != Recipe("temperature=linear(1, 2, over=4)").id


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("temperature=lineal(1, 2, over=3)", RecipeError, "Did you mean linear?"),
        ("temperature=sin(1)", RecipeError, "There are linear, cosine, geometric, steps, entropy"),
        ("temperature=linear(1, 2)", RecipeError, "linear lacks over"),
        ("temperature=linear(1, 2, 3, 4)", RecipeError, "one value too many"),
        ("temperature=linear(1, 2, over=3, b=4)", RecipeError, "has b twice"),
        ("temperature=linear(1, 2, til=3)", RecipeError, "lacks over"),
        ("temperature=linear(1, 2, over=0)", OutOfRange, "over=0 is not above 0"),
        ("temperature=linear(1, inf, over=3)", OutOfRange, "not a finite number"),
        ("temperature=geometric(0, 1, over=3)", OutOfRange, "not above 0"),
        ("temperature=entropy(1, 2, exponent=-1)", OutOfRange, "below 0"),
        ("temperature=steps({5: 1})", RecipeError, "position 0 among them"),
        ("temperature=steps(3)", RecipeError, "position 0 among them"),
        ("temperature=steps({0: 1, -3: 2})", RecipeError, "position 0 among them"),
        ("temperature=linear(1, -2, over=3)", OutOfRange, "temperature=-2 is outside [0, inf)"),
        ("top_p=steps({0: 0.5, 9: 1.5})", OutOfRange, "top_p=1.5 is outside [0, 1]"),
        ("top_k=linear(40.5, 5, over=20)", OutOfRange, "is not an integer"),
        ("presence_penalty(0.5, scope=linear(1, 2, over=3))", OutOfRange, "is not"),
        ("temperature=linear(linear(1, 2, over=3), 2, over=3)", OutOfRange, "not a finite number"),
    ],
)
def test_schedules_that_cannot_be_meant(text: str, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind) as caught:
        Recipe(text)
    assert part in str(caught.value)


# stages


def test_each_row_has_the_number_of_its_own_position() -> None:
    stage = Recipe("temperature=linear(1, 2, over=4)").stages[0]
    rows = np.tile(ROW, (3, 1))
    histories = [History((7, 7, 7), ()), History((), (1, 1)), History((0,), (1, 1, 1, 1, 1))]
    image = stage(rows, Context(histories))  # type: ignore[operator]
    for b, number in enumerate((1.0, 1.5, 2.0)):
        assert np.array_equal(image[b], Temperature(number)(ROW)[0])
    assert image[0].tobytes() == ROW[0].tobytes()  # neutral there: bit for bit


def test_whole_numbers_round_half_to_even() -> None:
    stage = Recipe("top_k=linear(1, 4, over=6)").stages[0]
    kept = [int((stage(ROW, Context([History((), (0,) * t)])) > -np.inf).sum()) for t in range(7)]  # type: ignore[operator]
    assert kept == [1, 2, 2, 2, 3, 4, 4]  # 1, 1.5, 2, 2.5, 3, 3.5, 4


def test_a_scheduled_recipe_draws_what_its_numbers_say() -> None:
    """Position by position against single recipes, on the whole law of three tokens."""
    model = Table({}, alphabet("abc"), otherwise=lambda prefix: (0.5, 0.3, 0.2), fingerprint="iid")
    law = ulam.law(model, "temperature=steps({0: 1, 1: 0.5, 2: 0})", max_tokens=3)
    laws: list[Any] = [Recipe(f"temperature={T}").distribution(ROW[0][:3] * 0 + np.log([0.5, 0.3, 0.2])).probs for T in (1, 0.5, 0)]
    assert {o.tokens: float(p) for o, p in law} == {(i, j, 0): pytest.approx(laws[0][i] * laws[1][j], abs=1e-15) for i in range(3) for j in range(3)}
    assert laws[2].tolist() == [1, 0, 0]


def test_rows_with_different_schedules_go_alone() -> None:
    model = Table({}, alphabet("abcd"), otherwise=lambda prefix: (0.4, 0.3, 0.2, 0.1), fingerprint="iid 4")
    recipes = ["temperature=linear(1, 0.2, over=5)", "temperature=linear(1, 3, over=5)", "temperature=0.7", "top_k=steps({0: 4, 2: 1})"]
    together = ulam.sample(model, [[0]] * 4, recipes, max_tokens=8, seed=3)
    for i, recipe in enumerate(recipes):
        (alone,) = ulam.sample(model, [[0]], recipe, max_tokens=8, seed=3, sequence=together[i].sequence)
        assert alone.tokens == together[i].tokens
        assert np.array_equal(alone.recipe_log_probs, together[i].recipe_log_probs)
    assert set(together[3].tokens[2:]) == {0}


def test_a_neutral_schedule_is_still_written() -> None:
    assert str(Recipe("temperature=linear(1, 1, over=5)").simplified()) == "temperature=linear(1, 1, over=5)"
    assert TopK(Schedule("steps", (), (("values", ((0, 3.0),)),))).scheduled
