"""Recipes for property tests, drawn from the catalogue: every method, every parameter by its own declaration."""

from __future__ import annotations

import math
from dataclasses import MISSING
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from ulam.core.errors import OutOfRange
from ulam.core.method import Chooser, Stage
from ulam.core.parameter import Parameter, parameters
from ulam.core.values import TOKEN_WORDS, Call, Word
from ulam.methods import catalogue
from ulam.recipe import Recipe

TOKENS = st.one_of(
    st.integers(0, 2**40),
    st.text(max_size=6),
    st.sampled_from(["inf", "-inf", "end", "word", "1", "true", 'a"b\\', "\x00\x1b[0m", "\x7f\x9b", "\r\n", "\u202e\ufeff", "🙂", "\U000e0001"]),
    st.sampled_from(TOKEN_WORDS).map(Word),
)


def inside(p: Parameter, x: float) -> bool:
    return p.range is not None and x in p.range


def numbers(p: Parameter) -> st.SearchStrategy[Any]:
    """Values of a number at its neutral point and its default, just beside them, at and near the ends of the range, and far away."""
    assert p.range is not None
    marks = [x for x in (p.neutral, p.default, p.range.low, p.range.high) if x is not MISSING and isinstance(x, (int, float)) and math.isfinite(x)]
    if p.kind is int:
        near = [x + step for x in marks for step in (-1, 0, 1)] + [2**31, 2**53 + 1, 2**63 - 1025]
        return st.sampled_from([int(x) for x in near if inside(p, x)]) | st.integers(0, 300).filter(lambda x: inside(p, x))
    near = [y for x in marks for y in (x, math.nextafter(x, -math.inf), math.nextafter(x, math.inf), x + 0.1, x - 1e-9)]
    near += [0.1 + 0.2, 1e-300, 5e-324, 1e16, 1e22, 123456789.125, 1.7976931348623157e308, -1e-5, -40]
    return st.sampled_from([x for x in near if inside(p, x)]) | st.floats(-1e3, 1e3).filter(lambda x: inside(p, x))


def values(p: Parameter, tokens: st.SearchStrategy[Any] = TOKENS, steady: bool = False) -> st.SearchStrategy[Any]:
    if p.kind is bool:
        return st.booleans()
    anything = st.lists(st.integers(0, 2**40), min_size=1, max_size=3) | st.text(min_size=1, max_size=6)
    sequences = anything if tokens is TOKENS else st.lists(tokens, min_size=1, max_size=3)
    items = {"token": tokens, "sequence": sequences, "text": tokens.filter(lambda token: token != "")}[p.items]
    if p.kind is list:
        return st.lists(items, min_size=0 if p.neutral is not MISSING else 1, max_size=4)
    if p.kind is dict:
        items = items.map(lambda item: tuple(item) if isinstance(item, list) else item)
        return st.dictionaries(items, st.floats(-100, 100) | st.sampled_from([1e30, -5e-324, 7]), max_size=4)
    words = st.sampled_from(p.words) if p.words else st.nothing()
    if p.kind is str:
        return words
    plain = words | numbers(p)
    return plain if p.scalar or steady else st.sampled_from(range(8)).flatmap(lambda die: plain if die else schedules(p))  # now and then a schedule


def schedules(p: Parameter) -> st.SearchStrategy[Any]:
    """Schedules between two of the parameter's values."""
    ends = st.tuples(numbers(p), numbers(p)).filter(lambda pair: all(map(math.isfinite, pair)))
    above = ends.filter(lambda pair: min(pair) > 0)
    over = st.integers(1, 500)
    return st.one_of(
        st.tuples(st.sampled_from(["linear", "cosine"]), ends, over).map(lambda x: Call(x[0], x[1], (("over", x[2]),))),
        st.tuples(above, over).map(lambda x: Call("geometric", x[0], (("over", x[1]),))),
        ends.map(lambda pair: Call("steps", ({0: pair[0], 7: pair[1]},), ())),
        ends.map(lambda pair: Call("entropy", pair, ())),
    )


@st.composite
def stages(draw: st.DrawFn, kind: type[Stage], tokens: st.SearchStrategy[Any] = TOKENS) -> Stage:
    """One stage of a class. Values that exclude each other give way to the defaults."""
    given = {p.name: draw(values(p, tokens, steady=issubclass(kind, Chooser))) for p in parameters(kind) if p.required or draw(st.booleans())}
    try:
        return kind(**given)
    except OutOfRange:
        pass
    try:
        return kind(**{p.name: given[p.name] for p in parameters(kind) if p.required})
    except OutOfRange:  # not even with the defaults
        reject()


@st.composite
def recipes(draw: st.DrawFn, tokens: st.SearchStrategy[Any] = TOKENS) -> Recipe:
    """Recipes of one to five stages; half of them name their chooser."""
    transforms = [m.stage for m in catalogue().values() if m.kind != "chooser"]
    choosers = [m.stage for m in catalogue().values() if m.kind == "chooser"]
    last = [draw(st.sampled_from(choosers))] if draw(st.booleans()) else []
    kinds = draw(st.lists(st.sampled_from(transforms), min_size=0 if last else 1, max_size=5 - len(last)))
    return Recipe([draw(stages(kind, tokens)) for kind in [*kinds, *last]])
