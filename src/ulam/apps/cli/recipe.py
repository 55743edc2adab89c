"""`ulam recipe`: its verbs; `show`: what a recipe does, and the recipe in another form."""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from ...core.errors import UsageError, did_you_mean
from ...core.method import Stage
from ...core.values import Word
from ...methods import find
from ...recipe import Recipe
from ...render.columns import columns
from ...render.terminal import width
from .recipes import read_recipe
from .verbs import VERBS


class Form(StrEnum):
    text = "text"
    toml = "toml"
    json = "json"
    python = "python"


def overview(
    words: Annotated[list[str] | None, typer.Argument(metavar="VERB")] = None,
) -> int:
    """ulam recipe: recipes, and the settings of other engines.

      ulam recipe show temperature=0.8 top_p=0.95         what each stage does; TOML, JSON, Python
      ulam recipe convert generation_config.json          settings of another engine, as a recipe
      ulam recipe convert top_p=0.95 --to vllm            a recipe, as settings of another engine
      ulam recipe diff "top_p=0.9" "min_p=0.05" -p "Mia"  two recipes on a model

    Usage: ulam recipe show|convert|diff ...      (each with its --help)
    """
    verbs = [verb.split()[1] for verb in VERBS if verb.startswith("recipe ")]
    what = f'ulam recipe has no verb "{words[0]}".{did_you_mean(words[0], verbs)}' if words else "ulam recipe needs a verb"
    raise UsageError(what, fix=f"ulam recipe {'|'.join(verbs)}; for a text that begins so: ulam sample recipe")


def show(
    words: Annotated[list[str] | None, typer.Argument(metavar="RECIPE")] = None,
    form: Annotated[Form | None, typer.Option("--as", metavar="FORM", help="text, toml, json or python: the recipe alone, in this form")] = None,
) -> int:
    """ulam recipe show: what a recipe does, stage by stage, and its short name.

      ulam recipe show temperature=0.8 top_p=0.95             what each stage does
      ulam recipe show temperature=0.8 top_p=0.95 --as toml   a file for ulam -r
      ulam recipe show best.toml --as python                  code that makes it

    Usage: ulam recipe show RECIPE [FLAGS]      (stages, or a .toml or .json file)
    """
    if not words:
        raise UsageError("there is no recipe to show", fix="ulam recipe show temperature=0.8 top_p=0.95")
    recipe = read_recipe(" ".join(words))
    written = {None: described, Form.text: str, Form.toml: Recipe.to_toml, Form.json: Recipe.to_json, Form.python: python}[form](recipe)
    print(written.rstrip("\n"))
    return 0


def described(recipe: Recipe) -> str:
    """The recipe, its id, and a line for every stage."""
    rows = [(str(stage), find(stage.name).summary + remark(recipe, stage)) for stage in recipe.written]
    return f"{recipe}   {recipe.id}\n" + columns(rows, width(sys.stdout))


def remark(recipe: Recipe, stage: Any) -> str:
    if stage not in recipe.stages:
        return " (the chooser of a recipe that names none)"
    return " (neutral here: it does nothing)" if stage.neutral(1).all() else ""


def python(recipe: Recipe) -> str:
    """Code that makes the recipe."""
    imports = sorted({f"from {type(stage).__module__} import {type(stage).__name__}" for stage in recipe.stages})
    values = [value for stage in recipe.stages for _, value in arguments(stage)]
    calls = [f"{type(stage).__name__}({', '.join(f'{name}={literal(value)}' for name, value in arguments(stage))})" for stage in recipe.stages]
    if any(isinstance(token, Word) for value in values if isinstance(value, dict) for token in value):
        imports.insert(0, "from ulam.core.values import Word")
    return "\n".join(["from ulam import Recipe", *imports, "", f"recipe = Recipe([{', '.join(calls)}])"])


def arguments(stage: Stage) -> list[tuple[str, Any]]:
    """The parameters that are not at their default; a token map as a map."""
    return [(p.name, dict(value) if p.kind is dict else value) for p, value in stage.written()]


def literal(value: Any) -> str:
    return f"float({str(value)!r})" if isinstance(value, float) and math.isinf(value) else repr(value)
