"""The slots that most engines share: one number of theirs is one number of ours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

from ...core.errors import OutOfRange
from ...core.method import Stage
from ...core.parameter import Interval, parameters
from ...methods import claims_of, find
from .dialect import Slot, Values, brief
from .verdicts import Fit, Verdict, unsupported


def number(
    method: str,
    parameter: str | None = None,
    *,
    off: Any,
    allowed: str | None = None,
    unit: float = 1,
    differs: str = "",
    tag: str = "",
    also_off: tuple[Any, ...] = (),
) -> Slot:
    """A slot whose parameter holds the first parameter of a stage.

    parameter  the engine's name for it (the method's, if left out)
    off        the value at which the engine leaves rows alone; `also_off`, other such values
    allowed    the values of the method that the engine takes as they are, as an interval; all of them if left out
    unit       what 1 in the engine is in the method
    differs    how the engine's function is another one, if it is: the stage is then approximate
    """
    stage_class = find(method).stage
    first = parameters(stage_class)[0]
    name, bounds = parameter or method, Interval.of(allowed) if allowed else None
    build: Any = stage_class

    def read(values: Values) -> Stage | None:
        value = values.whole(name) if first.kind is int else values.number(name)
        if value == off or value in also_off:
            return None
        taken(values, name, value, bounds)
        if differs:
            values.note(f"{name}: {differs}")
        return build(value * unit if unit != 1 else value)

    def write(stage: Stage) -> Fit:
        value = getattr(stage, first.name)
        if bounds is not None and value not in bounds:
            return unsupported(f"{name} must be in {allowed}")
        extra = [p.name for p, _ in stage.written() if p.name != first.name]
        if extra:
            return unsupported(f"it has no {' and no '.join(extra)}")
        return Fit({name: float(f"{value / unit:.15g}") if unit != 1 else value}, Verdict.APPROXIMATE if differs else Verdict.EXACT, differs)

    return Slot(method, {name: off}, read, write, tag)


def penalty(
    method: str,
    parameter: str,
    *,
    off: float,
    allowed: str | None = None,
    scope: str,
    window: str | None = None,
    every: int | None = None,
    beyond: int = 0,
    fade: str | None = None,
    tag: str = "",
    also_off: tuple[float, ...] = (),
) -> Slot:
    """A slot of a repetition, presence or frequency penalty.

    scope   which tokens the engine counts
    window  the engine's parameter for how many of them, if it has one; `every` is its value for all of them, and of others the last
            `beyond` do not count
    fade    the engine's parameter for over how many older tokens the penalty dies away, if it has one
    """
    build: Any = find(method).stage
    first = parameters(build)[0]
    bounds = Interval.of(allowed) if allowed else None

    def read(values: Values) -> Stage | None:
        value = values.number(parameter)
        if value == off or value in also_off:
            return None
        taken(values, parameter, value, bounds)
        told: dict[str, Any] = {"scope": scope}
        if window is not None:
            size = values.whole(window)
            told["window"] = "all" if size == every else max(size - beyond, 0)
            if fade is not None and size != every:
                told["fade"] = values.whole(fade)
        return build(value, **told)

    def write(stage: Stage) -> Fit:
        value, held = getattr(stage, first.name), vars(stage)
        if bounds is not None and value not in bounds:
            return unsupported(f"{parameter} must be in {allowed}")
        wanted = {"slope": 1, "on": "logits"} | ({"fade": 0} if fade is None else {})
        odd = [name for name, plain in wanted.items() if held.get(name, plain) != plain]
        if odd:
            return unsupported(f"it has no {' and no '.join(odd)}")
        found: dict[str, Any] = {parameter: value}
        if held["window"] != "all":
            if window is None:
                return unsupported("it has no window: it counts every token")
            found[window] = held["window"] + beyond
        elif window is not None:
            if every is None:
                return unsupported(f"{window} is a number of tokens, and cannot say all")
            found[window] = every
        if fade is not None:
            found[fade] = held["fade"]
        if held["scope"] != scope:
            return other_scope(found, held["scope"], scope)
        return Fit(found)

    return Slot(method, {parameter: off}, read, write, tag)


def taken(values: Values, name: str, value: float, bounds: Interval | None) -> None:
    """Raises `OutOfRange` for a value that the engine refuses."""
    if bounds is not None and value not in bounds:
        raise OutOfRange(f"{values.dialect.name} refuses {name}={value:g}", parameter=name, fix=f"{name} in {bounds.text}")


def other_scope(found: dict[str, Any], ours: str, theirs: str) -> Fit:
    """A penalty that counts other tokens there than in the recipe."""
    told = {"prompt": "the prompt", "generated": "what was generated", "all": "the prompt too"}
    where = {"all": "prompt and continuation", "generated": "the continuation only", "prompt": "the prompt only"}
    del found
    return unsupported(f"it counts {where[theirs]}, and the recipe {told[ours] if ours != 'all' else 'both'}")


def biases(parameter: str, *, limit: float = math.inf, clamped: bool = False) -> Slot:
    """A slot that adds a number to the logits of single tokens, by id; keys may be strings, as in JSON."""
    from ...methods.transforms.logit_bias import LogitBias

    def read(values: Values) -> Stage | None:
        pairs = biases_by_id(values, parameter)
        if any(abs(value) > limit for value in pairs.values()) and not clamped:
            raise OutOfRange(f"{values.dialect.name} refuses a {parameter} outside [-{limit:g}, {limit:g}]", parameter=parameter)
        return LogitBias({key: min(max(value, -limit), limit) for key, value in pairs.items()}) if pairs else None

    def write(stage: Any) -> Fit:
        pairs = dict(stage.map)
        if words := [key for key in pairs if not isinstance(key, int)]:
            return unsupported(f"it wants token ids, and {words[0]!r} is none: bind the recipe to a vocabulary first")
        if any(abs(value) > limit for value in pairs.values()):
            return unsupported(f"{parameter} {'is clamped to' if clamped else 'must be in'} [-{limit:g}, {limit:g}]")
        return Fit({parameter: pairs})

    return Slot("logit_bias", {parameter: None}, read, write)


def biases_by_id(values: Values, parameter: str) -> dict[int, float]:
    """A map of token ids to numbers. Raises `OutOfRange`."""
    given: Any = values.get(parameter) or {}
    pairs = cast(Mapping[Any, Any], given if isinstance(given, Mapping) else {None: given})
    if not all(re.fullmatch(r"\d{1,18}", str(key)) and isinstance(value, (int, float)) and not isinstance(value, bool) for key, value in pairs.items()):
        raise OutOfRange(f"{values.dialect.name}: {parameter}={brief(given)} is no map of token ids to numbers", parameter=parameter)
    return {int(key): value for key, value in pairs.items()}


def token_ids(stage: Any, name: str = "tokens") -> list[Any] | None:
    """The ids in a list of tokens or sequences; None if some are still texts or words."""
    items = list(getattr(stage, name))
    good = all(isinstance(item, int) or (isinstance(item, tuple) and all(isinstance(i, int) for i in item)) for item in items)  # pyright: ignore[reportUnknownVariableType]
    return [list(item) if isinstance(item, tuple) else item for item in items] if good else None  # pyright: ignore[reportUnknownArgumentType]


def single_ids(stage: Any, name: str) -> list[int] | None:
    """The ids in a list of tokens or of sequences of one token; None if there are others."""
    found = token_ids(stage, name)
    single: list[Any] = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in found or []]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return single if found is not None and all(isinstance(item, int) for item in single) else None


def narrows(stage: Stage) -> bool:
    """Whether the stage may forbid tokens: a mask, a truncation, a toss that excludes some."""
    return stage.kind == "constraint" or stage.name == "xtc" or (stage.kind == "transform" and "ratios" in claims_of(stage))


NEEDS_IDS = "it wants token ids: bind the recipe to a vocabulary first"


def dry_fields(stage: Any, breakers: list[Any], window: str, every: int) -> dict[str, Any]:
    """The parameters of dry under their usual names. `window` is that of its length, and `every` its value for everything."""
    found = {"dry_multiplier": stage.multiplier, "dry_base": stage.base, "dry_allowed_length": stage.allowed_length}
    return {**found, window: every if stage.window == "all" else stage.window, "dry_sequence_breakers": breakers}


def dry_by_ids(stage: Any) -> Fit:
    """The parameters of dry where breakers are single tokens, and a range of 0 is everything."""
    breakers = single_ids(stage, "breakers")
    if breakers is None:
        return unsupported("its breakers are single tokens, by id: bind the recipe to a vocabulary first")
    if stage.scope != "all":
        return unsupported("it looks at prompt and continuation")
    return Fit(dry_fields(stage, breakers, "dry_range", 0))
