"""Parameters of a stage: one declaration that the grammar, the flags, the docs and the checks all read.

    T: float = parameter(float, "[0, inf)", neutral=1, help="divides the logits")

A field of a stage is declared by `parameter(...)`; everything about it (kind, range, default, neutral value, unit,
one line of help) stands there and nowhere else. Values are checked when the stage is made.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeGuard, cast

import numpy as np

from .errors import OutOfRange, did_you_mean
from .schedule import Schedule, schedule_of
from .values import TOKEN_WORDS, Call, Word, is_unicode, print_value


@dataclass(frozen=True)
class Interval:
    """A range of numbers written as in mathematics: `[0, 1]`, `(0, inf)`, `[0, 2^64)`."""

    text: str
    low: float
    high: float
    low_in: bool
    high_in: bool

    @classmethod
    def of(cls, text: str) -> Interval:
        low, high = text[1:-1].split(",")
        return cls(text, end_of(low), end_of(high), text[0] == "[", text[-1] == "]")

    def __contains__(self, x: float) -> bool:
        above = x >= self.low if self.low_in else x > self.low
        return above and (x <= self.high if self.high_in else x < self.high)

    def nearest(self, x: float) -> float | None:
        """The end of the range nearest to `x`, if that end belongs to it."""
        if x <= self.low:
            return self.low if self.low_in else None
        return self.high if x >= self.high and self.high_in else None


def end_of(text: str) -> float:
    """One end of a range: a number, `inf`, or a power as `2^64`."""
    base, _, power = text.partition("^")
    return float(base) ** float(power or 1)


def as_float(value: float) -> float:
    """`value` as a float without a sign on zero; an integer too large for one becomes infinite."""
    try:
        return float(value) + 0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is a real number, of Python or NumPy. A bool is not."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def is_id(value: Any) -> TypeGuard[int]:
    """Whether this may be a token's id, of some vocabulary."""
    return is_number(value) and isinstance(value, Integral) and value >= 0


Item: TypeAlias = int | str | Word | tuple[int, ...]
"""What stands in a list of tokens or sequences: an id, a text, a word for a token, a sequence of ids."""

KINDS = (int, str, Word, tuple)
EXAMPLES = {"token": 'end, 13, "\\n"', "sequence": '"as an AI", [3, 17]', "text": '".", end'}
WANTED = {"token": "a token: an id, a text, or the word end", "sequence": "a text or a list of ids", "text": "a text, an id, or the word end"}


