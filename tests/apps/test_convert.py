"""`ulam recipe convert` and `ulam recipe diff`: what the settings mean, in whose words, and how far apart two of them are."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from ulam.models.prompts import bundled
from ulam.recipe import Recipe

from .conftest import Ulam


def test_a_recipe_in_the_words_of_an_engine(ulam: Ulam) -> None:
    result = ulam("recipe", "convert", "temperature=0.8", "top_p=0.95", "--to", "transformers")
    assert result.code == 0
    assert result.out == '{"do_sample": true, "temperature": 0.8, "top_k": 0, "top_p": 0.95}\n'
    assert result.stderr == "── transformers: exact. top_k=0 is written because its default is 50\n"


def test_what_is_not_exact_is_not_written_and_exits_6(ulam: Ulam) -> None:
    words = ("recipe", "convert", "top_p=0.9 temperature=1.3", "--to", "vllm")
    refused = ulam(*words)
    assert (refused.code, refused.out) == (6, "")
    assert refused.stderr.startswith("── vllm: reordered\n")
    assert "vllm takes temperature before top_p" in refused.stderr
    assert "--allow-inexact" in refused.stderr
    allowed = ulam(*words, "--allow-inexact")
    assert allowed.code == 0
    assert json.loads(allowed.out)["temperature"] == 1.3
    assert "reordered" in allowed.stderr


def test_the_difference_is_measured_on_rows_of_the_model(ulam: Ulam) -> None:
    result = ulam("recipe", "convert", "top_p=0.9 temperature=1.3", "--to", "vllm", "--measure", "--json", "--allow-inexact")
    data = json.loads(result.out)
    assert data["schema"] == "ulam.convert/1"
    assert data["to"]["verdict"] == "reordered"
    assert [each["stage"] for each in data["to"]["stages"]] == ["top_p=0.9", "temperature=1.3"]
    measured = data["total_variation"]
    assert measured["prompts"] == len(bundled()) == 40
    assert 0.01 < measured["mean"] < measured["worst"] < 1
    exact = json.loads(ulam("recipe", "convert", "min_p=0.1 temperature=1.3", "--to", "vllm", "--measure", "--json").out)
    assert exact["to"]["verdict"] == "exact"
    assert exact["total_variation"]["worst"] < 1e-6


def test_settings_of_an_engine_as_a_recipe_with_its_hidden_defaults_apart(ulam: Ulam, tmp_path: Path) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text('{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [1, 2], "transformers_version": "5.0"}')
    result = ulam("recipe", "convert", str(path))
    assert (result.code, result.out) == (0, "temperature=0.6 top_k=50 top_p=0.9\n")
    assert "nobody wrote top_k=50" in result.stderr
    assert "not part of a recipe: eos_token_id=[1, 2]" in result.stderr
    only = ulam("recipe", "convert", str(path), "--only-written")
    assert only.out == "temperature=0.6 top_p=0.9\n"


def test_from_one_engine_to_another(ulam: Ulam) -> None:
    result = ulam("recipe", "convert", "SamplingParams(temperature=0.7, top_k=20, min_p=0.05, max_tokens=9)", "--to", "transformers")
    assert result.code == 0
    found = json.loads(result.out)
    assert Recipe.from_("transformers", found) == Recipe("temperature=0.7 top_k=20 min_p=0.05")
    assert "not part of a recipe: max_tokens=9" in result.stderr


def test_tokens_by_name_are_looked_up_in_the_model(ulam: Ulam) -> None:
    result = ulam("recipe", "convert", 'logit_bias({"b": 2})', "--to", "vllm", "-m", "abc")
    assert json.loads(result.out)["logit_bias"] == {"1": 2.0}
    assert "token ids are those of abc" in result.stderr
    assert ulam("recipe", "convert", 'logit_bias({"b": 2})', "-m", "no-such-model").out == 'logit_bias={"b": 2}\n'


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "there are no settings to convert"),
        (("temperature=0.8", "--to", "vlm"), 'unknown engine "vlm". Did you mean vllm?'),
        (("SamplingParams(topp=0.9)",), "vllm has no parameter topp. Did you mean top_p or"),
        (("SamplingParams(temperature='hot')",), "vllm: temperature='hot' is not a number"),
        (("GenerationConfig(num_beams=4)",), "transformers: num_beams=4 is beam search"),
        (("temperature=0.8", "--measure"), "--measure compares"),
        (('{"top_k": 3}',), "cannot be seen"),
    ],
)
def test_errors_name_the_fix(ulam: Ulam, words: tuple[str, ...], told: str) -> None:
    result = ulam("recipe", "convert", *words)
    assert result.code == 2
    assert told in result.stderr
    assert "fix:" in result.stderr or "Did you mean" in result.stderr


def test_recipe_alone_says_which_verbs_it_has(ulam: Ulam) -> None:
    assert "show|convert|diff" in ulam("recipe").stderr
    assert "Did you mean convert?" in ulam("recipe", "convrt").stderr
    assert "ulam recipe convert generation_config.json" in ulam("recipe", "--help").out


def test_two_orders_side_by_side(ulam: Ulam) -> None:
    result = ulam("recipe", "diff", "-m", "abc", "temperature=2 top_p=0.7", "top_p=0.7 temperature=2", "-p", "a")
    assert result.code == 0
    head, a, b, distance, parting = result.out.splitlines()
    heat = [x / sum((0.5**0.5, 0.5, 0.5)) for x in (0.5**0.5, 0.5)]  # square roots of 1/2, 1/4, 1/4
    assert head.split()[:5] == ["kept", "entropy", "a", "b", "drawn"]  # c is possible in neither
    assert a.split()[1] == "2"
    kept = [x / sum(heat) for x in heat]
    assert [float(x) for x in a.split()[4:6]] == pytest.approx(kept, abs=5e-4)
    other = [x / (0.5**0.5 + 0.5) for x in (0.5**0.5, 0.5)]  # before tempering 1/2 and 1/4 are kept too
    assert [float(x) for x in b.split()[4:6]] == pytest.approx(other, abs=5e-4)
    assert "total variation 0.000" in distance
    assert "same for all of 64 tokens" in parting


def test_where_two_texts_with_the_same_dice_part(ulam: Ulam) -> None:
    found = json.loads(ulam("recipe", "diff", "-m", "abc", "", "greedy", "-p", "a", "--json", "--seed", "1").out)
    assert found["total_variation"] == pytest.approx(0.5)
    assert (found["a"]["kept"], found["b"]["kept"]) == (3, 1)
    drawn = ulam("sample", "-p", "a", "-m", "abc", "--seed", "1", "--max-tokens", "64", "-q").out.strip()
    assert found["first_difference"] == re.search("[bc]", drawn).start()  # type: ignore[union-attr]
    assert math.isclose(found["a"]["recipe_entropy_bits"], 1.5)


def test_what_an_engine_makes_of_a_recipe(ulam: Ulam) -> None:
    result = ulam("recipe", "diff", "top_p=0.9 temperature=1.3", "--engine", "vllm", "-p", "The cat")
    assert result.code == 0
    assert "the same stages in another order: B takes temperature before top_p" in result.out
    assert "B what vllm makes of A (reordered): temperature=1.3 top_p=0.9" in result.stderr


def test_diff_wants_two(ulam: Ulam) -> None:
    assert "takes two recipes" in ulam("recipe", "diff", "top_p=0.9").stderr
    assert "takes one recipe" in ulam("recipe", "diff", "a", "b", "--engine", "vllm").stderr


def test_recipes_that_differ_in_the_chooser_alone(ulam: Ulam) -> None:
    result = ulam("recipe", "diff", "-m", "abc", "top_p=0.7", "top_p=0.7 gumbel_max", "-p", "a", "--max-tokens", "0")
    assert "total variation 0.000 · only the last stage differs, categorical and gumbel_max" in result.out
    assert "same dice" not in result.out


@pytest.mark.parametrize(
    "settings", ['{"messages": [], "max_tokens": 1e999}', "SamplingParams(stop={1}, seed=b'x')", "SamplingParams(extra_args={(1, 2): 3j})"]
)
def test_what_json_cannot_hold_is_told_as_text(ulam: Ulam, settings: str) -> None:
    result = ulam("recipe", "convert", settings, "--json")
    assert result.code == 0
    assert all(isinstance(value, (str, list)) for value in json.loads(result.out)["from"]["rest"].values())
    assert "not part of a recipe" in result.stderr


def test_flags_that_are_about_other_things_are_listed(ulam: Ulam) -> None:
    result = ulam("recipe", "convert", "llama-cli -m x.gguf --temp 0.7 --jinja")
    assert 'not part of a recipe: -m="x.gguf", --jinja=true' in result.stderr
