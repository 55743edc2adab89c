"""Schedules: a number of a stage as a function of position, or of how uncertain the row is.

    temperature=linear(1.2, 0.7, over=100)    cosine(a, b, over=n)    geometric(a, b, over=n)
    dry(steps({0: 0, 200: 0.8}))              min_p=entropy(0.2, 0.02, exponent=1)

t is the number of generated tokens. linear: a + (b - a) s with s = min(t/n, 1); cosine: b + (a - b)(1 + cos(pi s))/2;
geometric: a (b/a)^s; steps: the value of the largest key <= t; entropy: low + (high - low) r^exponent with r = H / ln k, H the entropy of
the row as it enters the stage and k its number of tokens (k <= 1 gives low; exponent 0 gives high).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, entropy, log_softmax, support, to_numpy
from .context import Context
from .errors import OutOfRange, RecipeError, did_you_mean
from .values import Call, print_number, print_value

FIELDS: dict[str, dict[str, float | None]] = {
    "linear": {"a": None, "b": None, "over": None},
    "cosine": {"a": None, "b": None, "over": None},
    "geometric": {"a": None, "b": None, "over": None},
    "steps": {"values": None},
    "entropy": {"low": None, "high": None, "exponent": 1.0},
}
"""What each schedule takes, in order; a number is a default."""


@dataclass(frozen=True)
class Schedule(Call):
    """A number that is not the same at every position. Printing gives the text that parses back to it."""

    def __str__(self) -> str:
        given = self.numbers
        if self.name == "steps":
            return f"steps({print_value(dict(given['values']))})"
        (_, first), (_, second), (third, number) = given.items()
        rest = "" if number == FIELDS[self.name][third] else f", {third}={print_number(number)}"
        return f"{self.name}({print_number(first)}, {print_number(second)}{rest})"

    @property
    def numbers(self) -> dict[str, Any]:
        return dict(self.named)

    @property
    def reads_rows(self) -> bool:
        """Whether it looks at the row instead of the position."""
        return self.name == "entropy"

    def ends(self) -> tuple[float, ...]:
        """Numbers between whose least and greatest all its values lie."""
        given = self.numbers
        if self.name == "steps":
            return tuple(value for _, value in given["values"])
        return (given["low"], given["high"]) if self.name == "entropy" else (given["a"], given["b"])

    def of_rows(self, z: Array, context: Context) -> NDArray[np.float64]:
        """Its value in every row, [B]."""
        if self.reads_rows:
            return entropy_values(z, **self.numbers)
        positions = [row.position for row in context.rows] or [0] * z.shape[0]
        return np.array([self.at(t) for t in positions], dtype=np.float64)

    def at(self, t: int) -> float:
        """Its value after t generated tokens."""
        given = self.numbers
        if self.name == "steps":
            return next(value for key, value in reversed(given["values"]) if key <= t)
        a, b, s = given["a"], given["b"], min(t / given["over"], 1.0)
        return a if s == 0 else b if s == 1 else FORMS[self.name](a, b, s)


FORMS: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda a, b, s: a + (b - a) * s,
    "cosine": lambda a, b, s: b + (a - b) * (1 + math.cos(math.pi * s)) / 2,
    "geometric": lambda a, b, s: a * (b / a) ** s,
}


def entropy_values(z: Array, low: float, high: float, exponent: float) -> NDArray[np.float64]:
    count = to_numpy(support(z)).sum(axis=-1)
    bits = to_numpy(entropy(log_softmax(z)))[:, 0].astype(np.float64)
    share = np.clip(np.divide(bits, np.log(np.maximum(count, 2))), 0.0, 1.0) ** exponent  # 0^0 = 1
    value = np.where(share == 1, high, low + (high - low) * share)  # the sum need not be high to the bit
    return np.where(count > 1, value, low)


def schedule_of(call: Call, stage: str, parameter: str) -> Schedule:
    """A schedule from what was typed. Raises `RecipeError` and `OutOfRange`, naming the stage."""
    if call.name not in FIELDS:
        hint = did_you_mean(call.name, FIELDS) or f" There are {', '.join(FIELDS)}."
        raise RecipeError(f"{stage}: {call.name}(...) is no schedule.{hint}", stage=stage, parameter=parameter)
    fields = FIELDS[call.name]
    values = dict(zip(fields, call.values, strict=False)) | dict(call.named)
    missing = [name for name, default in fields.items() if name not in values and default is None]
    extra = [name for name in values if name not in fields] or (["one value too many"] if len(call.values) > len(fields) else [])
    twice = [name for name, _ in zip(fields, call.values, strict=False) if name in dict(call.named)]
    if missing or extra or twice:
        told = f"lacks {', '.join(missing)}" if missing else f"has no {', '.join(extra)}" if extra else f"has {', '.join(twice)} twice"
        raise RecipeError(f"{stage}: {call.name} {told}", stage=stage, parameter=parameter, fix=f"{call.name}({', '.join(fields)})")
    values = {name: values.get(name, default) for name, default in fields.items()}
    if call.name == "steps":
        return Schedule(call.name, (), (("values", stairs(values["values"], stage, parameter)),))
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise OutOfRange(f"{stage}: {name} of {call.name} is not a finite number", stage=stage, parameter=parameter)
    numbers = {name: float(cast(float, value)) for name, value in values.items()}
    if call.name == "entropy":
        bad = [f"exponent={print_number(numbers['exponent'])} is below 0"] if numbers["exponent"] < 0 else []
    else:
        bad = [f"over={print_number(numbers['over'])} is not above 0"] if numbers["over"] <= 0 else []
        bad += ["a and b are not above 0"] if call.name == "geometric" and min(numbers["a"], numbers["b"]) <= 0 else []
    if bad:
        raise OutOfRange(f"{stage}: {call.name}: {bad[0]}", stage=stage, parameter=parameter)
    return Schedule(call.name, (), tuple(numbers.items()))


def stairs(value: Any, stage: str, parameter: str) -> tuple[tuple[int, float], ...]:
    """The steps in rising order. Position 0 must be among them."""
    pairs: list[Any] = list(cast(Any, value.items() if isinstance(value, dict) else value)) if isinstance(value, (dict, list, tuple)) else []
    good = all(map(is_stair, pairs))
    if not good or 0 not in [key for key, _ in pairs]:
        raise RecipeError(f"{stage}: steps takes values by position, position 0 among them", stage=stage, parameter=parameter, fix="steps({0: 0, 200: 0.8})")
    return tuple(sorted((int(key), float(number)) for key, number in pairs))


def is_stair(pair: Any) -> bool:
    """A position and a finite number."""
    if not isinstance(pair, (list, tuple)) or len(cast(Any, pair)) != 2:
        return False
    key, number = cast(Any, pair)
    return type(key) is int and key >= 0 and type(number) in (int, float) and math.isfinite(number)


def extremes(value: Any) -> NDArray[Any]:
    """The numbers that bound a parameter: its own, one a row, or the ends of its schedule. For checks between parameters."""
    return np.asarray(value.ends() if isinstance(value, Schedule) else value)


def row_by_row(*values: Any) -> bool:
    """Whether these are parameters of one number a row each, so that those of a row meet one another and no others."""
    return all(isinstance(each, np.ndarray) for each in values) and len({each.shape for each in values}) == 1