@dataclass(frozen=True)
class Parameter:
    """What a method says about one parameter.

    first    whether it is the one that `stage=value` sets
    kind     float, int, bool, str (one of `words`), list (of `items`), or dict (from one of `items` to a number)
    items    what a list holds, or a map has as keys: `token` (an id, a text that is one token, the word end), `sequence` (a text or a list
             of ids) or `text` (a text, or a token by id or word)
    range    of a number; `words` may be allowed beside it (`window=all`)
    default  value when left out; MISSING if it must be given
    neutral  value at which the stage is the identity, bit for bit; MISSING if there is none
    fixed    whether it is the same for all rows of a batch and at all positions: no array, no schedule
    """

    name: str
    first: bool
    kind: type
    items: str
    range: Interval | None
    words: tuple[str, ...]
    default: Any
    neutral: Any
    unit: str
    help: str
    fixed: bool

    @property
    def scalar(self) -> bool:
        """Whether it may not differ between the rows of a batch."""
        return self.fixed or self.kind not in (float, int)

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def describe(self) -> str:
        """Range, neutral value, default, for people."""
        parts = [self.range.text if self.range else "", " | ".join(self.words)]
        shapes = {bool: "true | false", dict: f"{{{self.items}: number, ...}}", list: f"[{self.items}, ...]"}
        text = " or ".join(part for part in parts if part) or shapes[self.kind]
        text += f" {self.unit}" if self.unit else ""
        text += "" if self.neutral is MISSING else f", neutral {print_value(self.neutral)}"
        return text + ("" if self.required else f", default {print_value(Word(self.default) if isinstance(self.default, str) else self.default)}")

    def check(self, value: Any, stage: str) -> Any:
        """`value` in its normal form. Raises `OutOfRange`, naming the stage, the range and the nearest right value."""
        if isinstance(value, np.ndarray):
            shape, value = list(cast(Any, value).shape), value.tolist()
            if not self.scalar and len(shape) != 1:
                what = f"{self.at(stage)} is an array of shape {shape}"
                raise OutOfRange(what, stage=stage, parameter=self.name, fix="a number, or an array [B] of one a row")
            if not self.scalar:
                return np.asarray([self.check(each, stage) for each in value])
        word = str(value.name) if isinstance(value, Word) else value
        if isinstance(word, str) and self.words:
            if word in self.words:
                return word
            hint = did_you_mean(word, self.words)
            raise OutOfRange(f"{self.at(stage)}={word} is not one of {', '.join(self.words)}.{hint}", stage=stage, parameter=self.name)
        if self.kind is bool:
            if not isinstance(value, bool):
                raise self.wrong(value, stage, "true or false")
            return value
        if self.kind is dict:
            return self.pairs(value, stage)
        if self.kind is list:
            return self.listed(value, stage)
        if isinstance(value, Call):
            return self.scheduled(value, stage)
        if self.kind is str or not is_number(value):
            raise self.wrong(value, stage, "one of " + ", ".join(self.words) if self.kind is str else "a number" + "".join(f" or {w}" for w in self.words))
        return self.number(value, stage)

    def number(self, value: float, stage: str) -> float | int:
        assert self.range is not None
        number: float | int = as_float(value)
        if self.kind is int and math.isfinite(number):
            if not number.is_integer():
                raise self.wrong(value, stage, "an integer")
            bound = 2**64 if self.fixed else 2**63  # arrays over rows hold 64 bits, one of them the sign
            number = int(value) if abs(int(value)) < bound else math.copysign(math.inf, number)
        if math.isnan(number) or number not in self.range:
            near = None if math.isnan(number) else self.range.nearest(number)
            hint = "" if near is None else f". Nearest allowed value: {print_value(self.kind(near) if math.isfinite(near) else near)}"
            if near is not None and near == self.neutral:
                hint += " (neutral: the stage does nothing)"
            elif self.neutral is not MISSING and number <= self.range.low:
                hint += f". To switch it off: {print_value(self.neutral)}"
            if self.range.text == "[0, 1]" and 1 < number <= 100:
                hint += f". For {print_value(number)} % write {self.at(stage)}={print_value(number / 100)}"
            # an integer of too many bits counts as infinite, which says nothing where the range has an end
            shown = print_value(number if math.isinf(self.range.high) else as_float(value))
            raise OutOfRange(f"{self.at(stage)}={shown} is outside {self.range.text}{hint}", stage=stage, parameter=self.name)
        return number

    def scheduled(self, value: Call, stage: str) -> Schedule:
        """A schedule whose values all lie in the range."""
        if self.scalar:
            raise OutOfRange(f"{self.at(stage)}={value} is not one value: this parameter is the same at every position", stage=stage, parameter=self.name)
        schedule = value if isinstance(value, Schedule) else schedule_of(value, stage, self.name)
        for end in schedule.ends():
            self.number(end, stage)
        return schedule

    def listed(self, value: Any, stage: str) -> tuple[Item, ...]:
        """A list in its normal form, in the order in which it was given."""
        if isinstance(value, (str, Word, dict)) or not isinstance(value, Iterable):
            raise self.wrong(value, stage, f"a list: [{EXAMPLES[self.items]}]")
        return tuple(self.item(each, stage) for each in cast(Iterable[Any], value))

    def item(self, value: Any, stage: str) -> Item:
        """One item of a list, or key of a map, in its normal form."""
        if isinstance(value, str) and not is_unicode(value):
            raise OutOfRange(f"{stage}: the text {print_value(value)} holds half of a surrogate pair", stage=stage, parameter=self.name)
        if isinstance(value, str):
            if value or self.items == "token":
                return value
            raise OutOfRange(f"{stage}: {self.name} holds an empty text, which is everywhere", stage=stage, parameter=self.name)
        if isinstance(value, Word) and self.items != "sequence":
            if value.name in TOKEN_WORDS:
                return value
            hint = did_you_mean(value.name, TOKEN_WORDS)
            what = f"{stage}: {value.name} is not a token: an id, a text in quotes, or {' or '.join(TOKEN_WORDS)}.{hint}"
            raise OutOfRange(what, stage=stage, parameter=self.name)
        if self.items == "sequence" and isinstance(value, (list, tuple)) and value and all(map(is_id, cast(list[Any], value))):
            return tuple(int(each) for each in cast(list[int], value))
        if is_id(value):
            return (int(value),) if self.items == "sequence" else int(value)
        raise self.wrong(value, stage, WANTED[self.items])

    def pairs(self, value: Any, stage: str) -> tuple[tuple[Item, float], ...]:
        """A map in its normal form: pairs in order, ids first, then texts, words and lists of ids."""
        pairs: Any = cast(dict[Any, Any], value).items() if isinstance(value, dict) else value
        if not isinstance(pairs, Iterable) or not all(isinstance(pair, (list, tuple)) and len(cast(Any, pair)) == 2 for pair in cast(Any, pairs)):
            raise self.wrong(value, stage, 'a map from tokens to numbers, {50256: -5, " cat": 2.5}')
        out: dict[Item, float] = {}
        for key, each in cast(Iterable[tuple[Any, Any]], pairs):
            token = self.item(key, stage)
            if not is_number(each):
                raise self.wrong(each, stage, f"a number for every {self.items}")
            number = as_float(each)
            if self.range is not None and (math.isnan(number) or number not in self.range):
                shown = print_value(token if not isinstance(token, tuple) else list(token))
                ban = "ban_words" if self.items == "sequence" else "ban_tokens"
                what = f"{stage}: {self.name}[{shown}]={print_value(number)} is not finite; -100 all but forbids a token"
                raise OutOfRange(what, stage=stage, parameter=self.name, fix=f"{ban}=[{shown}]" if number < 0 else None)
            if token in out:
                raise OutOfRange(f"{stage}: {self.items} {print_value(token)} stands twice in {self.name}", stage=stage, parameter=self.name)
            out[token] = number
        return tuple(sorted(out.items(), key=lambda pair: (KINDS.index(type(pair[0])), pair[0])))  # type: ignore[operator]

    def at(self, stage: str) -> str:
        """The parameter as it is typed: `top_p`, or `dry: base`."""
        return stage if self.first else f"{stage}: {self.name}"

    def wrong(self, value: Any, stage: str, wanted: str) -> OutOfRange:
        shown = print_value(value) if isinstance(value, (bool, int, float, str, Word)) else type(value).__name__
        return OutOfRange(f"{self.at(stage)}={shown} is not {wanted}", stage=stage, parameter=self.name)


