"""Parameters: ranges, words, token maps, and errors that name the nearest right value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import OutOfRange
from ulam.core.method import Transform
from ulam.core.parameter import Interval, Parameter, parameter, parameters
from ulam.core.values import Word


@dataclass(frozen=True)
class Sample(Transform):
    p: float = parameter(float, "[0, 1]", neutral=1, help="a share")
    rate: float = parameter(float, "(0, inf)", default=2, unit="a token", help="a rate")
    k: int = parameter(int, "[0, 8)", words=("all",), default="all", neutral=0, help="a number")
    on: str = parameter(str, words=("logits", "log_probs"), default="logits", help="a word")
    flag: bool = parameter(bool, default=False, help="a switch")
    map: Any = parameter(dict, "(-inf, inf)", default=(), help="a map")


@dataclass(frozen=True)
class Listed(Transform):
    tokens: Any = parameter(list, default=(), help="a list")
    key: int = parameter(int, "[0, 2^64)", default=0, fixed=True, help="64 bits")


P, RATE, K, ON, FLAG, MAP = parameters(Sample)
LIST, KEY = parameters(Listed)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1]", [0, 1, 0.5], [-1e-300, 1 + 2.0**-52, math.inf, math.nan]),
        ("(0, 1)", [5e-324, 1 - 2.0**-53], [0, 1]),
        ("[0, inf)", [0, 1e308], [math.inf, -1]),
        ("(-inf, inf]", [math.inf, -1e308], [-math.inf]),
        ("[0, 2^64)", [0, 2**64 - 1], [2**64, 2.0**64, -1]),
    ],
)
def test_intervals(text: str, inside: list[float], outside: list[float]) -> None:
    interval = Interval.of(text)
    assert [x in interval for x in inside] == [True] * len(inside)
    assert [x in interval for x in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    ("text", "x", "near"), [("[0, 1]", -3, 0.0), ("[0, 1]", 7, 1.0), ("(0, 1)", -3, None), ("(0, 1)", 7, None), ("[0, inf)", math.inf, None)]
)
def test_the_nearest_value_of_a_range(text: str, x: float, near: float | None) -> None:
    assert Interval.of(text).nearest(x) == near


@pytest.mark.parametrize(
    ("p", "value", "normal"),
    [
        (P, 1, 1.0),
        (P, np.float32(0.5), 0.5),
        (P, -0.0, 0.0),
        (K, 3.0, 3),
        (K, np.int64(7), 7),
        (K, "all", "all"),
        (K, Word("all"), "all"),
        (ON, Word("log_probs"), "log_probs"),
        (FLAG, True, True),
        (MAP, {3: 1, "a": 2, 1: -1}, ((1, -1.0), (3, 1.0), ("a", 2.0))),
        (MAP, [(2, 0.5)], ((2, 0.5),)),
        (MAP, {Word("end"): 1}, ((Word("end"), 1.0),)),
    ],
)
def test_values_in_their_normal_form(p: Parameter, value: Any, normal: Any) -> None:
    found = p.check(value, "sample")
    assert found == normal
    assert type(found) is type(normal)
    if p is P:
        assert math.copysign(1, found) == 1  # a zero has no sign


@pytest.mark.parametrize(
    ("p", "value", "message"),
    [
        (P, True, "sample=true is not a number"),
        (P, "0.5", 'sample="0.5" is not a number'),
        (P, None, "sample=NoneType is not a number"),
        (P, math.nan, r"sample=nan is outside \[0, 1\]"),
        (P, -0.5, r"sample=-0.5 is outside \[0, 1\]. Nearest allowed value: 0"),
        (P, 3, r"Nearest allowed value: 1 \(neutral: the stage does nothing\). For 3 % write sample=0.03"),
        (P, 95, "For 95 % write sample=0.95"),
        (P, 1000, "Nearest allowed value: 1"),
        (RATE, 0, r"sample: rate=0 is outside \(0, inf\)"),
        (RATE, math.inf, r"sample: rate=inf is outside \(0, inf\)"),
        (K, 2.5, "sample: k=2.5 is not an integer"),
        (K, True, "sample: k=true is not a number or all"),
        (K, 8, r"sample: k=8 is outside \[0, 8\)"),
        (K, -1, r"Nearest allowed value: 0 \(neutral: the stage does nothing\)"),
        (K, 10**400, "sample: k=inf is outside"),
        (K, "al", "sample: k=al is not one of all"),
        (ON, "logit", "is not one of logits, log_probs. Did you mean logits"),
        (ON, 1, "sample: on=1 is not one of logits, log_probs"),
        (FLAG, 1, "sample: flag=1 is not true or false"),
        (FLAG, "true", 'sample: flag="true" is not true or false'),
        (MAP, 3, "is not a map from tokens to numbers"),
        (MAP, np.array(3), "is not a map from tokens to numbers"),
        (LIST, {1: 2}, "sample=dict is not a list"),
        (LIST, np.array(3), "sample=3 is not a list"),
        (KEY, 2**64, "sample: key=1.8446744073709552e19 is outside"),
        (P, np.array(0.5), r"sample is an array of shape \[\]"),
        (P, np.array([[0.5, 0.5]]), r"sample is an array of shape \[1, 2\]"),
        (MAP, {1.5: 1}, "is not a token"),
        (MAP, {True: 1}, "is not a token"),
        (MAP, {-1: 1}, "is not a token"),
        (MAP, {1: "x"}, "is not a number for every token"),
        (MAP, {1: math.inf}, r"map\[1\]=inf is not finite"),
        (MAP, {1: math.nan}, r"map\[1\]=nan is not finite"),
        (MAP, [(1, 1.0), (1, 2.0)], "token 1 stands twice"),
        (MAP, {Word("ende"): 1}, "ende is not a token"),
    ],
)
def test_values_that_are_refused(p: Parameter, value: Any, message: str) -> None:
    with pytest.raises(OutOfRange, match=message) as caught:
        p.check(value, "sample")
    assert caught.value.parameter == p.name
    assert "\n" not in caught.value.what


def test_an_array_is_checked_element_by_element() -> None:
    assert P.check(np.array([0.0, 0.25, 1.0]), "sample").tolist() == [0.0, 0.25, 1.0]
    assert K.check(np.array([1, 2]), "sample").dtype == np.int64
    with pytest.raises(OutOfRange, match=r"1.5 is outside"):
        P.check(np.array([0.5, 1.5]), "sample")
    with pytest.raises(OutOfRange):
        ON.check(np.array(["logits"]), "sample")


def test_a_stage_checks_when_it_is_made() -> None:
    assert Sample(p=np.float64(0.5)) == Sample(0.5, 2.0, "all", "logits", False, ())
    with pytest.raises(OutOfRange, match="sample: rate=-1"):
        Sample(0.5, rate=-1)


def test_descriptions() -> None:
    assert [p.describe() for p in parameters(Sample)] == [
        "[0, 1], neutral 1",
        "(0, inf) a token, default 2",
        "[0, 8) or all, neutral 0, default all",
        "logits | log_probs, default logits",
        "true | false, default false",
        "(-inf, inf), default []",
    ]
    assert [p.required for p in parameters(Sample)] == [True] + [False] * 5
    assert [p.scalar for p in parameters(Sample)] == [False, False, False, True, True, True]
    assert [p.first for p in parameters(Sample)] == [True] + [False] * 5


@given(st.floats())
def test_a_number_is_kept_or_refused(x: float) -> None:
    if 0 <= x <= 1:
        assert P.check(x, "sample") == x
    else:
        with pytest.raises(OutOfRange):
            P.check(x, "sample")


def test_a_number_of_64_bits_is_kept_whole() -> None:
    """A key is one for all rows, so it needs no place in an array."""

    @dataclass(frozen=True)
    class Locked(Transform):
        key: int = parameter(int, "[0, 2^64)", fixed=True, help="a key")

    (key,) = parameters(Locked)
    assert [key.check(value, "locked") for value in (0, 2**53 + 1, 2**63, 2**64 - 1)] == [0, 2**53 + 1, 2**63, 2**64 - 1]
    for value in (2**64, 2.0**64, -1, 10**400, np.array([3, 4])):
        with pytest.raises(OutOfRange):
            key.check(value, "locked")
