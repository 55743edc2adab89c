"""Choosers with feedback against their definitions: the law of a step, what is carried on, and the constants the kit cannot know."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import Rows, rows
from ulam.core.context import Context, History
from ulam.core.errors import OutOfRange
from ulam.methods import catalogue, find
from ulam.recipe import Recipe
from ulam.testing.inputs import settings

from .reference import probabilities
from .reference_feedback import Reference

torch.set_num_threads(1)

FEEDBACK = ("adaptive_p", "mirostat", "mirostat_v2")

targets = st.sampled_from([0.01, 0.5, 1.0, 2.5, 7.0]) | st.floats(0.01, 20)
etas = st.sampled_from([0.1, 1.0]) | st.floats(0.01, 1)
mus = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 40.0]) | st.floats(-5, 25)


def made(name: str, *values: Any, **parameters: Any) -> Any:
    make: Any = find(name).stage
    return make(*values, **parameters)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Any, Reference, Any]:
    """A chooser, its reference, and something that it may carry."""
    name = draw(st.sampled_from(FEEDBACK))
    if name == "adaptive_p":
        parameters: dict[str, Any] = {"target": draw(st.sampled_from([0.0, 0.3, 1.0]) | st.floats(0, 1)), "decay": draw(st.sampled_from([0.0, 0.9, 0.99]))}
        weight = draw(st.floats(1, 1 / (1 - parameters["decay"])))
        state: Any = (draw(st.floats(0, 1)) * weight, weight)
    else:
        parameters = {"tau": draw(targets), "eta": draw(etas), "observed": draw(st.sampled_from(["input", "kept"]))}
        parameters |= {"m": draw(st.sampled_from([2, 3, 100]))} if name == "mirostat" else {}
        state = draw(mus)
    return made(name, **parameters), Reference(name, **parameters), state


def law(stage: Any, row: Any, state: Any) -> Any:
    """Probabilities of one row, given what is carried."""
    with np.errstate(all="ignore"):
        return np.exp(np.asarray(stage.law(row[None, :], Context([History()], None, [[state]])))[0])


@given(questions(), rows())
def test_the_law_of_a_step(question: tuple[Any, Reference, Any], row: Rows) -> None:
    stage, reference, state = question
    found, wanted = law(stage, row, state), np.array(reference.law(row.tolist(), state))
    assert np.allclose(found, wanted, rtol=1e-9, atol=1e-12)
    on_torch = law(stage, torch.asarray(row.copy()), state)
    assert np.allclose(on_torch, wanted, rtol=1e-9, atol=1e-12)


@given(questions(), rows(), st.integers(0, 11))
def test_what_is_carried_on(question: tuple[Any, Reference, Any], row: Rows, token: int) -> None:
    stage, reference, state = question
    token = min(token, len(row) - 1)
    assert np.allclose(stage.init(History([1], [2])), reference.begin(), rtol=1e-15, atol=0)
    with np.errstate(all="ignore"):
        found = [stage.advance(state, token, z) for z in (row, torch.asarray(row.copy()))]
    wanted = reference.after(row.tolist(), state, token)
    assert all(np.allclose(each, wanted, rtol=1e-12, atol=1e-9 * max(1.0, np.abs(row[row > -np.inf]).max())) for each in found)


@pytest.mark.parametrize(("observed", "surprise", "mu"), [("input", 1.736965594166, 1.926303440583), ("kept", 1.415037499279, 1.958496250072)])
def test_mu_after_a_token(observed: str, surprise: float, mu: float) -> None:
    """3/10 has log2(10/3) bits in the row, and log2(8/3) after the cut at 2 bits, which leaves 5/8 and 3/8."""
    assert 2 - 0.1 * (surprise - 1) == pytest.approx(mu, abs=1e-12)
    for name in ("mirostat", "mirostat_v2"):
        # mirostat cuts this row to two tokens at 2 bits as well
        stage = made(name, tau=1, observed=observed)
        assert stage.advance(2.0, 3, np.log([0.15, 0.5, 0.05, 0.3])) == pytest.approx(mu, abs=1e-12)


def test_a_token_of_no_probability_tells_nothing() -> None:
    row = np.array([0.0, -np.inf, -3.0])
    for name, observed in (("mirostat", "input"), ("mirostat_v2", "input"), ("mirostat_v2", "kept")):
        stage = made(name, tau=1, observed=observed)
        assert stage.advance(0.25, 1, row) == 0.25
    kept = made("mirostat_v2", tau=1, observed="kept")
    assert kept.advance(0.25, 2, row) == 0.25  # cut off at 0.25 bits
    assert made("mirostat_v2", tau=1).advance(0.25, 2, row) < 0.0


def test_adaptive_p_carries_a_weighted_average() -> None:
    stage = made("adaptive_p", target=0.3)
    first = stage.init(History())
    assert first == pytest.approx((3, 10), abs=1e-14)
    assert stage.advance(first, 1, np.log([0.15, 0.5, 0.05, 0.3])) == pytest.approx((3.2, 10), abs=1e-14)
    assert made("adaptive_p", target=0.3, decay=0).init(History()) == (0.3, 1)


def test_a_vocabulary_of_one_token() -> None:
    for name, value in zip(FEEDBACK, (0.3, 3, 3), strict=True):
        assert Recipe([made(name, value)]).distribution([-5.0]).probs.tolist() == [1.0]


def test_mirostat_reaches_its_target() -> None:
    """On rows that are all alike, the mean surprise of many tokens goes to tau; without feedback it would be the row's entropy."""
    z = np.log(np.arange(1, 201) ** -1.1)  # the likeliest token has 2.23 bits
    for name in ("mirostat", "mirostat_v2"):
        for tau in (3.0, 5.0):
            recipe = Recipe(f"{name}({tau:g}, eta=0.2)")
            state = recipe.init()
            bits = [-recipe.choose(z, seed=3, position=t, state=state).model_log_prob / math.log(2) for t in range(600)]
            # mu stays within a few bits, and 600 eta times the mean error is what mu has moved by
            assert abs(np.mean(bits) - tau) * 600 * 0.2 == pytest.approx(abs(state[-1] - 2 * tau), rel=1e-9)
            assert abs(np.mean(bits) - tau) < 0.1


@pytest.mark.parametrize("text", ["mirostat=linear(3, 1, over=10)", "mirostat_v2(3, eta=steps({0: 0.1}))", "adaptive_p=entropy(0.1, 0.5)"])
def test_a_chooser_takes_no_schedule(text: str) -> None:
    with pytest.raises(OutOfRange, match="is a schedule, and a chooser has the same numbers at every position"):
        Recipe(text)


def test_what_learns_from_rows_says_so() -> None:
    """And nothing else: every other stage's state is a function of the history, which the kit checks."""
    assert [name for name, method in catalogue().items() if getattr(method.stage, "feedback", False)] == list(FEEDBACK)


def test_whatever_carries_something_can_be_forked() -> None:
    """By the kit, which tests that claim on every method that makes it."""
    carries = [m for m in catalogue().values() if m.stage(**settings(m.stage, 8)[0]).init(History([0, 1], [1])) is not None]
    assert {*FEEDBACK} <= {method.name for method in carries if "fork" in method.claims} == {method.name for method in carries}


def test_the_reference_is_no_copy() -> None:
    """The cut of mirostat by its own arithmetic: probabilities 6/11, 3/11, 2/11 are Zipf's with s = 1 exactly."""
    assert Reference("mirostat", tau=1).law([math.log(x) for x in (3, 6, 2)], 1.5) == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-12)
    assert probabilities([0.0, 0.0]) == [0.5, 0.5]
