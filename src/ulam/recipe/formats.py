"""A recipe as JSON and TOML: the same list of stages, each with its method's name and its parameters.

    {"stages": [{"stage": "top_p", "p": 0.95}]}          [[stages]]
                                                         stage = "top_p"
                                                         p = 0.95

Parameters at their default are left out, so a recipe's id does not change when a method gains a parameter. A token map
is a list of pairs, since JSON has no integer keys; a bare word inside a value is `{"word": "end"}`; infinity is "inf".
"""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any, cast

from ..core.errors import RecipeError
from ..core.method import Stage
from ..core.parameter import parameters
from ..core.values import Word
from ..methods import find
from .parse import build


def to_data(stages: tuple[Stage, ...]) -> dict[str, Any]:
    """Stages as plain lists, maps, numbers and strings."""
    out: list[dict[str, Any]] = []
    for stage in stages:
        written = {p.name: plain(getattr(stage, p.name)) for p in parameters(stage) if p.required or getattr(stage, p.name) != p.default}
        out.append({"stage": stage.name, **written})
    return {"stages": out}


def from_data(data: Any, source: str) -> tuple[Stage, ...]:
    """Stages from plain data; `source` names the format in errors."""
    if not isinstance(data, dict) or set(cast(dict[str, Any], data)) != {"stages"}:
        raise RecipeError(f'a recipe in {source} is a map with the one key "stages"', fix='{"stages": [{"stage": "top_p", "p": 0.95}]}')
    stages = cast(dict[str, Any], data)["stages"]
    if not isinstance(stages, list):
        raise RecipeError(f'"stages" in the {source} recipe must be a list')
    return tuple(one(item, number, source) for number, item in enumerate(cast(list[Any], stages), 1))


def one(item: Any, number: int, source: str) -> Stage:
    if not isinstance(item, dict) or not isinstance(cast(dict[str, Any], item).get("stage"), str):
        raise RecipeError(f'stage {number} of the {source} recipe has no "stage" with the name of a method')
    fields = {key: lively(value) for key, value in cast(dict[str, Any], item).items() if key != "stage"}
    place = f" (stage {number})"
    return build(find(cast(dict[str, Any], item)["stage"], place).stage, [], fields, place)


def plain(value: Any) -> Any:
    if isinstance(value, Word):
        return {"word": value.name}
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return [plain(each) for each in cast(tuple[Any, ...], value)] if isinstance(value, tuple) else value


def lively(value: Any) -> Any:
    if isinstance(value, list):
        return [lively(each) for each in cast(list[Any], value)]
    if isinstance(value, dict):
        table = cast(dict[str, Any], value)
        return Word(str(table["word"])) if set(table) == {"word"} else table
    return math.inf if value == "inf" else -math.inf if value == "-inf" else value


def to_json(stages: tuple[Stage, ...]) -> str:
    """Canonical: keys in order, no spaces, ASCII. The recipe's id is a hash of it."""
    return json.dumps(to_data(stages), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> tuple[Stage, ...]:
    try:
        return from_data(json.loads(text), "JSON")
    except json.JSONDecodeError as fault:
        raise RecipeError(f"this is not JSON: {fault.msg} at line {fault.lineno}, column {fault.colno}") from None


def to_toml(stages: tuple[Stage, ...]) -> str:
    if not stages:
        return "stages = []\n"
    blocks = ("[[stages]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in item.items()) for item in to_data(stages)["stages"])
    return "\n".join(blocks)


def toml(value: Any) -> str:
    """A TOML value. JSON strings are TOML strings; only inline tables are written differently."""
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, cast(list[Any], value))) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in cast(dict[str, Any], value).items()) + " }"
    return json.dumps(value).replace("\x7f", "\\u007f")


def from_toml(text: str) -> tuple[Stage, ...]:
    try:
        return from_data(tomllib.loads(text), "TOML")
    except tomllib.TOMLDecodeError as fault:
        raise RecipeError(f"this is not TOML: {fault}") from None
