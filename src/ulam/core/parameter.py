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
from typing import Any, TypeGuard, cast

import numpy as np

from .errors import OutOfRange, did_you_mean
from .values import TOKEN_WORDS, Word, is_unicode, print_value


@dataclass(frozen=True)
class Interval:
    """A range of numbers written as in mathematics: `[0, 1]`, `(0, inf)`."""

    text: str
    low: float
    high: float
    low_in: bool
    high_in: bool

    @classmethod
    def of(cls, text: str) -> Interval:
        low, high = text[1:-1].split(",")
        return cls(text, float(low), float(high), text[0] == "[", text[-1] == "]")

    def __contains__(self, x: float) -> bool:
        above = x >= self.low if self.low_in else x > self.low
        return above and (x <= self.high if self.high_in else x < self.high)

    def nearest(self, x: float) -> float | None:
        """The end of the range nearest to `x`, if that end belongs to it."""
        if x <= self.low:
            return self.low if self.low_in else None
        return self.high if x >= self.high and self.high_in else None


def as_float(value: float) -> float:
    """`value` as a float without a sign on zero; an integer too large for one becomes infinite."""
    try:
        return float(value) + 0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is a real number, of Python or NumPy. A bool is not."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


@dataclass(frozen=True)
class Parameter:
    """What a method says about one parameter.

    first    whether it is the one that `stage=value` sets
    kind     float, int, bool, str (one of `words`), or dict (token to number)
    range    of a number; `words` may be allowed beside it (`window=all`)
    default  value when left out; MISSING if it must be given
    neutral  value at which the stage is the identity, bit for bit; MISSING if there is none
    scalar   True if it may not differ between the rows of a batch
    """

    name: str
    first: bool
    kind: type
    range: Interval | None
    words: tuple[str, ...]
    default: Any
    neutral: Any
    unit: str
    help: str

    @property
    def scalar(self) -> bool:
        return self.kind not in (float, int)

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def describe(self) -> str:
        """Range, neutral value, default, for people."""
        parts = [self.range.text if self.range else "", " | ".join(self.words)]
        text = " or ".join(part for part in parts if part) or {bool: "true | false", dict: "{token: number, ...}"}[self.kind]
        text += f" {self.unit}" if self.unit else ""
        text += "" if self.neutral is MISSING else f", neutral {print_value(self.neutral)}"
        return text + ("" if self.required else f", default {print_value(Word(self.default) if isinstance(self.default, str) else self.default)}")

    def check(self, value: Any, stage: str) -> Any:
        """`value` in its normal form. Raises `OutOfRange`, naming the stage, the range and the nearest right value."""
        if isinstance(value, np.ndarray) and not self.scalar:
            return np.asarray([self.check(each, stage) for each in cast(list[Any], value.tolist())])
        word = str(value.name) if isinstance(value, Word) else cast(Any, value)
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
        if self.kind is str or not is_number(value):
            raise self.wrong(value, stage, "one of " + ", ".join(self.words) if self.kind is str else "a number" + "".join(f" or {w}" for w in self.words))
        return self.number(value, stage)

    def number(self, value: float, stage: str) -> float | int:
        assert self.range is not None
        number: float | int = as_float(value)
        if self.kind is int and math.isfinite(number):
            if not number.is_integer():
                raise self.wrong(value, stage, "an integer")
            number = int(value) if abs(number) < 2**63 else math.copysign(math.inf, number)
        if math.isnan(number) or number not in self.range:
            near = None if math.isnan(number) else self.range.nearest(number)
            hint = "" if near is None else f". Nearest allowed value: {print_value(self.kind(near) if math.isfinite(near) else near)}"
            if near is not None and near == self.neutral:
                hint += " (neutral: the stage does nothing)"
            elif self.neutral is not MISSING and number < self.range.low:
                hint += f". To switch it off: {print_value(self.neutral)}"
            if self.range.text == "[0, 1]" and 1 < number <= 100:
                hint += f". For {print_value(number)} % write {self.at(stage)}={print_value(number / 100)}"
            raise OutOfRange(f"{self.at(stage)}={print_value(number)} is outside {self.range.text}{hint}", stage=stage, parameter=self.name)
        return number

    def pairs(self, value: Any, stage: str) -> tuple[tuple[int | str | Word, float], ...]:
        """A token map in its normal form: pairs in order, ids first, then texts, then words."""
        pairs: Any = cast(dict[Any, Any], value).items() if isinstance(value, dict) else value
        if not isinstance(pairs, Iterable) or not all(isinstance(pair, (list, tuple)) and len(cast(Any, pair)) == 2 for pair in cast(Any, pairs)):
            raise self.wrong(value, stage, 'a map from tokens to numbers, {50256: -5, " cat": 2.5}')
        out: dict[int | str | Word, float] = {}
        for key, each in cast(Iterable[tuple[Any, Any]], pairs):
            if not isinstance(key, (str, Word)) and not (is_number(key) and isinstance(key, Integral) and key >= 0):
                raise self.wrong(key, stage, "a token: an id, a text, or the word end")
            if isinstance(key, Word) and key.name not in TOKEN_WORDS:
                hint = did_you_mean(key.name, TOKEN_WORDS)
                raise OutOfRange(
                    f"{stage}: {key.name} is not a token: an id, a text in quotes, or {' or '.join(TOKEN_WORDS)}.{hint}", stage=stage, parameter=self.name
                )
            if isinstance(key, str) and not is_unicode(key):
                raise OutOfRange(f"{stage}: the text {print_value(key)} holds half of a surrogate pair", stage=stage, parameter=self.name)
            if not is_number(each):
                raise self.wrong(each, stage, "a number for every token")
            token, number = key if isinstance(key, (str, Word)) else int(key), as_float(each)
            if self.range is not None and (math.isnan(number) or number not in self.range):
                what = f"{stage}: {self.name}[{print_value(token)}]={print_value(number)} is not finite; -100 all but forbids a token"
                raise OutOfRange(what, stage=stage, parameter=self.name)
            if token in out:
                raise OutOfRange(f"{stage}: token {print_value(token)} stands twice in {self.name}", stage=stage, parameter=self.name)
            out[token] = number
        return tuple(sorted(out.items(), key=lambda pair: ((int, str, Word).index(type(pair[0])), pair[0])))  # type: ignore[operator]

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
    default: Any = MISSING,
    neutral: Any = MISSING,
    unit: str = "",
) -> Any:
    """Declare a field of a stage. See `Parameter` for the arguments; `range` is written as in mathematics."""
    described = {"kind": kind, "range": Interval.of(range) if range else None, "words": tuple(words), "neutral": neutral, "unit": unit, "help": help}
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
