"""Plausible wrong scores, each with the check that must reject it, by its assertion and not by an accident."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.method import Chooser
from ulam.decode import recipe_model, scored

from . import score_checks
from .score_checks import check_arithmetic, check_removed, check_samples, check_windows

score_module: Any = sys.modules["ulam.decode.score"]  # the package has a function of this name

Patch = pytest.MonkeyPatch


def changed(name: str, change: Callable[..., Any], where: Any = score_module) -> Callable[[Patch], None]:
    """`where.name` replaced by `change(real, *arguments)`."""
    real = getattr(where, name)
    return lambda patch: patch.setattr(where, name, lambda *arguments, **named: change(real, *arguments, **named))


def joined_history(real: Any, prompt: Any, generated: Any) -> Any:
    return real((), np.concatenate([prompt, generated]))


def history_with_the_scored_token(real: Any, prompt: Any, generated: Any) -> Any:
    return real(prompt, generated.base[: len(generated) + 1])


def windows_side_by_side(real: Any, length: int, first: int, limit: int | None) -> Any:
    for begin in range(0, length, limit or length):
        if begin + (limit or length) > first:
            yield begin, max(begin, first), min(begin + (limit or length), length)


def history_of_the_window(patch: Patch) -> None:
    real = score_module.History
    patch.setattr(score_module, "History", lambda prompt, generated: real(prompt, generated[max(0, len(generated) - 4) :]))


def states_have_seen_the_token(patch: Patch) -> None:
    real, go_on = score_module.under, score_module.go_on

    def under(recipe: Any, bound: Any, z: Any, context: Any, tokens: Any) -> Any:
        for states in context.states:
            go_on(bound.written, states, int(tokens[0]), z[0, :])
        return real(recipe, bound, z, context, tokens)

    patch.setattr(score_module, "under", under)
    patch.setattr(score_module, "go_on", lambda *rest: None)


def without_the_end(real: Any, log_probs: Any) -> float:
    return real(log_probs[:-1])


def removed_by_the_last(real: Any, recipe: Any, *rest: Any) -> Any:
    log_probs, removed = real(recipe, *rest)
    return log_probs, dict.fromkeys(removed, str(recipe.written[-1]))


MUTANTS: list[tuple[str, Callable[[Patch], None], Callable[[], None]]] = [
    ("the model has seen the token", changed("read", lambda real, model, ids, *rest: real(model, (*ids[1:], 0), *rest)), check_arithmetic),
    ("the model has seen the token", changed("read", lambda real, model, ids, *rest: real(model, (*ids[1:], 0), *rest)), check_samples),
    ("the history holds the token", changed("History", history_with_the_scored_token), check_arithmetic),
    ("the history holds the token", changed("History", history_with_the_scored_token), check_samples),
    ("what stages carry does not go on", changed("go_on", lambda real, *rest: None), check_arithmetic),
    ("what stages carry does not go on", changed("go_on", lambda real, *rest: None), check_samples),
    ("what stages carry has seen the token", states_have_seen_the_token, check_arithmetic),
    ("what stages carry has seen the token", states_have_seen_the_token, check_windows),
    ("the prompt counts as generated", changed("History", joined_history), check_arithmetic),
    ("the prompt is not read", changed("read_prompt", lambda real, *rest: (real(*rest)[0], ())), check_arithmetic),
    ("the model's logits are not normalised", changed("log_softmax", lambda real, z: z), check_arithmetic),
    ("the recipe's logits are not normalised", changed("law", lambda real, self, z, context: z, Chooser), check_arithmetic),
    ("log N leaves out the last stage", changed("log_normalizers", lambda real, recipe, *rest: real(ulam.Recipe(recipe.stages[:-1]), *rest)), check_arithmetic),
    ("log N is of logits that are not normalised", changed("log_softmax", lambda real, z: z, recipe_model), check_arithmetic),
    ("log N is that of the model", changed("log_normalizers", lambda real, recipe, *rest: real(ulam.Recipe(), *rest)), check_arithmetic),
    ("ranks count from 0", changed("ranks", lambda real, *rest: real(*rest) - 1), check_arithmetic),
    ("totals leave out the last token", changed("total", without_the_end, scored), check_samples),
    ("windows stand side by side", changed("windows", windows_side_by_side), check_windows),
    ("the history is that of the window", history_of_the_window, check_windows),
    ("windows overlap by a token too few", changed("windows", lambda real, length, first, limit: real(length, first, limit - 1)), check_windows),
    ("the recipe is that of the model", changed("under", lambda real, recipe, bound, *rest: real(recipe, ulam.Recipe(), *rest)), check_samples),
    ("the last stage is said to have removed a token", changed("under", removed_by_the_last), check_removed),
    ("a token that the model forbids is the recipe's fault", lambda patch: patch.setattr(score_module, "MODEL", "top_p=0.4"), check_removed),
    ("the chooser removes nothing", changed("under", lambda real, recipe, bound, *rest: real(recipe, ulam.Recipe(bound.transforms), *rest)), check_removed),
]


@pytest.mark.parametrize(("fault", "plant", "check"), MUTANTS, ids=[f"{fault}-{check.__name__}" for fault, _, check in MUTANTS])
def test_a_planted_fault_is_rejected(fault: str, plant: Callable[[Patch], None], check: Callable[[], None]) -> None:
    with Patch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError):
            check()


def test_every_check_has_a_fault_that_it_rejects() -> None:
    assert {check.__name__ for _, _, check in MUTANTS} == {name for name in vars(score_checks) if name.startswith("check_")}
