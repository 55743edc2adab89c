"""What an occurrence weighs, against the rule written out for one token at a time."""

from __future__ import annotations

from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import histories
from ulam.core.context import Context, History
from ulam.core.errors import OutOfRange, TokenOutOfRange
from ulam.core.repeats import distance_weights
from ulam.methods import find

WIDTH = 5
penalty: Any = find("presence_penalty").stage


def weights_by_rule(tokens: list[int], window: int | str, fade: int, slope: F, every: bool) -> list[F]:
    """1 inside the window, a straight line over the fade, `slope` in the older half of the window, 0 beyond."""
    out = [F(0)] * WIDTH
    inside = len(tokens) if window == "all" else min(int(window), len(tokens))
    for token in range(WIDTH):
        found = []
        for distance, each in enumerate(reversed(tokens)):
            if each != token:
                continue
            if distance < inside:
                found.append(slope if slope != 1 and distance >= inside - inside // 2 else F(1))
            elif window != "all" and distance < int(window) + fade:
                found.append(1 - F(distance - int(window), fade))
        if found:
            out[token] = sum(found, F(0)) if every else found[0]
    return out


@given(histories(WIDTH), st.sampled_from(["all", 1, 2, 3, 7, 50]), st.integers(0, 6), st.sampled_from(["prompt", "generated", "all"]), st.booleans())
def test_weights_follow_the_rule(past: History, window: Any, fade: int, scope: Any, every: bool) -> None:
    stage = penalty(1, window=window, scope=scope, fade=0 if window == "all" else fade)
    tokens = {"prompt": past.prompt, "generated": past.generated, "all": [*past.prompt, *past.generated]}[scope]
    found = stage.weights(np.zeros((1, WIDTH)), Context([past]), every=every)[0]
    wanted = weights_by_rule(list(tokens), window, stage.fade, F(1), every)
    assert found == pytest.approx([float(x) for x in wanted], abs=1e-15)


@given(histories(WIDTH), st.sampled_from(["all", 1, 2, 5, 6]), st.sampled_from([F(0), F(1, 4), F(1)]))
def test_the_older_half_weighs_less(past: History, window: Any, slope: F) -> None:
    found = penalty(1, window=window, scope="all").weights(np.zeros((1, WIDTH)), Context([past]), slope=float(slope))[0]
    assert found.tolist() == [float(x) for x in weights_by_rule([*past.prompt, *past.generated], window, 0, slope, False)]


@pytest.mark.parametrize(
    ("length", "window", "fade", "slope", "weights"),
    [
        (0, 3, 0, 1.0, []),
        (3, 3, 0, 1.0, [1, 1, 1]),
        (5, 5, 0, 0.5, [0.5, 0.5, 1, 1, 1]),
        (1, 1, 0, 0.5, [1]),
        (6, 2, 4, 1.0, [0.25, 0.5, 0.75, 1, 1, 1]),
    ],
)
def test_weights_by_distance(length: int, window: int, fade: int, slope: float, weights: list[float]) -> None:
    assert distance_weights(length, window, fade, slope).tolist() == weights


def test_every_row_has_its_own_window() -> None:
    stage = penalty(np.array([1.0, 1.0]), window=np.array([1, 2]), scope="all", fade=np.array([0, 2]))
    past = History([0, 1, 2], [3])
    found = stage.weights(np.zeros((2, WIDTH)), Context([past, past]))
    assert found.tolist() == [[0, 0, 0, 1, 0], [0.5, 1, 1, 1, 0]]


def test_no_rows_are_empty_histories() -> None:
    assert penalty(1).weights(np.zeros((2, WIDTH)), Context()).tolist() == [[0.0] * WIDTH] * 2


@pytest.mark.parametrize("token", [5, -1])
def test_a_history_of_another_vocabulary_is_refused(token: int) -> None:
    with pytest.raises(TokenOutOfRange, match=f"presence_penalty: token id {token} of the history is outside 0 to 4") as caught:
        penalty(1).weights(np.zeros((2, WIDTH)), Context([History(), History(generated=[0, token])]))
    assert caught.value.row == 1


@pytest.mark.parametrize("fade", [3, np.array([0, 3])])
def test_a_fade_needs_a_finite_window(fade: Any) -> None:
    with pytest.raises(OutOfRange, match="needs a finite window") as caught:
        penalty(1, fade=fade)
    assert caught.value.parameter == "fade"