def parameter(
    kind: type,
    range: str | None = None,
    *,
    help: str,
    words: Sequence[str] = (),
    items: str = "token",
    default: Any = MISSING,
    neutral: Any = MISSING,
    unit: str = "",
    fixed: bool = False,
) -> Any:
    """Declare a field of a stage. See `Parameter` for the arguments; `range` is written as in mathematics."""
    interval = Interval.of(range) if range else None
    described = {"kind": kind, "range": interval, "words": tuple(words), "items": items, "neutral": neutral, "unit": unit, "help": help, "fixed": fixed}
    return dataclasses.field(default=default, metadata={"parameter": described})


def parameters(stage: Any) -> tuple[Parameter, ...]:
    """The parameters of a stage or a stage class, in order."""
    return declared(stage if isinstance(stage, type) else type(stage))


@cache
def declared(stage: Any) -> tuple[Parameter, ...]:
    hidden = [f.name for f in dataclasses.fields(stage) if "parameter" not in f.metadata and f.compare]
    if hidden:  # a recipe's text, its id and the stacking of rows would not see it
        raise TypeError(f"{stage.__name__}: {', '.join(hidden)} must be declared with parameter(...)")
    fields = [f for f in dataclasses.fields(stage) if "parameter" in f.metadata]
    return tuple(Parameter(name=f.name, first=f is fields[0], default=f.default, **f.metadata["parameter"]) for f in fields)
