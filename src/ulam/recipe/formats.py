"""A recipe as JSON and TOML: the same list of stages, each with its method's name and its parameters.

    {"stages": [{"stage": "top_p", "p": 0.95}]}          [[stages]]
                                                         stage = "top_p"
                                                         p = 0.95

Parameters at their default are left out, so a recipe's id does not change when a method gains a parameter. A token map
is a list of pairs, since JSON has no integer keys; a bare word in it is `{"word": "end"}`; a schedule is
`{"call": "linear", "a": 1.2, "b": 0.7, "over": 100}`. A parameter that is infinite is "inf".
"""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any, cast

from ..core.errors import RecipeError
from ..core.method import Stage
from ..core.values import WORD, Call, Word, print_value
from ..methods import find
from .parse import build

INFINITE = {"inf": math.inf, "-inf": -math.inf}


def to_data(stages: tuple[Stage, ...]) -> dict[str, Any]:
    """Stages as plain lists, maps, numbers and strings."""
    out: list[dict[str, Any]] = []
    for stage in stages:
        out.append({"stage": stage.name, **{p.name: plain(value) for p, value in stage.written()}})
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
    fields: dict[str, Any] = dict(cast(dict[str, Any], item)) if isinstance(item, dict) else {}
    name = fields.pop("stage", None)
    if not isinstance(name, str) or not WORD.fullmatch(name):
        raise RecipeError(f'stage {number} of the {source} recipe has no "stage" with the name of a method')
    place = f" (stage {number})"
    method = find(name, place)
    return build(method.stage, [], {key: INFINITE[value] if value in ("inf", "-inf") else lively(value, place) for key, value in fields.items()}, place)


def plain(value: Any) -> Any:
    if isinstance(value, Word):
        return {"word": value.name}
    if isinstance(value, Call):
        return {"call": value.name, **{key: plain(each) for key, each in value.named}}
    if isinstance(value, float) and math.isinf(value):
        return print_value(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return [plain(each) for each in cast(tuple[Any, ...], value)] if isinstance(value, tuple) else value


def lively(value: Any, place: str) -> Any:
    """The inverse of `plain` inside a value."""
    if isinstance(value, list):
        return [lively(each, place) for each in cast(list[Any], value)]
    if isinstance(value, dict):
        table = cast(dict[str, Any], value)
        if isinstance(table.get("call"), str):
            return Call(table["call"], (), tuple((key, lively(each, place)) for key, each in table.items() if key != "call"))
        if set(table) != {"word"}:
            raise RecipeError(f"a token map is a list of pairs here, since keys of a table are all texts{place}", fix='[[50256, -5], [" cat", 2.5]]')
        return Word(str(table["word"]))
    return value


def to_json(stages: tuple[Stage, ...]) -> str:
    """Canonical: keys in order, no spaces, ASCII. The recipe's id is a hash of it."""
    return json.dumps(to_data(stages), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> tuple[Stage, ...]:
    try:
        data = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise RecipeError(f"this is not JSON: {fault}") from None
    return from_data(data, "JSON")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys differ."""
    out = dict(pairs)
    if len(out) < len(pairs):
        raise RecipeError(f"a key stands twice in the JSON recipe, among {', '.join(map(print_value, out))}")
    return out


def to_toml(stages: tuple[Stage, ...]) -> str:
    if not stages:
        return "stages = []\n"
    blocks = ("[[stages]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in item.items()) for item in to_data(stages)["stages"])
    return "\n".join(blocks)


def toml(value: Any) -> str:
    """A TOML value. A JSON string that escapes ASCII only is a TOML string; inline tables are written differently."""
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, cast(list[Any], value))) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in cast(dict[str, Any], value).items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def from_toml(text: str) -> tuple[Stage, ...]:
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as fault:
        raise RecipeError(f"this is not TOML: {fault}") from None
    return from_data(data, "TOML")
