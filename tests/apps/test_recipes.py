"""A recipe is given in exactly one way, and what ran is shown."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from ulam import Recipe
from ulam.core.parameter import parameters
from ulam.methods import ALIASES, catalogue

from .conftest import Ulam


def document(ulam: Ulam, *words: str) -> dict[str, object]:
    result = ulam("ab", "-m", "abc", "--max-tokens", "2", "--json", *words)
    assert result.code == 0, result.stderr
    return json.loads(result.out)


@pytest.mark.parametrize(
    ("words", "recipe", "source"),
    [
        ([], "categorical", "default"),
        (["top_p=0.9", "temperature=2", "greedy"], "top_p=0.9 temperature=2 greedy", "words"),
        (["top_p=0.9 temperature=2"], "top_p=0.9 temperature=2", "words"),
        (["repetition_penalty(1.1, window=4)", "top_k=2"], "repetition_penalty(1.1, window=4) top_k=2", "words"),
        (["repetition_penalty(1.1,", "window=4)", "top_k=2"], "repetition_penalty(1.1, window=4) top_k=2", "words"),
        (["top_p=1"], "top_p=1", "words"),
        (["-r", "top_p=0.9 temperature=2"], "top_p=0.9 temperature=2", "recipe"),
        (["--top-p", "0.9", "--temperature", "2"], "temperature=2 top_p=0.9", "flags"),
        (["--gumbel-max", "--min-p", "0.1", "--top-k", "2", "--repetition-penalty", "1.2"], "repetition_penalty=1.2 top_k=2 min_p=0.1 gumbel_max", "flags"),
        (["--greedy"], "greedy", "flags"),
        (["--top_p=0.9", "--top_k", "2"], "top_k=2 top_p=0.9", "flags"),
        (["--temp", "2", "--repeat-penalty", "1.2", "--typical", "0.9"], "repetition_penalty=1.2 temperature=2 typical_p=0.9", "flags"),
        (["--frequency-penalty", "-0.5"], "frequency_penalty=-0.5", "flags"),
        (["--temp", "1e-3"], "temperature=0.001", "flags"),
    ],
)
def test_the_recipe_that_ran_is_the_one_that_was_given(ulam: Ulam, words: list[str], recipe: str, source: str) -> None:
    data = document(ulam, *words)
    assert data["recipe"] == recipe
    assert data["recipe_from"] == source
    assert data["recipe_id"] == Recipe(recipe).id
    receipt = ulam("ab", "-m", "abc", "--max-tokens", "2", *words).receipt
    assert f"{recipe} ({Recipe(recipe).id})" in receipt or source == "default"


def test_flags_may_stand_anywhere(ulam: Ulam) -> None:
    assert (
        ulam("--temp", "2", "-m", "abc", "ab", "--max-tokens", "3", "--seed", "1").stdout
        == ulam("ab", "temperature=2", "--max-tokens", "3", "--seed", "1", "-m", "abc").stdout
    )


def test_a_neutral_flag_is_named_and_left_out(ulam: Ulam) -> None:
    data = document(ulam, "--top-p", "1", "--temp", "1", "--min-p", "0.1")
    assert data["recipe"] == "min_p=0.1"
    assert data["warnings"] == ["temperature=1 is neutral and left out of the recipe", "top_p=1 is neutral and left out of the recipe"]
    assert "neutral, left out: temperature=1 top_p=1" in ulam("ab", "-m", "abc", "--top-p", "1", "--temp", "1", "--min-p", "0.1").receipt


def test_every_method_that_one_number_sets_has_a_flag(ulam: Ulam) -> None:
    """Each is tried with the value of a case of its own file."""
    tried = 0
    for name, method in catalogue().items():
        if any(p.kind not in (int, float) for p in parameters(method.stage)[:1]):
            continue
        for case in method.cases:
            stage = method.stage(**case.parameters)
            if "(" not in str(stage):
                value = str(stage).partition("=")[2]
                result = ulam("ab", "-m", "abc", "--max-tokens", "1", "--json", f"--{name.replace('_', '-')}", *([value] if value else []))
                assert result.code == 0, result.stderr
                assert json.loads(result.out)["recipe"] in (str(stage), "categorical")
                tried += 1
    assert tried >= len(catalogue())


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_a_name_from_another_tool_is_a_flag_and_not_a_stage(ulam: Ulam, alias: str) -> None:
    value = [] if ALIASES[alias] in ("greedy", "gumbel_max", "categorical") else ["1"]
    assert ulam("ab", "-m", "abc", f"--{alias}", *value, "--max-tokens", "1").code == 0
    refused = ulam("ab", alias, "-m", "abc")
    assert refused.code == 2
    assert f"Did you mean {ALIASES[alias]}?" in refused.stderr


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_recipe_from_a_file(ulam: Ulam, tmp_path: Path, suffix: str) -> None:
    recipe = Recipe("top_p=0.9 temperature=2 greedy")
    path = tmp_path / f"best.{suffix}"
    path.write_text(recipe.to_toml() if suffix == "toml" else recipe.to_json())
    data = document(ulam, "--recipe", str(path))
    assert data["recipe"] == str(recipe)
    assert data["recipe_from"] == "recipe"


def test_a_missing_recipe_file(ulam: Ulam) -> None:
    result = ulam("ab", "-m", "abc", "-r", "no/best.toml")
    assert result.code == 2
    assert result.stderr == "error: cannot read no/best.toml: no such file or directory\n"


@pytest.mark.parametrize(
    ("words", "merged"),
    [
        (["top_p=0.9", "--temp", "0.8"], "temperature=0.8 top_p=0.9"),
        (["temperature=0.8", "--top-p", "0.9"], "temperature=0.8 top_p=0.9"),
        (["min_p=0.1", "temperature=2", "--top-p", "0.9"], "min_p=0.1 temperature=2 top_p=0.9"),
        (["temperature=0.8", "greedy", "--top-p", "0.9"], "temperature=0.8 top_p=0.9 greedy"),
        (["greedy", "--gumbel-max"], "gumbel_max"),
        (["temperature=0.8", "--temp", "0.5"], "temperature=0.5"),
        (["temperature=0.8", "-r", "top_k=2"], "temperature=0.8 top_k=2"),
        (["-r", "top_k=2", "--temp", "0.5"], "temperature=0.5 top_k=2"),
        (["top_k=2", "-r", "temperature=0.5", "--min-p", "0.1"], "temperature=0.5 top_k=2 min_p=0.1"),
    ],
)
def test_two_ways_at_once_are_refused_with_the_merged_recipe(ulam: Ulam, words: list[str], merged: str) -> None:
    result = ulam("ab", "-m", "abc", *words, "--seed", "3", "--stop", "a b")
    assert result.code == 2
    assert result.stdout == b""
    what, fix = result.stderr.splitlines()
    assert what.startswith("error: the recipe is given twice: ")
    assert fix == f'  fix: ulam "ab" {merged} --model abc --stop "a b" --seed 3'


def test_the_merged_command_runs(ulam: Ulam) -> None:
    fix = ulam("ab", "min_p=0.1", "--repetition-penalty", "1.2", "-m", "abc").stderr.partition("fix: ulam ")[2]
    assert ulam(*shlex.split(fix)).code == 0


def test_a_flag_given_twice(ulam: Ulam) -> None:
    result = ulam("ab", "-m", "abc", "--top-k", "2", "--topk", "3")
    assert result.code == 2
    assert "--top-k is given twice: 2 and 3" in result.stderr


@pytest.mark.parametrize("value", ["", "x", "0.5 greedy", "{1: 2}", "nan", "1,2"])
def test_a_flag_that_is_no_number(ulam: Ulam, value: str) -> None:
    result = ulam("ab", "-m", "abc", "--top-p", value)
    assert result.code == 2
    assert "is not a number" in result.stderr


def test_a_flag_out_of_range(ulam: Ulam) -> None:
    result = ulam("ab", "-m", "abc", "--top-p", "95")
    assert result.code == 2
    assert "top_p=95 is outside [0, 1]" in result.stderr
    assert "top_p=0.95" in result.stderr


def test_no_variable_of_the_environment_changes_a_recipe(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ULAM_TEMPERATURE", "ULAM_RECIPE", "ULAM_SAMPLE_TEMPERATURE", "TEMPERATURE"):
        monkeypatch.setenv(name, "0")
    assert document(ulam)["recipe"] == "categorical"


def test_a_recipe_file_is_named_in_its_errors(ulam: Ulam, tmp_path: Path) -> None:
    bad, text = tmp_path / "bad.toml", tmp_path / "recipe.txt"
    bad.write_text('[[stages]]\nstage = "top_p"\nq = 0.9\n')
    text.write_text("top_p=0.9")
    wrong = ulam("ab", "-m", "abc", "-r", str(bad))
    assert wrong.code == 2
    assert wrong.stderr.startswith(f'error: {bad}: top_p has no parameter "q"')
    other = ulam("ab", "-m", "abc", "-r", str(text))
    assert other.code == 2
    assert "a recipe file is .toml or .json" in other.stderr


def test_a_model_that_nobody_typed_is_told_where_it_came_from(ulam: Ulam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULAM_MODEL", "stroies")
    assert "(from ULAM_MODEL)" in ulam("ab").stderr
    assert "(from ULAM_MODEL)" not in ulam("ab", "-m", "stroies").stderr
