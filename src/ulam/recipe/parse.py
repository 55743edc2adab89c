"""Recipe text to stages and back.

    temperature=0.8 top_p=0.95
    repetition_penalty(1.1, window=256, scope=generated) temperature=1.2 min_p=0.05 gumbel_max

Stages stand left to right, separated by spaces: `name`, `name=value` for the first parameter, or `name(...)`.
"""

from __future__ import annotations

from typing import Any

from ..core.errors import RecipeError, UnknownParameter, did_you_mean
from ..core.method import Stage
from ..core.parameter import parameters
from ..core.values import WORD, Reader, print_value
from ..methods import find


def parse(text: str) -> tuple[Stage, ...]:
    """The stages of a recipe text, in order. Raises the errors of a recipe, each naming the stage and the fix."""
    reader = Reader(text)
    stages: list[Stage] = []
    reader.blanks()
    try:
        while reader.at < len(text):
            stages.append(stage(reader, len(stages) + 1))
            if not reader.blanks() and reader.at < len(text):
                raise reader.fail("a space between stages")
    except RecursionError:
        raise RecipeError("the recipe holds brackets inside brackets without end") from None
    return tuple(stages)


def stage(reader: Reader, number: int) -> Stage:
    name = reader.take(WORD)
    if name is None:
        raise reader.fail("the name of a stage")
    place = f" (stage {number})"
    method = find(name, place)
    given: list[Any] = []
    named: dict[str, Any] = {}
    if reader.text.startswith("=", reader.at):
        reader.at += 1
        given.append(reader.value())
    elif reader.text.startswith("(", reader.at):
        reader.at += 1
        try:
            given, named = reader.arguments(name)
        except UnknownParameter as error:
            error.what += place
            raise
    return build(method.stage, given, named, place)


def build(kind: type[Stage], given: list[Any], named: dict[str, Any], place: str = "") -> Stage:
    """A stage from positional and named values, with errors for what the method does not take."""
    known = [p.name for p in parameters(kind)]
    if len(given) > len(known):
        takes = f"takes {', '.join(known)}" if known else "has no parameters"
        raise UnknownParameter(f"{kind.name} {takes}; it was given {len(given)} {'value' if len(given) == 1 else 'values'}{place}", stage=kind.name)
    for key in named:
        if key not in known:
            hint = did_you_mean(key, known) or (f" It takes {', '.join(known)}." if known else " It has no parameters.")
            raise UnknownParameter(f"{kind.name} has no parameter {print_value(key)}{place}.{hint}", stage=kind.name, parameter=key)
    values = dict(zip(known, given, strict=False))
    for key, value in named.items():
        if key in values:
            raise UnknownParameter(f"{kind.name}: {key} is given twice{place}", stage=kind.name, parameter=key)
        values[key] = value
    for p in parameters(kind):
        if p.required and p.name not in values:
            hint = f"{kind.name}=..." if p.name == known[0] else f"{kind.name}(..., {p.name}=...)"
            raise UnknownParameter(f"{kind.name} needs a value for {p.name} ({p.describe()}){place}", stage=kind.name, parameter=p.name, fix=hint)
    return kind(**values)


def show(stages: tuple[Stage, ...]) -> str:
    """The text that parses back to `stages`; the empty recipe is `categorical`."""
    return " ".join(map(str, stages)) or "categorical"


def check_order(stages: tuple[Stage, ...]) -> None:
    """At most one chooser, and it stands last. Raises `RecipeError`."""
    choosers = [each for each in stages if each.kind == "chooser"]
    if len(choosers) > 1:
        names = " and ".join(each.name for each in choosers)
        raise RecipeError(f"a recipe has one chooser; here are {names}", fix=show((*(s for s in stages if s.kind != "chooser"), choosers[-1])))
    if choosers and stages[-1] is not choosers[0]:
        rest = tuple(s for s in stages if s.kind != "chooser")
        raise RecipeError(f"the chooser {choosers[0].name} draws the token, so it stands last", fix=show((*rest, choosers[0])))
