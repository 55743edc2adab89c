"""llama.cpp by hand: names, edges and refusals of its page, and numbers worked out from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ulam.core.errors import Inexact, OutOfRange, UlamError, UnknownParameter, Unsupported
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, export, find
from ulam.recipe.dialects.llama_cpp import EVERY, FLAGS, GGUF, USUAL

ENGINE = find("llama.cpp")
ROW = np.log([0.30, 0.20, 0.15, 0.10, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])


def read(**given: Any) -> str:
    return str(ENGINE.read({"samplers": USUAL, "temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, **given}).recipe)


def test_the_worked_row() -> None:
    """0.30, 0.20, 0.15 of the first five reach 0.75 of them; a fourth of 0.30 is below all three; then the powers 1 / 1.6."""
    recipe = ENGINE.read({"top_k": 5, "top_p": 0.75, "min_p": 0.25, "temperature": 1.6}).recipe
    assert np.round(recipe.distribution(ROW).probs, 6).tolist() == [0.412445, 0.320117, 0.267438] + [0] * 7


def test_what_nobody_asked_for() -> None:
    reading = ENGINE.read({"top_k": 10, "seed": 3})
    assert str(reading.recipe) == "top_k=10 top_p=0.95 min_p=0.05 temperature=0.8"
    assert [str(stage) for stage in reading.hidden] == ["top_p=0.95", "min_p=0.05", "temperature=0.8"]
    assert reading.rest == {"seed": 3}


@pytest.mark.parametrize(
    ("samplers", "order"),
    [
        (["temperature", "top_k"], "temperature=0.8 top_k=40"),
        ("top_p;top_k", "top_p=0.95 top_k=40"),
        ("kpm", "top_k=40 top_p=0.95 min_p=0.05"),
        ("mt", "min_p=0.05 temperature=0.8"),
        (["nucleus", "temp"], "top_p=0.95 temperature=0.8"),
        (["top-k", "min-p"], "top_k=40 min_p=0.05"),
        (["kt"], "top_k=40 temperature=0.8"),
        ([], "categorical"),
    ],
)
def test_the_list_of_samplers_is_the_order(samplers: Any, order: str) -> None:
    assert str(ENGINE.read({"samplers": samplers}).recipe) == order


def test_samplers_that_are_none() -> None:
    with pytest.raises(OutOfRange, match="has no sampler 'tfs_z'"):
        ENGINE.read({"samplers": ["tfs_z"]})
    with pytest.raises(Unsupported, match="infill"):
        ENGINE.read({"samplers": "top_k;infill"})


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        ({"repeat_penalty": 1.1, "presence_penalty": 0.5}, "repetition_penalty(1.1, window=64) presence_penalty(0.5, window=64, scope=all)"),
        ({"frequency_penalty": 0.5, "repeat_last_n": EVERY}, "frequency_penalty(0.5, scope=all)"),
        ({"repeat_penalty": 1.1, "repeat_last_n": 0}, "categorical"),
        ({"dry_multiplier": 0.8}, "dry(0.8, window=64)"),
        ({"dry_multiplier": 0.8, "dry_penalty_last_n": 0}, "categorical"),
        ({"top_n_sigma": 1.5}, "top_n_sigma=1.5"),
        ({"top_n_sigma": 0}, "categorical"),
        ({"typ_p": 0.7}, "typical_p=0.7"),
        ({"top_k": -1}, "categorical"),
        ({"xtc_probability": 0.5}, "xtc=0.5"),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.6}, "categorical"),
        ({"temperature": 1, "dynatemp_range": 0.25, "dynatemp_exponent": 2}, "dynamic_temperature(0.75, 1.25, exponent=2)"),
        ({"temperature": 0.5, "dynatemp_range": 0.75}, "dynamic_temperature(0, 1.25)"),
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": -1}, "temperature=0"),
        ({"samplers": ["top_k", "adaptive_p", "min_p"], "top_k": 9, "min_p": 0.1, "adaptive_target": 0.4}, "top_k=9 min_p=0.1 adaptive_p=0.4"),
        ({"adaptive_target": 0.4}, "categorical"),
        ({"mirostat": 2, "top_k": 3, "temperature": 0.7}, "temperature=0.7 mirostat_v2(5, observed=kept)"),
        ({"mirostat": 1, "mirostat_tau": 4, "mirostat_eta": 0.2}, "mirostat(4, eta=0.2, observed=kept)"),
        ({"logit_bias": {"5": 1.5, "7": False}}, "logit_bias={5: 1.5} ban_tokens=[7]"),
        ({"logit_bias": [[5, 1.5], [7, False]]}, "logit_bias={5: 1.5} ban_tokens=[7]"),
        ({"logit_bias": [{"token": 5, "bias": -1}]}, "logit_bias={5: -1}"),
        ({"ignore_eos": True}, "ban_tokens=[end]"),
        ({"min_keep": 1, "grammar": ""}, "categorical"),
    ],
)
def test_parameters_become_stages(given: dict[str, Any], recipe: str) -> None:
    assert read(**given) == recipe


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"min_keep": 2}, Unsupported, "keeps tokens"),
        ({"grammar": 'root ::= "a"'}, Unsupported, "grammar"),
        ({"mirostat": 3}, OutOfRange, "none of 0, 1, 2"),
        ({"tfs_z": 0.9}, Unsupported, "was taken out of llama.cpp"),
        ({"temp": 0.5, "temperature": 0.6}, UnknownParameter, "another name"),
        ({"repeat_last_n": -1, "repeat_penalty": 1.1}, OutOfRange, "the context once"),
        ({"top_p": "high"}, OutOfRange, "not a number"),
    ],
)
def test_refusals(given: dict[str, Any], error: type[UlamError], what: str) -> None:
    with pytest.raises(error, match=what) as refused:
        ENGINE.read(given)
    assert refused.value.what.startswith("llama.cpp: ") or "llama.cpp has no" in refused.value.what


@pytest.mark.parametrize(
    ("recipe", "samplers"),
    [
        ("temperature=0.7 top_p=0.9 top_k=20", ["temperature", "top_p", "top_k"]),
        ("min_p=0.1 temperature=0.7 xtc(0.5) top_n_sigma=2", ["min_p", "temperature", "xtc", "top_n_sigma"]),
        ('presence_penalty(0.5, scope=all) dry(0.8, breakers=["\\n"])', ["penalties", "dry"]),
        ("typical_p=0.8 top_p=0.9 adaptive_p=0.3", ["typ_p", "top_p", "adaptive_p"]),
        ("dry(0.8) greedy", ["dry", "temperature"]),
        ("xtc(0.5) greedy", ["xtc", "temperature"]),
        ("top_k=3 temperature=0.5 greedy", ["temperature"]),
    ],
)
def test_any_order_can_be_asked_for(recipe: str, samplers: list[str]) -> None:
    found = Recipe(recipe).to("llama.cpp")
    assert found.parameters["samplers"] == samplers
    assert found.parameters["mirostat"] == 0


def test_the_parameters_of_an_export() -> None:
    found = Recipe("repetition_penalty(1.1, window=32) top_p=0.9 dynamic_temperature(0.5, 1.5) logit_bias={3: 1} ban_tokens=[4]").to("llama.cpp", strict=False)
    wanted = {"repeat_penalty": 1.1, "repeat_last_n": 32, "top_p": 0.9, "temperature": 1.0, "dynatemp_range": 0.5, "dynatemp_exponent": 1}
    wanted |= {"logit_bias": {3: 1.0, 4: False}, "top_k": 0, "min_p": 0.0}
    assert {name: found.parameters[name] for name in wanted} == wanted
    assert "top_k=0 is written because its default is 40" in found.notes


@pytest.mark.parametrize(
    ("recipe", "verdict", "note"),
    [
        ("repetition_penalty(1.1, window=64) presence_penalty(0.5, scope=all, window=32)", Verdict.UNSUPPORTED, "repeat_last_n"),
        ("repetition_penalty(1.1, window=64) presence_penalty(0.5, scope=all, window=64)", Verdict.EXACT, ""),
        ("frequency_penalty(0.5, window=64)", Verdict.APPROXIMATE, "tokens of the prompt"),
        ("repetition_penalty(1.1, scope=prompt)", Verdict.UNSUPPORTED, "counts prompt and continuation"),
        ("repetition_penalty(1.1, window=64, slope=0.5)", Verdict.UNSUPPORTED, "no slope"),
        ("presence_penalty(0.5, scope=all) repetition_penalty=1.2", Verdict.REORDERED, "repetition_penalty before presence_penalty"),
        ("top_k=5 logit_bias={3: 1}", Verdict.REORDERED, "logit_bias before top_k"),
        ("temperature=2 ban_tokens=[4]", Verdict.EXACT, ""),
        ("xtc(0.5, exempt=[3])", Verdict.UNSUPPORTED, "spares no tokens"),
        ('dry(0.8, breakers=["\\n", "###"])', Verdict.APPROXIMATE, "several letters"),
        ("dry(0.8, breakers=[5])", Verdict.UNSUPPORTED, "as texts"),
        ("dry(0.8, breakers=[])", Verdict.UNSUPPORTED, "--dry-sequence-breaker none"),
        ("dynamic_temperature(1.5, 0.5)", Verdict.UNSUPPORTED, "low cannot be above high"),
        ("temperature=0.7 dynamic_temperature(0.2, 1.2)", Verdict.UNSUPPORTED, "at once"),
        ("top_n_sigma=1 dynamic_temperature(0.5, 1.5)", Verdict.APPROXIMATE, "count as possible"),
        ("top_n_sigma=1 min_p=0.01 dynamic_temperature(0.5, 1.5)", Verdict.EXACT, ""),
        ("ban_tokens=[1] typical_p=0.5", Verdict.APPROXIMATE, "NaN"),
        ("top_p=0.9 mirostat_v2(3, observed=kept)", Verdict.UNSUPPORTED, "takes the place of every stage"),
        ("temperature=0.9 mirostat_v2(3, observed=kept)", Verdict.EXACT, ""),
        ("temperature=0.9 mirostat_v2=3", Verdict.APPROXIMATE, "after the cut"),
        ("mirostat(3, observed=kept)", Verdict.APPROXIMATE, "one token"),
        ("mirostat(3, m=50, observed=kept)", Verdict.UNSUPPORTED, "100 tokens"),
        ("temperature=0.7 dry(0.8) greedy", Verdict.UNSUPPORTED, "cannot do temperature and then"),
        ("tail_free=0.9", Verdict.UNSUPPORTED, "no such stage"),
        ("top_p=0", Verdict.EXACT, ""),
    ],
)
def test_verdicts(recipe: str, verdict: Verdict, note: str) -> None:
    found = export(ENGINE, Recipe(recipe))
    assert found.verdict == verdict
    assert any(note in stage.note for stage in found.stages)
    if not verdict.faithful:
        with pytest.raises(Inexact):
            Recipe(recipe).to("llama.cpp")


def test_the_tables_name_parameters() -> None:
    known = {*ENGINE.defaults, *ENGINE.rest, *ENGINE.refused}
    assert set(FLAGS.values()) | set(GGUF.values()) <= known
    assert all(flag.startswith("-") for flag in FLAGS)
    assert all(key.startswith("general.sampling.") for key in GGUF)
    assert {FLAGS["--temp"], FLAGS["--sampler-seq"], FLAGS["--mirostat-ent"], FLAGS["-l"]} == {"temperature", "samplers", "mirostat_tau", "logit_bias"}
