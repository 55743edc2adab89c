"""koboldcpp by hand: seven groups, a hidden cut to 3000 tokens, and what it does in its own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ulam.core.errors import OutOfRange, UlamError, UnknownParameter, Unsupported
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, export, find
from ulam.recipe.dialects.koboldcpp import LOST, USUAL

ENGINE = find("koboldcpp")
ROW = np.log([0.30, 0.20, 0.15, 0.10, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])


def test_the_worked_row() -> None:
    """The usual order ends with temperature, so as in llama.cpp; with 5 before 2 a fourth token stays."""
    given = {"temperature": 1.6, "top_k": 5, "top_p": 0.75, "min_p": 0.25}
    usual, heated = (ENGINE.read({**given, "sampler_order": order}).recipe for order in (USUAL, [6, 0, 1, 3, 4, 5, 2]))
    assert np.round(usual.distribution(ROW).probs, 6).tolist()[:4] == [0.412445, 0.320117, 0.267438, 0]
    assert np.round(heated.distribution(ROW).probs, 6).tolist()[:4] == [0.34155, 0.265092, 0.221467, 0.171891]


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        ({"rep_pen": 1.1}, "repetition_penalty(1.1, window=320)"),
        ({"rep_pen": 1.1, "rep_pen_slope": 0.7, "rep_pen_range": 100}, "repetition_penalty(1.1, window=100, slope=0.7)"),
        ({"rep_pen": 0.9, "rep_pen_slope": 0.7}, "repetition_penalty(0.9, window=320)"),
        ({"presence_penalty": 0.5}, "presence_penalty(0.5, window=320, scope=all)"),
        ({"typical": 0.8, "top_a": 0.2, "tfs": 0.9}, "top_a=0.2 tail_free=0.9 typical_p=0.8"),
        ({"nsigma": 1.5, "smoothing_factor": 0.3, "temperature": 0.5}, "temperature=0.5 smoothing=0.3 top_n_sigma=1.5"),
        ({"smoothing_factor": 0.3, "temperature": 0}, "temperature=0"),
        ({"temperature": 1, "dynatemp_range": -0.5}, "dynamic_temperature(1.5, 0.5)"),
        ({"dry_multiplier": 0.8}, "dry(0.8, window=320, breakers=[])"),
        ({"dry_multiplier": 0.8, "dry_penalty_last_n": 0}, "dry(0.8, breakers=[])"),
        ({"xtc_probability": 0.5}, "xtc(0.5, threshold=0.2)"),
        ({"top_k": 5000}, "categorical"),
        ({"adaptive_target": 0.4, "top_p": 0.9}, "top_p=0.9 adaptive_p=0.4"),
        ({"adaptive_target": 0.4}, "min_p=0.002 adaptive_p=0.4"),
        ({"adaptive_target": 0}, "categorical"),
        ({"mirostat": 2, "rep_pen": 1.1, "top_k": 3}, "repetition_penalty(1.1, window=320) mirostat_v2(5, observed=kept)"),
        ({"sampler_order": [5, 2], "temperature": 0.5, "top_p": 0.9, "top_k": 3}, "temperature=0.5 top_p=0.9"),
        ({"logit_bias": {"7": -3}}, "logit_bias={7: -3}"),
    ],
)
def test_fields_become_stages(given: dict[str, Any], recipe: str) -> None:
    assert str(ENGINE.read({"temperature": 1, "top_k": 0, "top_p": 1, **given}).recipe) == recipe


def test_what_is_lost_is_said() -> None:
    assert LOST not in ENGINE.read({}).notes
    assert LOST not in ENGINE.read({"rep_pen": 1.1}).notes
    assert LOST in ENGINE.read({"top_k": 0}).notes
    assert any("more than the 3000 tokens" in note for note in ENGINE.read({"top_k": 5000}).notes)


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"sampler_order": [0, 7]}, OutOfRange, "0 to 6"),
        ({"banned_strings": ["x"]}, Unsupported, "takes back"),
        ({"frequency_penalty": 0.3}, Unsupported, "taken for presence_penalty"),
        ({"guidance_scale": 1.5}, Unsupported, "two passes"),
        ({"mirostat": 3}, OutOfRange, "none of 0, 1, 2"),
        ({"tfs_z": 1}, UnknownParameter, "no parameter tfs_z"),
    ],
)
def test_refusals(given: dict[str, Any], error: type[UlamError], what: str) -> None:
    with pytest.raises(error, match=what) as refused:
        ENGINE.read(given)
    assert refused.value.what.startswith("koboldcpp")


@pytest.mark.parametrize(
    ("recipe", "verdict", "note"),
    [
        ("top_k=40 top_p=0.9 min_p=0.05 temperature=0.8", Verdict.EXACT, ""),
        ("temperature=0.8 top_k=40", Verdict.EXACT, ""),
        ("temperature=0.8", Verdict.APPROXIMATE, "3000"),
        ("top_p=0.9 top_k=40", Verdict.APPROXIMATE, "3000"),
        ("top_k=4000", Verdict.UNSUPPORTED, "3000"),
        ("repetition_penalty(1.1, window=320) top_k=40", Verdict.EXACT, ""),
        ("repetition_penalty(1.1, window=2960) top_k=40", Verdict.EXACT, ""),
        ("repetition_penalty(1.1, window=2961) top_k=40", Verdict.APPROXIMATE, "3000"),
        ("repetition_penalty(0.9, window=320) top_k=40", Verdict.APPROXIMATE, "3000"),
        ("logit_bias={1: 5} dry(0.8, breakers=[]) top_k=40", Verdict.EXACT, ""),
        ("logit_bias={1: 101} top_k=40", Verdict.UNSUPPORTED, "clamped"),
        ("dry(0.8) top_k=40", Verdict.APPROXIMATE, "punishes breakers"),
        ("top_k=40 dry(0.8, breakers=[])", Verdict.REORDERED, "dry before top_k"),
        ("top_k=40 tail_free=0.9", Verdict.APPROXIMATE, "one token fewer"),
        ("top_k=40 min_p=0.1 top_p=0.9", Verdict.REORDERED, "top_p before min_p"),
        ("top_k=40 xtc(0.5) temperature=0.8", Verdict.REORDERED, "temperature before xtc"),
        ("top_k=40 temperature=0.8 xtc(0.5)", Verdict.EXACT, ""),
        ("top_k=40 xtc(0.5) greedy", Verdict.UNSUPPORTED, "cannot do xtc and then"),
        ("top_k=40 temperature=0.8 smoothing=0.3", Verdict.EXACT, ""),
        ("top_k=40 dynamic_temperature(1.5, 0.5)", Verdict.EXACT, ""),
        ("repetition_penalty(0.9, window=9, slope=0.5) top_k=40", Verdict.UNSUPPORTED, "above 1 only"),
        ("top_k=40 top_p=0.9 adaptive_p=0.3", Verdict.APPROXIMATE, "starts empty"),
        ("top_k=40 adaptive_p=0.3", Verdict.APPROXIMATE, "min_p=0.002"),
        ("top_k=40 min_p=0.1 xtc(0.5) adaptive_p=0.3", Verdict.APPROXIMATE, "bring back"),
        ("temperature=0.8 mirostat_v2(3, observed=kept)", Verdict.APPROXIMATE, "request before"),
        ("top_k=3 mirostat_v2(3, observed=kept)", Verdict.UNSUPPORTED, "takes the place"),
        ("frequency_penalty(0.5, scope=all) top_k=40", Verdict.UNSUPPORTED, "no such stage"),
        ("repetition_penalty(1.1, window=100) greedy", Verdict.EXACT, ""),
        ("greedy", Verdict.EXACT, ""),
    ],
)
def test_verdicts(recipe: str, verdict: Verdict, note: str) -> None:
    found = export(ENGINE, Recipe(recipe))
    assert found.verdict == verdict
    assert any(note in stage.note for stage in found.stages)


@pytest.mark.parametrize(
    ("recipe", "order"),
    [
        ("top_k=40 top_p=0.9 temperature=0.8", [6, 0, 1, 3, 4, 2, 5]),
        ("top_k=40 temperature=0.8 top_p=0.9", [0, 5, 2, 6, 1, 3, 4]),
        ("top_k=40 typical_p=0.9 top_a=0.2", [0, 4, 1, 6, 3, 2, 5]),
        ("temperature=0.8 top_k=40", [6, 0, 1, 3, 4, 2, 5]),
    ],
)
def test_the_usual_order_unless_another_is_needed(recipe: str, order: list[int]) -> None:
    found = Recipe(recipe).to("koboldcpp")
    assert found.parameters["sampler_order"] == order
    assert ENGINE.read(found.parameters).recipe.distribution(ROW).probs == pytest.approx(Recipe(recipe).distribution(ROW).probs)
