"""The one recipe of a command: from words, from `-r`, or from flags."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...adapters.load import is_server
from ...core.errors import RecipeError, UnknownMethod, UsageError, nearest
from ...core.method import Stage
from ...methods import ALIASES, catalogue
from ...models.about import About, about
from ...recipe import Recipe
from ...recipe.canonical import arrange, in_order
from ...recipe.dialects import Reading, find
from .flags import read_settings
from .reading import read_file
from .typed import Typed

Source = Literal["words", "recipe", "flags", "model", "default"]


@dataclass(frozen=True)
class Given:
    """A recipe, where it came from, what was typed but does nothing (flags only), and what is to be known of it."""

    recipe: Recipe
    source: Source
    idle: tuple[Stage, ...] = ()
    notes: tuple[str, ...] = ()


def choose_recipe(typed: Typed, option: str | None, flags: dict[str, Any]) -> Given:
    """The recipe, from the words, the value of `-r`, or the stage flags.

    Raises `RecipeError` and its kinds, and `UsageError` if there are two.
    """
    settings = read_settings(flags)
    ways: dict[Source, Recipe] = {}
    if typed.stages:
        ways["words"] = read_words(typed)
    shipped = proposed(typed) if option == "model" else None
    if option is not None:
        ways["recipe"] = shipped.recipe if shipped is not None else read_recipe(option)
    if settings:
        ways["flags"] = Recipe(arrange(settings))
    if len(ways) > 1:
        names = {"words": "as words", "recipe": "with -r", "flags": "as flags"}
        given = " and ".join(f"{names[way]} ({recipe})" for way, recipe in ways.items())
        raise UsageError(f"the recipe is given twice: {given}", fix=typed.with_recipe(str(merge(list(ways.values())))))
    for source, recipe in ways.items():
        if source == "flags":
            return Given(recipe.simplified(), source, tuple(stage for stage in recipe.stages if stage.neutral(1).all()))
        return shipped or Given(recipe, source)
    return Given(Recipe(), "default")


def proposed(typed: Typed) -> Given:
    """The settings that the makers of the model propose, as the engine whose settings they are would do them. Raises `UsageError` for none."""
    spec, backend = str(typed.context.params["model"]), str(typed.context.params.get("backend", "auto"))
    reading = None if is_server(spec) else proposal(about(spec, backend))
    if reading is None:
        raise UsageError(f"{spec} proposes no settings, so -r model is no recipe", fix="stages: temperature=0.8 top_p=0.95")
    hidden = [f"nobody wrote {', '.join(map(str, reading.hidden))}: {reading.engine} does so by default"] if reading.hidden else []
    return Given(reading.recipe, "model", (), (f"the recipe is what {reading.engine} does with the settings of {spec}", *hidden, *reading.notes))


def proposal(found: About) -> Reading | None:
    """The settings that a model's files propose, read as those of the engine whose names they have; None if there are none."""
    dialect = find(found.settings_of)
    known = {name: value for name, value in found.proposed.items() if name in dialect.defaults or name in dialect.aliases}
    return dialect.read(known) if known else None


def merge(recipes: list[Recipe]) -> Recipe:
    """One recipe with the stages of all: the last value of a stage, in canonical order if the first recipe is in it, else behind it."""
    stages = {stage.name: stage for recipe in recipes for stage in recipe.stages}
    for chooser in [name for name, stage in stages.items() if stage.kind == "chooser"][:-1]:
        del stages[chooser]
    if in_order(recipes[0].stages) == recipes[0].stages:
        return Recipe(in_order(stages.values()))
    return Recipe(sorted(stages.values(), key=lambda stage: stage.kind == "chooser"))


def read_recipe(text: str) -> Recipe:
    """A recipe from its text, or from a `.toml` or `.json` file."""
    suffix = Path(text).suffix
    if suffix not in (".toml", ".json"):
        if os.path.isfile(text):
            raise UsageError(f"{text} is a file, and a recipe file is .toml or .json", fix="ulam recipe show temperature=0.8 --as toml > recipe.toml")
        return Recipe(text)
    content = read_file(text)
    try:
        return Recipe.from_toml(content) if suffix == ".toml" else Recipe.from_json(content)
    except RecipeError as error:
        error.what = f"{text}: {error.what}"
        raise


def read_words(typed: Typed) -> Recipe:
    """A recipe from words. Words that look like a sentence get the advice to quote it."""
    text = " ".join(typed.stages)
    lost = sentence(typed.stages)
    if lost:
        word = text.split()[0]
        what = f'unknown stage "{word}" (stage 1). {typed.advice}'
        raise UnknownMethod(what, fix=typed.with_prompt(lost), stage=word)
    try:
        return Recipe(text)
    except UnknownMethod as error:
        name = error.stage or ""
        near = nearest(name, catalogue(), ALIASES)
        if len(near) == 1:
            error.fix = typed.with_recipe(re.sub(rf"(?<!\S){re.escape(name)}(?![\w-])", near[0], text, count=1))
        raise
    except RecipeError as error:
        if error.fix and type(error) is RecipeError:  # the recipe in another order
            error.fix = typed.with_recipe(error.fix)
        raise


def sentence(words: Sequence[str]) -> int:
    """How many of the first words plainly belong to the prompt: they name no stage and look like none."""
    count = 0
    while count < len(words) and not re.search("[=(]", words[count]) and words[count] not in catalogue():
        count += 1
    alone = count == 1 and nearest(words[0], catalogue(), ALIASES)
    return 0 if alone else count
