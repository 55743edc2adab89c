"""Plausible wrong recipes, each with the test that must reject it, by its assertion and not by an accident."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from ulam.core import values
from ulam.core.arrays import log_softmax
from ulam.core.method import Chooser, Stage
from ulam.core.noise import Address
from ulam.core.parameter import parameters
from ulam.recipe import Recipe, canonical, draw, formats, recipe

from . import test_draw, test_formats, test_text, test_value
from .test_draw import LAWS

Patch = pytest.MonkeyPatch


def laws() -> None:
    for text, given, expect in LAWS:
        test_draw.test_the_law_of_a_row(text, given, expect, 0.0)


def ids() -> None:
    test_formats.test_the_id_is_the_hash_of_the_canonical_json("temperature=1.0 greedy", '{"stages":[{"T":1,"stage":"temperature"},{"stage":"greedy"}]}')


def bare_ids() -> None:
    test_formats.test_the_id_is_the_hash_of_the_canonical_json("", '{"stages":[{"stage":"categorical"}]}')


def plant(module: Any, name: str, wrong: Callable[..., Any]) -> Callable[[Patch], None]:
    """A patch that replaces `name` by `wrong`, which is given the right one first."""
    right = getattr(module, name)
    return lambda patch: patch.setattr(module, name, lambda *arguments, **named: wrong(right, *arguments, **named))


def backwards(right: Any, transforms: Any, *rest: Any) -> Any:
    return right(transforms[::-1], *rest)


def law_without_chooser(patch: Patch) -> None:
    for kind in Chooser.__subclasses__():
        patch.setattr(kind, "law", lambda self, z, context: log_softmax(z))


def renormalised_between_stages(patch: Patch) -> None:
    """The next stage sees the row of the model again, cut to what is left, instead of what the stage before made of it."""

    def shape(transforms: Any, z: Any, context: Any, failures: Any) -> Any:
        out = z
        for stage in transforms:
            after = stage(z, context)
            out = draw.mend(after, stage, context, failures)
        return out

    patch.setattr(draw, "shape", shape)


def model_log_prob_after_the_stages(right: Any, transforms: Any, chooser: Any, z: Any, *rest: Any) -> Any:
    drawn = right(transforms, chooser, z, *rest)
    return dataclasses.replace(drawn, model_log_probs=drawn.recipe_log_probs)


def position_forgotten(right: Any, transforms: Any, chooser: Any, z: Any, context: Any, noise: Any, address: Address) -> Any:
    return right(transforms, chooser, z, context, noise, dataclasses.replace(address, position=[0]))


def sequence_cut_to_32_bits(right: Any, transforms: Any, chooser: Any, z: Any, context: Any, noise: Any, address: Address) -> Any:
    return right(transforms, chooser, z, context, noise, dataclasses.replace(address, sequence=[address.sequence[0] % 2**32]))  # type: ignore[index]


def failing_rows_kept_as_even_ones(patch: Patch) -> None:
    right = draw.mend
    patch.setattr(draw, "mend", lambda z, stage, context, failures, before=None: right(z, stage, context, {}, before))


def chooser_left_out_of_the_id(patch: Patch) -> None:
    patch.setattr(Recipe, "written", property(lambda self: self.stages))


def nearly_neutral_dropped(patch: Patch) -> None:
    """A first parameter within 0.2 of its neutral value counts as neutral."""

    def near(stage: Stage) -> bool:
        first = next(iter(parameters(stage)), None)
        value, neutral = (getattr(stage, first.name), first.neutral) if first else (None, None)
        return isinstance(value, float) and isinstance(neutral, (int, float)) and abs(value - neutral) < 0.2

    patch.setattr(Recipe, "simplified", lambda self: Recipe([stage for stage in self.stages if not near(stage)]))


def top_p_before_temperature(patch: Patch) -> None:
    patch.setattr(canonical, "ORDER", canonical.ORDER[::-1])


MUTANTS = [
    ("the stages run from right to left", plant(draw, "shape", backwards), laws),
    ("every stage sees the model's row", renormalised_between_stages, laws),
    ("the chooser is no part of the law", law_without_chooser, laws),
    ("the chooser is no part of the law", law_without_chooser, test_draw.test_a_greedy_law_is_a_point_mass_to_the_bit),
    (
        "the model's log-probability is that of what the stages left",
        plant(recipe, "draw", model_log_prob_after_the_stages),
        test_draw.test_choose_draws_from_what_the_stages_left,
    ),
    ("every position draws alike", plant(recipe, "draw", position_forgotten), test_draw.test_choose_is_the_draw_of_its_address),
    ("the upper half of the sequence number is lost", plant(recipe, "draw", sequence_cut_to_32_bits), test_draw.test_choose_is_the_draw_of_its_address),
    ("a failing row is drawn from as if it were even", failing_rows_kept_as_even_ones, test_draw.test_mates_of_a_failing_row_are_the_same_to_the_bit),
    (
        "a whole number has a point in the canonical JSON",
        plant(formats, "plain", lambda right, value: value if isinstance(value, float) else right(value)),
        ids,
    ),
    ("the JSON behind the id has blanks", plant(formats, "to_json", lambda right, stages: json.dumps(json.loads(right(stages)))), ids),
    ("categorical changes the id", chooser_left_out_of_the_id, bare_ids),
    ("a stage that is nearly neutral is dropped", nearly_neutral_dropped, test_draw.test_simplified_keeps_the_law_and_the_draw_bitwise),
    (
        "numbers are printed to six digits",
        plant(values, "print_number", lambda right, x: f"{x:.6g}" if isinstance(x, float) else str(x)),
        test_text.test_parsing_is_the_inverse_of_printing,
    ),
    (
        "temperature stands after top_p in the canonical order",
        top_p_before_temperature,
        test_value.test_the_canonical_order_does_not_depend_on_the_order_given,
    ),
]


@pytest.mark.parametrize(("fault", "wrong", "test"), MUTANTS, ids=[f"{fault}-{test.__name__}" for fault, _, test in MUTANTS])
def test_a_planted_fault_is_rejected(fault: str, wrong: Callable[[Patch], None], test: Callable[[], None]) -> None:
    with Patch.context() as patch:
        wrong(patch)
        with pytest.raises((AssertionError, ExceptionGroup)) as caught:  # a group, where it fails in several ways
            test()
        assert isinstance(caught.value, AssertionError) or caught.group_contains(AssertionError)
