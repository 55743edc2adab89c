"""What is said to commute does; what is not said to, does not."""

from __future__ import annotations

from itertools import combinations

import pytest

from ulam.recipe import Recipe
from ulam.recipe.dialects.commute import commute, merged, tempered

from .laws import distance

STAGES = [
    *("temperature=1.7", "temperature=0.6", "top_k=5", "top_p=0.7", "min_p=0.2", "top_a=0.4", "typical_p=0.6", "tail_free=0.6", "top_n_sigma=0.8"),
    *("top_h=0.6", "p_less", "epsilon_cutoff=0.08", "eta_cutoff=0.2", "smoothing=0.4", "skew=0.8", "dynamic_temperature(0.5, 2)"),
    *("repetition_penalty=1.6", "presence_penalty=0.9", "frequency_penalty=0.7", "dry=0.8", "logit_bias={1: 1.5, 6: -1}", "length_decay(1.3, 1)"),
    *("sequence_bias={[5, 6]: 2}", "ban_tokens=[0, 4]", "no_repeat_ngram=2"),
]


@pytest.mark.parametrize(("one", "other"), list(combinations(STAGES, 2)))
def test_the_rule_is_the_truth(one: str, other: str) -> None:
    a, b = (Recipe(each).stages[0] for each in (one, other))
    apart = max(distance(Recipe([a, b]), Recipe([b, a]), seed) for seed in range(3))
    if commute(a, b):
        assert apart < 1e-9, f"{one} and {other} are said to commute"
    assert commute(a, b) == commute(b, a)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("temperature=1.7", each) for each in ("top_p=0.7", "min_p=0.2", "top_a=0.4", "typical_p=0.6", "tail_free=0.6", "top_h=0.6", "epsilon_cutoff=0.08")),
        *(
            ("temperature=1.7", each)
            for each in ("smoothing=0.4", "skew=0.8", "dynamic_temperature(0.5, 2)", "presence_penalty=0.9", "logit_bias={1: 1.5, 6: -1}")
        ),
        *(("top_k=5", each) for each in ("top_p=0.7", "typical_p=0.6", "top_n_sigma=0.8", "dynamic_temperature(0.5, 2)")),
        *(("ban_tokens=[0, 4]", each) for each in ("top_p=0.7", "top_n_sigma=0.8", "min_p=0.2", "top_k=5")),
        *(("repetition_penalty=1.6", each) for each in ("presence_penalty=0.9", "logit_bias={1: 1.5, 6: -1}")),
        ("top_p=0.7", "min_p=0.2"),
        ("repetition_penalty(1.6, on=log_probs)", "temperature=1.7"),
    ],
)
def test_these_do_not_commute_and_are_not_said_to(one: str, other: str) -> None:
    a, b = (Recipe(each).stages[0] for each in (one, other))
    assert not commute(a, b)
    assert max(distance(Recipe([a, b]), Recipe([b, a]), seed) for seed in range(3)) > 1e-3


@pytest.mark.parametrize(
    ("recipe", "one"),
    [
        ("temperature=1.5 temperature=0.5", "temperature=0.75"),
        ("top_k=7 top_k=3", "top_k=3"),
        ("min_p=0.1 min_p=0.3", "min_p=0.3"),
        ("ban_tokens=[1] ban_tokens=[2, 3]", "ban_tokens=[1, 2, 3]"),
    ],
)
def test_two_of_one_kind_become_one(recipe: str, one: str) -> None:
    a, b = Recipe(recipe).stages
    assert Recipe([merged(a, b)]) == Recipe(one)
    assert distance(Recipe(recipe), Recipe(one)) < 1e-12


def test_two_top_p_do_not_become_one() -> None:
    assert merged(*Recipe("top_p=0.9 top_p=0.8").stages) is None


@pytest.mark.parametrize("T", [0.3, 0.8, 1.9])
def test_min_p_on_the_other_side_of_a_temperature(T: float) -> None:
    min_p = Recipe("min_p=0.15").stages[0]
    heat = Recipe(f"temperature={T}").stages[0]
    assert distance(Recipe([min_p, heat]), Recipe([heat, tempered(min_p, T)])) < 1e-12
    assert distance(Recipe([min_p, heat]), Recipe([heat, min_p])) > 1e-3
