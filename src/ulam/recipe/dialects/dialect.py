"""A dialect: what one engine calls things, in which order it does them, and what it does when nobody asked.

A dialect is a list of slots in the engine's order. Each slot knows one stage of ours: how it reads it from the engine's parameters, how it
writes it, and which parameters switch it off. From that come `read`, the recipe that says what the engine would do, and `export`, the
parameters and a verdict.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, cast

from ...core.errors import OutOfRange, UlamError, UnknownParameter, Unsupported, did_you_mean
from ...core.method import Stage
from ...methods.choosers.greedy import Greedy
from ..recipe import Recipe
from .verdicts import Fit


class Values:
    """The parameters of an engine by name: what was given, else the engine's default. Notes which of them were looked at.

    Raises `UnknownParameter` for a name that the engine does not have, and `Unsupported` for a value that no recipe can say.
    """

    def __init__(self, dialect: Dialect, given: Mapping[str, Any]):
        self.dialect, self.given, self.rest, self.notes, self.looked = dialect, dict[str, Any](), dict[str, Any](), list[str](), set[str]()
        self.used = set[str]()
        for key, value in given.items():
            name = dialect.aliases.get(key, key)
            if name in dialect.defaults:
                if name in self.given and self.given[name] != value:
                    raise UnknownParameter(f"{dialect.name}: {key} and another name of it are both given", fix=f"give {name} once")
                self.given[name] = value
            elif name in dialect.rest:
                self.rest[key] = value
            elif name in dialect.refused:
                neutral, why = dialect.refused[name]
                if value is not None and value not in neutral:
                    raise Unsupported(f"{dialect.name}: {key}={brief(value)} {why}", fix=f"leave out {key}")
            else:
                hint = did_you_mean(key, [*dialect.defaults, *dialect.aliases, *([] if dialect.open else dialect.rest)])
                if dialect.open and not hint:
                    self.rest[key] = value
                    continue
                raise UnknownParameter(
                    f"{dialect.name} has no parameter {key if str(key).isprintable() else repr(key)}.{hint}", fix=f"leave out {key}", parameter=key
                )

    def get(self, name: str) -> Any:
        """A parameter as it was given, or the default; None counts as not given."""
        self.looked.add(name)
        self.used.add(name)
        value = self.given.get(name)
        return self.dialect.defaults[name] if value is None else value

    def number(self, name: str) -> float:
        """A parameter that is a number. Raises `OutOfRange`."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
            fix = value if isinstance(value, str) and NUMBER.fullmatch(value) else self.dialect.defaults[name]
            raise OutOfRange(f"{self.dialect.name}: {name}={brief(value)} is not a number", parameter=name, fix=f"{name}={fix}")
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)

    def whole(self, name: str) -> int:
        value = self.number(name)
        if not math.isfinite(value) or value != int(value):
            raise OutOfRange(f"{self.dialect.name}: {name}={value:g} is not a whole number", parameter=name, fix=f"{name}={round(value)}")
        return int(value)

    def flag(self, name: str) -> bool:
        """A parameter that is a truth value, or 0 or 1. Raises `OutOfRange`."""
        value = self.get(name)
        if value not in (False, True):
            raise OutOfRange(f"{self.dialect.name}: {name}={brief(value)} is neither true nor false", parameter=name, fix=f"{name}=true")
        return bool(value)

    def items(self, name: str, kind: type) -> list[Any]:
        """A parameter that is a list of ids (`int`), texts (`str`) or lists, or None for an empty one. Raises `OutOfRange`."""
        value: Any = self.get(name)
        found = cast(list[Any], list(value)) if isinstance(value, (list, tuple, set, frozenset)) else []  # pyright: ignore[reportUnknownArgumentType]
        if (value is not None and not isinstance(value, (list, tuple, set, frozenset))) or any(
            not isinstance(item, kind) or isinstance(item, bool) for item in found
        ):
            what = {int: "token ids", str: "texts"}.get(kind, "lists of token ids")
            raise OutOfRange(f"{self.dialect.name}: {name}={brief(value)} is no list of {what}", parameter=name)
        return found

    def note(self, text: str) -> None:
        self.notes.append(text)

    def idle(self) -> list[str]:
        """What was given, is not the default, and was never looked at."""
        given = [(name, value) for name, value in self.given.items() if name not in self.used and value not in (None, self.dialect.defaults[name])]
        return [f"{name}={brief(value)}" for name, value in given]

    def hidden(self) -> bool:
        """Whether none of the parameters looked at was given."""
        return not any(self.given.get(name) is not None for name in self.looked)


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def brief(value: Any) -> str:
    """A value for a message of one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Slot:
    """One place in an engine's pipeline.

    method  the name of the stage that has its place here
    off     the engine's parameters at which nothing happens here
    read    the stage that the parameters say, or None
    write   the parameters for a stage
    tag     how the engine's own list of samplers names it, where there is one
    """

    method: str
    off: Mapping[str, Any]
    read: Callable[[Values], Stage | None]
    write: Callable[[Any], Fit]
    tag: str = ""


@dataclass(frozen=True)
class Layout:
    """An order of slots that the engine can be told, by these parameters.

    pack     gives all parameters their last form
    lacking  what is said of a stage that has no slot
    """

    slots: tuple[Slot, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pack: Callable[[dict[str, Any]], dict[str, Any]] = dict[str, Any]
    lacking: str = "there is no such stage"


@dataclass(frozen=True)
class Reading:
    """What an engine would do with some parameters.

    recipe  the stages in the engine's order, its defaults written out
    hidden  those of them that nobody asked for
    rest    parameters that are not about the law of the next token (lengths, stops, seeds)
    notes   what a recipe cannot say of it
    """

    engine: str
    recipe: Recipe
    hidden: tuple[Stage, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()

    @property
    def written(self) -> Recipe:
        """The recipe without what nobody asked for."""
        return Recipe([stage for stage in self.recipe.stages if not any(stage is each for each in self.hidden)])


class Dialect:
    """One engine. A subclass fills in the names; `slots` are in the engine's order.

    name        as people write it
    version     which version this page is about
    defaults    the value of every parameter that is not given
    aliases     other names of parameters
    rest        names of parameters that are not about the law of the next token
    open        whether it takes any other name too, and does nothing with it
    refused     parameters that no recipe can say: the values at which they do nothing, and why not
    from_model  parameters whose defaults may come from the model's own files: they are always written out
    draws       the parameters that ask for a draw, where that is not the default
    greedy      the parameters that ask for the most likely token; None if there are none
    skipped     methods whose slots are passed over when that is asked for
    ordered     False if the order is not published
    backends    dialects one of which it is, and nobody knows which: a stage gets the worst of their verdicts
    advice      how the parameters are given to the engine
    """

    name: ClassVar[str]
    version: ClassVar[str]
    slots: ClassVar[tuple[Slot, ...]]
    defaults: ClassVar[Mapping[str, Any]]
    aliases: ClassVar[Mapping[str, str]] = {}
    rest: ClassVar[frozenset[str]] = frozenset()
    open: ClassVar[bool] = False
    refused: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {}
    from_model: ClassVar[frozenset[str]] = frozenset()
    draws: ClassVar[Mapping[str, Any]] = {}
    greedy: ClassVar[Mapping[str, Any] | None] = None
    skipped: ClassVar[frozenset[str]] = frozenset()
    ordered: ClassVar[bool] = True
    backends: ClassVar[tuple[Dialect, ...]] = ()
    advice: ClassVar[str] = ""

    def is_greedy(self, values: Values) -> bool:
        """Whether these parameters ask for the most likely token."""
        return False

    def order(self, values: Values) -> tuple[Slot, ...]:
        """The slots in the order that these parameters ask for."""
        return self.slots

    def layouts(self, stages: Sequence[Stage]) -> Iterable[Layout]:
        """The orders that could be asked for, for a recipe with these stages; the best one is taken."""
        return (Layout(self.slots),)

    def review(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> Sequence[Fit]:
        """The fits again, after looking at the recipe as a whole: what an engine does differently only where stages meet."""
        return fits

    def read(self, parameters: Mapping[str, Any]) -> Reading:
        """The recipe that says what the engine does with these parameters. See `Values` for what is raised."""
        values = Values(self, parameters)
        found: list[Stage] = []
        hidden: list[Stage] = []

        def add(stage: Stage | None) -> None:
            if stage is not None and (stage.kind == "chooser" or not stage.neutral(1).all()):
                found.append(stage)
                if values.hidden():
                    hidden.append(stage)

        with self.reading(values):
            greedy = self.is_greedy(values)
        asked = values.hidden()
        with self.reading(values):
            slots = self.order(values)
        for slot in slots:
            if greedy and slot.method in self.skipped:
                continue
            with self.reading(values):
                stage = slot.read(values)
            add(stage)
        if greedy:
            found.append(Greedy())
            if asked:
                hidden.append(found[-1])
        if idle := values.idle():
            values.note(f"without effect here: {', '.join(idle)}")
        return Reading(self.name, Recipe(found), tuple(hidden), values.rest, tuple(dict.fromkeys(values.notes)))

    @contextmanager
    def reading(self, values: Values) -> Generator[None, None, None]:
        """Errors name the engine, and a value of the wrong form is `OutOfRange`."""
        values.looked.clear()
        try:
            yield
        except UlamError as error:
            if not error.what.startswith(self.name):
                error.what = f"{self.name}: {error.what}"
            raise
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            told = ", ".join(f"{name}={brief(values.given[name])}" for name in self.defaults if name in values.looked and name in values.given)
            raise OutOfRange(f"{self.name}: {told} cannot be read: {error}", fix="the form that the engine takes") from error
