"""Choosers that learn from what they drew: their state in the loop, in model x recipe, in scores and laws; wrong versions are seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import pytest

import ulam
from tests.methods.reference_feedback import Reference
from ulam.core.context import Context
from ulam.core.errors import NoGlobalForm
from ulam.decode.recipe_model import RecipeModel
from ulam.models import Table, alphabet
from ulam.recipe import Recipe

from . import feedback_checks
from .checks import irregular
from .feedback_checks import CHECKS, check_forks, check_laws, check_resumed, check_samples, check_scores, table
from .test_recipe_model import Flip

score_module, draw_module = import_module("ulam.decode.score"), import_module("ulam.recipe.draw")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_feedback(check: Callable[[], None]) -> None:
    check()


def test_scores_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 5):
        monkeypatch.setattr(score_module, "ROWS", size)
        check_scores()


def test_a_choice_goes_on_in_its_state() -> None:
    """Two draws by hand: 3/10 has log2(10/3) bits, which takes mu from 2 to 1.926; one without a state begins anew."""
    recipe, z = Recipe("mirostat_v2(1)"), np.log([0.15, 0.5, 0.05, 0.3])
    state = recipe.init()
    assert state == [2.0]
    for seed in range(20):
        fresh = recipe.init()
        choice = recipe.choose(z, seed, state=fresh)
        assert fresh[0] == pytest.approx({1: 2.0, 3: 2 - 0.1 * (math.log2(10 / 3) - 1)}[choice.token], abs=1e-12)
        assert choice.recipe_log_prob == pytest.approx(math.log({1: 5 / 8, 3: 3 / 8}[choice.token]), abs=1e-12)
    assert recipe.distribution(z, state=[1.5]).probs.tolist() == pytest.approx([0, 1, 0, 0])
    assert recipe.distribution([z, z], state=[3.0]).probs[1].tolist() == pytest.approx([3 / 19, 10 / 19, 0, 6 / 19])


# a coin, which no text tells

HIDDEN = Recipe([Flip(0.25), *Recipe("mirostat_v2(0.7, eta=0.9)").stages])


def test_what_a_text_does_not_tell_is_refused() -> None:
    told = "what mirostat_v2 carries depends on how the coins of flip fell, so a text alone gives no law of the next token"
    for refused in (
        lambda: RecipeModel(table(1), HIDDEN),
        lambda: ulam.score(table(1), [0, 1], HIDDEN),
        lambda: HIDDEN.advance(HIDDEN.init(), 0, [0.0, 0.0]),
    ):
        with pytest.raises(NoGlobalForm, match=told) as caught:
            refused()
        assert caught.value.fix == "the recipe without flip, or with another chooser; sample and law draw from it as it is"


def test_the_loop_draws_all_the_same() -> None:
    """Its law by plain Python: the state follows the branch that was drawn from."""
    reference, wanted = Reference("mirostat_v2", tau=0.7, eta=0.9), dict[tuple[int, ...], float]()
    after = irregular(3, 8, 0.0)
    for falls in product((True, False), repeat=3):
        paths: dict[tuple[int, ...], tuple[float, Any]] = {(): (1.0, reference.begin())}
        for acts in falls:
            grown: dict[tuple[int, ...], tuple[float, Any]] = {}
            for said, (mass, state) in paths.items():
                z = [-math.inf if acts and i == 0 else math.log(p) for i, p in enumerate(after(said))]
                mass *= 0.25 if acts else 0.75
                grown |= {(*said, i): (mass * p, reference.after(z, state, i)) for i, p in enumerate(reference.law(z, state)) if p}
            paths = grown
        for said, (mass, _) in paths.items():
            wanted[said] = wanted.get(said, 0.0) + mass
    law = ulam.law(Table({}, alphabet("abc"), otherwise=after, fingerprint="even"), HIDDEN, [], 3)
    assert {outcome.tokens for outcome in law.outcomes} == {*wanted}
    assert max(abs(float(p) - wanted[outcome.tokens]) for outcome, p in law) < 1e-12
    sample = ulam.sample(table(1), [[]], HIDDEN, n=20, max_tokens=6, seed=2)
    assert all(np.isfinite(each.recipe_log_probs).all() for each in sample)


def test_a_text_has_no_one_weight() -> None:
    for recipe in feedback_checks.RECIPES:
        model = RecipeModel(table(1), recipe)
        state, _ = model.prefill([[]])
        with pytest.raises(NoGlobalForm, match="draws from a row of its own making"):
            model.log_normalizers(state)


# planted faults


def same_list(self: Recipe, state: list[Any]) -> list[Any]:
    return state


def fork_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recipe, "fork", same_list)


def begin_anew_at_every_token(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(draw_module, "go_on", lambda *rest: None)


def states_of_other_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Context, "select", lambda self, rows: Context([self.rows[int(i)] for i in rows], self.vocabulary, self.states, self.place))


def scores_begin_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(score_module, "go_on", lambda *rest: None)


def scores_see_the_model(patch: pytest.MonkeyPatch) -> None:
    real = score_module.under
    row: list[Any] = []
    go_on = score_module.go_on
    patch.setattr(score_module, "under", lambda recipe, bound, z, *rest: (row.append(z[0, :]), real(recipe, bound, z, *rest))[1])
    patch.setattr(score_module, "go_on", lambda stages, states, token, z: go_on(stages, states, token, row[-1]))


def resumes_at_the_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RecipeModel, "_carried", lambda self, row: self.bound.init(row.prompt, row.generated))


def steps_see_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recipe, "advance", lambda self, state, *rest: state)


@pytest.mark.parametrize(
    ("plant", "check"),
    [
        (fork_nothing, check_forks),
        (fork_nothing, check_samples),
        (fork_nothing, check_laws),
        (begin_anew_at_every_token, check_laws),
        (begin_anew_at_every_token, check_samples),
        (states_of_other_rows, check_samples),
        (scores_begin_anew, check_scores),
        (scores_see_the_model, check_scores),
        (resumes_at_the_start, check_resumed),
        (steps_see_nothing, check_laws),
    ],
)
def test_a_planted_fault_is_seen(plant: Callable[[pytest.MonkeyPatch], None], check: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, ulam.UlamError, ValueError)):
        check()
