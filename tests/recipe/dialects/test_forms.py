"""What is typed is used, listed or refused: values of another form, values that an engine refuses, and what has no effect."""

from __future__ import annotations

from typing import Any

import pytest

from ulam.core.errors import OutOfRange, UlamError, UnknownParameter, Unsupported
from ulam.recipe import Recipe
from ulam.recipe.dialects import Verdict, export, find


@pytest.mark.parametrize(
    ("engine", "given", "told"),
    [
        ("vllm", {"bad_words": "abc"}, "is no list of texts"),
        ("vllm", {"allowed_token_ids": ["a"]}, "is no list of token ids"),
        ("vllm", {"logit_bias": {1.5: 2}}, "no map of token ids"),
        ("vllm", {"logit_bias": {"5": True}}, "no map of token ids"),
        ("openai", {"logit_bias": {"-5": 1}}, "no map of token ids"),
        ("transformers", {"suppress_tokens": "abc"}, "is no list of token ids"),
        ("transformers", {"bad_words_ids": [1, 2]}, "is no list of lists"),
        ("transformers", {"do_sample": "false"}, "neither true nor false"),
        ("mlx-lm", {"temp": 1, "xtc_probability": 0.5, "xtc_special_tokens": "ab"}, "is no list of token ids"),
        ("exllamav2", {"disallow_tokens": [True]}, "is no list of token ids"),
        ("koboldcpp", {"dry_multiplier": 1, "dry_sequence_breakers": "ab"}, "is no list of texts"),
        ("llama.cpp", {"dry_multiplier": 1, "dry_sequence_breakers": "ab"}, "is no list of texts"),
        ("llama.cpp", {"ignore_eos": "no"}, "neither true nor false"),
        ("text-generation-webui", {"temperature_last": "no"}, "neither true nor false"),
    ],
)
def test_values_of_another_form(engine: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(OutOfRange, match=told) as refused:
        find(engine).read(given)
    assert refused.value.what.startswith(engine)


@pytest.mark.parametrize(
    ("engine", "given"),
    [
        ("openai", {"temperature": 3}),
        ("openai", {"presence_penalty": -2.5}),
        ("openai", {"logit_bias": {"1": 101}}),
        ("sglang", {"top_k": 0}),
        ("sglang", {"top_p": 0}),
        ("sglang", {"repetition_penalty": 2.5}),
        ("transformers", {"do_sample": True, "temperature": 0}),
    ],
)
def test_values_that_the_engine_refuses(engine: str, given: dict[str, Any]) -> None:
    with pytest.raises(OutOfRange, match=f"{engine} refuses"):
        find(engine).read(given)


def test_a_long_value_is_told_in_short_and_a_number_in_quotes_has_a_fix() -> None:
    with pytest.raises(UlamError) as refused:
        find("openai").read({"top_p": 10**400})
    assert len(refused.value.what) < 200
    with pytest.raises(UlamError) as refused:
        find("openai").read({"temperature": "0.7"})
    assert refused.value.fix == "temperature=0.7"


@pytest.mark.parametrize(
    ("engine", "given", "idle"),
    [
        ("transformers", {"do_sample": False, "temperature": 0.9, "top_p": 0.6}, "temperature=0.9, top_p=0.6"),
        ("vllm", {"temperature": 0, "top_k": 5}, "top_k=5"),
        ("llama.cpp", {"mirostat": 2, "top_k": 5}, "top_k=5"),
        ("llama.cpp", {"adaptive_target": 0.5}, "adaptive_target=0.5"),
        ("mlx-lm", {"temp": 0, "top_p": 0.9}, "top_p=0.9"),
        ("koboldcpp", {"dry_base": 2}, "dry_base=2"),
        ("transformers", {"do_sample": False, "temperature": 1.0, "top_k": None}, None),
        ("llama.cpp", {"top_k": 5}, None),
    ],
)
def test_what_has_no_effect_is_said(engine: str, given: dict[str, Any], idle: str | None) -> None:
    notes = [note for note in find(engine).read(given).notes if note.startswith("without effect")]
    assert notes == ([] if idle is None else [f"without effect here: {idle}"])


def test_transformers_takes_names_it_does_not_know_but_no_misspelt_ones() -> None:
    reading = find("transformers").read({"do_sample": True, "user_token_id": 195, "max_window_size": 24000, "early_stopping": False, "min_length": 0})
    assert dict(reading.rest) == {"user_token_id": 195, "max_window_size": 24000, "early_stopping": False}
    with pytest.raises(UnknownParameter, match="top_k"):
        find("transformers").read({"top_kk": 3})
    for lost in ({"min_length": 50}, {"forced_decoder_ids": [[1, 2]]}, {"encoder_no_repeat_ngram_size": 3}):
        with pytest.raises(Unsupported):
            find("transformers").read(lost)


def test_biases_of_one_token_add_up() -> None:
    assert find("llama.cpp").read({"samplers": [], "logit_bias": [[7, 1.0], [7, 2.0], [5, False]]}).recipe == Recipe("logit_bias={7: 3} ban_tokens=[5]")


def test_a_name_that_holds_a_new_line_is_told_in_one() -> None:
    with pytest.raises(UnknownParameter) as refused:
        find("vllm").read({"a\nb": 1})
    assert "\n" not in refused.value.what


def test_ollama_is_called_ollama() -> None:
    with pytest.raises(UlamError) as refused:
        find("ollama").read({"top_kk": 3})
    assert refused.value.what.startswith("ollama has no parameter top_kk")


def test_koboldcpp_blames_a_stage_that_looks_at_the_row() -> None:
    found = export(find("koboldcpp"), Recipe("top_k=0 temperature=1.4"))
    assert [each.verdict for each in found.stages] == [Verdict.EXACT, Verdict.APPROXIMATE]


def test_exllamav2_does_nothing_behind_mirostat() -> None:
    for stage in ("xtc=0.5", "skew=0.4", "dynamic_temperature(0.5, 1.5)"):
        found = export(find("exllamav2"), Recipe(f"{stage} mirostat_v2(4, observed=kept)"))
        assert [each.verdict for each in found.stages] == [Verdict.UNSUPPORTED, Verdict.EXACT]
        assert str(find("exllamav2").read(found.parameters).recipe) == "mirostat_v2(4, observed=kept)"


def test_unknown_names_in_sampler_priority_are_told() -> None:
    assert find("text-generation-webui").read({"sampler_priority": "temperature\nfoo"}).notes == (
        "sampler_priority names foo, which these loaders do not have",
    )
