"""`ulam methods` and `ulam recipe show`: they read the method files, and nothing else."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest

from ulam import Recipe
from ulam.apps.cli.recipe import literal
from ulam.methods import catalogue

from .conftest import Ulam


def test_the_table_has_every_method_once_under_its_kind(ulam: Ulam) -> None:
    transforms, constraints, choosers, *_ = re.split(r"\n\n(?=[CTS])", ulam("methods").out)
    blocks = {"transform": transforms, "constraint": constraints, "chooser": choosers}
    for name, method in catalogue().items():
        assert {kind: bool(re.search(rf"\n  {name}\b", block)) for kind, block in blocks.items()} == {kind: kind == method.kind for kind in blocks}
    assert "min_p=a" in transforms
    assert "; a in [0, 1], neutral 0" in " ".join(transforms.split())


def test_one_kind(ulam: Ulam) -> None:
    out = ulam("methods", "--kind", "chooser").out
    assert "greedy" in out
    assert "top_p" not in out
    assert "no_repeat_ngram=n" in ulam("methods", "--kind", "constraint").out
    refused = ulam("methods", "--kind", "choser")
    assert refused.code == 2
    assert "Did you mean chooser?" in refused.stderr


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_one_method(ulam: Ulam, name: str) -> None:
    """Its rule, promises, source and a command that runs, from the docstring of its file."""
    result = ulam("methods", name)
    assert result.code == 0
    assert result.out.startswith(f"{name}  {catalogue()[name].kind}: ")
    assert max(map(len, result.out.splitlines())) <= 100
    labels = {line.split()[0] for line in result.out.splitlines()[1:] if line.startswith("  ") and not line.startswith("   ")}
    assert labels >= {"rule", "claims", "source", "elsewhere", "try"}
    (tried,) = [line for line in result.out.splitlines() if line.startswith("  try ")]
    command = shlex.split(tried.partition("ulam ")[2])
    assert command[0] == "Once upon a time"
    assert not Recipe(command[1]).stages[0].neutral(1).any()


def test_min_p(ulam: Ulam) -> None:
    out = " ".join(ulam("methods", "min_p").out.split())
    assert "p_i >= a max p" in out
    assert "a [0, 1], neutral 0" in out
    assert "only shrinks the support" in out
    assert "arXiv 2407.01082" in out
    assert ulam("methods", "min-p").out == ulam("methods", "min_p").out


@pytest.mark.parametrize(("name", "near"), [("minp", "min_p"), ("nucleus", "top_p"), ("temprature", "temperature")])
def test_an_unknown_method(ulam: Ulam, name: str, near: str) -> None:
    result = ulam("methods", name)
    assert result.code == 2
    assert result.stderr == f'error: unknown method "{name}". Did you mean {near}?\n'


def test_methods_as_data(ulam: Ulam) -> None:
    data = json.loads(ulam("methods", "--json").out)
    assert data["schema"] == "ulam.methods/1"
    assert [each["name"] for each in data["methods"]] == [*catalogue()]
    (top_p,) = json.loads(ulam("methods", "top_p", "--json").out)["methods"]
    assert top_p["kind"] == "transform"
    assert "nucleus" in top_p["aliases"]
    (p,) = top_p["parameters"]
    assert p == {"name": "p", "kind": "float", "range": "[0, 1]", "words": [], "unit": "", "help": "mass that the kept tokens reach", "neutral": 1}
    assert {"math", "source", "elsewhere"} <= {*top_p["doc"]}


# --- recipe show


def test_a_recipe_stage_by_stage(ulam: Ulam) -> None:
    result = ulam("recipe", "show", "temperature=0.8", "top_p=1", "repetition_penalty(1.1, window=64)")
    recipe = Recipe("temperature=0.8 top_p=1 repetition_penalty(1.1, window=64)")
    first, *stages = result.out.splitlines()
    assert first == f"{recipe}   {recipe.id}"
    assert [line.split()[0] for line in stages if not line.startswith("   ")] == ["temperature=0.8", "top_p=1", "repetition_penalty(1.1,", "categorical"]
    assert "neutral here: it does nothing" in " ".join(result.out.split())
    assert result.stderr == ""


RECIPES = [
    "temperature=0.8 top_p=0.95",
    "greedy",
    "",
    'logit_bias({end: -5, 3: 1, " c": 2.5}) gumbel_max',
    "repetition_penalty(1.1, window=64, scope=generated) min_p=0.05",
]


@pytest.mark.parametrize("text", RECIPES)
@pytest.mark.parametrize("form", ["text", "toml", "json", "python"])
def test_every_form_is_the_same_recipe(ulam: Ulam, tmp_path: Path, text: str, form: str) -> None:
    recipe = Recipe(text)
    result = ulam("recipe", "show", text or "categorical", "--as", form)
    assert result.code == 0
    if form == "python":
        made: dict[str, Recipe] = {}
        exec(result.out, made)  # the code that we print
        assert made["recipe"] == recipe
        return
    path = tmp_path / f"recipe.{form}"
    path.write_text(result.out)
    again = ulam("recipe", "show", result.out if form == "text" else str(path), "--as", "text")
    assert Recipe(again.out) == recipe


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1, 3, "all", {" c": -5.0}])
def test_values_are_code(value: object) -> None:
    assert eval(literal(value)) == value


def test_a_recipe_that_is_none(ulam: Ulam) -> None:
    assert ulam("recipe", "show").code == 2
    assert "Did you mean top_p?" in ulam("recipe", "show", "topp=0.9").stderr
    assert ulam("recipe", "show", "greedy", "--as", "yaml").code == 2
    assert ulam("recipe", "show", "no.toml").stderr == "error: cannot read no.toml: no such file or directory\n"


def test_recipe_is_a_verb_that_needs_another(ulam: Ulam) -> None:
    result = ulam("recipe", "temperature=0.8")
    assert result.code == 2
    assert "ulam recipe show" in result.stderr


def test_the_picture_shows_a_row_before_and_after(ulam: Ulam) -> None:
    """top_k of 2 on (.4, .25, .15, .1, .06, .04) leaves 8/13 and 5/13; twenty columns are probability 1."""
    page = ulam("methods", "top_k").out
    stage = page.partition("picture")[2].split()[0]
    assert stage == "top_k=2"
    rows = [line.split() for line in page.partition("picture")[2].splitlines()[2:]]
    assert rows[0] == ["a", "0.4", "████████", "0.615", "████████████▎"]
    assert rows[1] == ["b", "0.25", "█████", "0.385", "███████▋"]
    assert [row[-1] for row in rows[2:]] == ["–"] * 4


def test_a_method_that_changes_nothing_there_has_no_picture(ulam: Ulam) -> None:
    assert "picture" not in ulam("methods", "categorical").out
    assert "picture" in ulam("methods", "no_repeat_ngram").out  # c would make abc a second time


def test_combinators_and_schedules_are_listed(ulam: Ulam) -> None:
    out = ulam("methods").out
    listed = {line.split("(")[0].strip() for line in out.partition("Combinators")[2].splitlines() if line.startswith("  ")}
    assert {"guidance", "contrastive", "context_aware", "proxy", "ensemble", "dola", "linear", "cosine", "geometric", "steps", "entropy"} <= listed
    assert max(map(len, out.splitlines())) <= 100
    page = ulam("methods", "guidance").out
    assert page.startswith("guidance  combinator: ")
    assert "arXiv 2306.17806" in " ".join(page.split())
    assert "guidance" not in ulam("methods", "--kind", "chooser").out
    assert "top_p" not in ulam("methods", "--kind", "combinator").out
    document = json.loads(ulam("methods", "--json").out)
    assert [each["name"] for each in document["combinators"]] == ["context_aware", "contrastive", "dola", "ensemble", "guidance", "proxy"]
    assert json.loads(ulam("methods", "proxy", "--json").out)["methods"] == []
    assert "Did you mean guidance?" in ulam("methods", "guidence").stderr
