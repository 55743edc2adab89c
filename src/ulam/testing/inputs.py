"""Inputs for the checks: nasty rows, settings read from the parameter declarations, histories.

Everything here is fixed: irregular numbers come from the house's own generator at fixed addresses. Nothing
names a method, so a new one is covered by what it declares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count, cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.context import History
from ..core.errors import RecipeError
from ..core.method import Stage, stack_key
from ..core.noise import Address, PhiloxNoise
from ..core.parameter import MISSING, Parameter, parameters
from ..core.values import print_value
from ..core.vocabulary import Vocabulary

Row = NDArray[Any]

WIDTHS = (4096, 32768, 262144)
"""Widths of wide rows, up to that of the largest vocabularies. The last two are more than an id of 16 bits, or a running sum in float32, can hold."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One question to a method: a row of logits [V], parameters by name, a history, and the end tokens (the last one if not given)."""

    row: Row
    parameters: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    ends: tuple[int, ...] | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        return letters(len(self.row), (len(self.row) - 1,) if self.ends is None else self.ends)

    def renumbered(self, tokens: NDArray[np.int64]) -> Probe:
        """The same question with only `tokens` left, in that order; history and token maps follow the new ids."""
        new = dict(zip(tokens.tolist(), range(len(tokens)), strict=True))
        settings = {k: renumbered(v, new) for k, v in self.parameters.items()}
        prompt, generated = ([new[t] for t in part if t in new] for part in (self.history.prompt, self.history.generated))
        ends = tuple(new[t] for t in self.vocabulary.ends if t in new)
        return Probe(self.row[tokens], settings, History(prompt, generated), ends)

    def __str__(self) -> str:
        shown = ", ".join(print_value(float(x)) for x in self.row[:12]) + (f", ... {len(self.row)} tokens" if len(self.row) > 12 else "")
        text = f"logits [{shown}] {self.row.dtype.name}"
        text += "".join(f", {name}={print_value(value) if not isinstance(value, str) else value}" for name, value in self.parameters.items())
        for name, part in (("prompt", self.history.prompt), ("generated", self.history.generated)):
            text += f", {name} {list(part)}" if len(part) else ""
        return text


def renumbered(value: Any, new: dict[int, int]) -> Any:
    """A list of tokens or sequences, or a map of them, in new ids; what holds a token that is gone goes too."""
    if isinstance(value, dict):
        kept = {key if isinstance(key, int) else tuple(key): x for key, x in value.items() if all(t in new for t in ids(key))}
        return {new[key] if isinstance(key, int) else tuple(new[t] for t in key): x for key, x in kept.items()}
    if isinstance(value, (list, tuple)):
        return [new[each] if isinstance(each, int) else [new[t] for t in each] for each in value if all(t in new for t in ids(each))]
    return value


def ids(item: Any) -> tuple[int, ...]:
    return (item,) if isinstance(item, int) else tuple(item)


@cache
def letters(width: int, ends: tuple[int, ...]) -> Vocabulary:
    """A vocabulary whose tokens are letters, a to z and again, some of which end a text."""
    tokens = [b"" if i in ends else bytes([97 + i % 26]) for i in range(width)]
    return Vocabulary(tokens, names={i: f"<end{i}>" for i in ends}, ends=ends, encode=lambda text: [ord(c) - 97 for c in text])


def irregular(width: int, stream: int) -> NDArray[np.float64]:
    """Logistic numbers on a grid of 2^-20, distinct with near certainty; the same for the same arguments."""
    u = PhiloxNoise(0).uniform(Address(sequence=stream, position=np.arange(width))).values + 2.0**-54
    return np.rint(np.log(u / (1 - u)) * 2.0**21) / 2.0**20


def permutation(width: int, stream: int) -> NDArray[np.int64]:
    return np.argsort(PhiloxNoise(1).uniform(Address(sequence=stream, position=np.arange(width))).values)


def rows_of(width: int) -> Iterator[Row]:
    """Rows of one width that have broken samplers: ties, holes, one token left, exact thresholds, long tails, extreme values."""
    z = irregular(width, width)
    ids = np.arange(width)
    yield z
    yield np.zeros(width)
    yield np.full(width, -3.5)
    yield np.rint(z / 2)  # ties everywhere
    halves = np.minimum(ids + 1, max(width - 1, 1))[permutation(width, 2)]
    yield halves * -math.log(2.0)  # 1/2, 1/4, ..., the last two equal: running sums meet dyadic thresholds exactly
    yield np.where(ids == width // 2, 0.0, -25 - 5 * np.abs(np.tanh(z)))  # near one-hot with a tail
    yield np.where(ids % 2 == 0, z, -np.inf)
    yield np.where(ids > width // 3, np.rint(z), -np.inf)
    yield np.where(ids == width - 1, z, -np.inf)
    yield np.where((ids == 0) & (width > 1), -np.inf, z)
    yield z / 16
    yield z - 50
    yield z + 50
    yield z * 1000
    yield np.where(ids % 3 == 1, -740.0, np.rint(z))  # probabilities below the normal range
    yield np.where(ids % 2 == 0, 1e30, -1e30) * (ids % 3 != 2)
    yield (np.rint(z * 1024) / 1024).astype(np.float32)
    yield np.where(ids % 3 == 2, -np.inf, np.rint(z)).astype(np.float32)
    yield np.rint(z * 4).astype(np.float16) / np.float16(4)


def rows() -> list[Row]:
    """Rows of every width, the smallest first."""
    found: list[Row] = [np.array([0.0]), np.array([-3.5], np.float32), np.array([1e4])]
    for width in (2, 3, 8):
        found += rows_of(width)
    found += list(rows_of(64))[::2]
    found += list(rows_of(1000))[:5:2]
    return found


def is_wide(probe: Probe) -> bool:
    """Whether a question is about a row as wide as a vocabulary, and so costs more than most."""
    return len(probe.row) >= WIDTHS[0]


def wide_row(width: int, kind: int) -> Row:
    """A row whose running sums, ids and counts of ties are large, one of six kinds."""
    ids = np.arange(width)
    z = irregular(width, width) + ids * 2.0**-40  # so many on a grid are not distinct
    kinds = (
        lambda: (np.rint(1.4 * np.tanh(z)) / 2).astype(np.float32),  # three levels: each is shared by more tokens than 16 bits can count
        lambda: np.where(ids == width - 3, 0, -12 - np.tanh(z) / 2),  # one token that is as likely as a quarter million others together
        lambda: z,
        lambda: np.where(ids % 997 == 5, z, -np.inf).astype(np.float32),
        lambda: z / 16,
        lambda: z.astype(np.float32),
    )
    return kinds[kind % len(kinds)]()


def wide_probes(stage: type[Stage], share: int) -> list[Probe]:
    """As many questions a width, at most six, with settings that do something: from the middle of the list, its quarters, its eighths and so on."""
    found: list[Probe] = []
    for shift, width in enumerate(WIDTHS[::-1]):
        every, pasts = settings(stage, width), histories(width)
        active = [setting for setting in every if not stage(**setting).neutral(1).all()] or every
        for kind in range(min(share, 6)):
            bits = f"{1 + shift + len(WIDTHS) * kind:b}"
            setting = active[int(bits[::-1], 2) * len(active) >> len(bits)]
            found.append(Probe(wide_row(width, kind + shift), setting, pasts[(kind + shift + 2) % len(pasts)]))
    return sorted(found, key=lambda probe: len(probe.row))


def candidates(p: Parameter, width: int) -> list[Any]:
    """Values of one parameter: both ends of its range, at, near and far from neutral, in between; every word."""
    if p.kind is bool:
        return [False, True]
    if p.kind is list and p.items == "sequence":
        return [[], [[0]], [[0, width - 1], [width - 1]], [[width // 2, 0, 0], [0, width // 2]]]
    if p.kind is list:
        return [[], [0], [width - 1, width // 2], [width // 3]]
    if p.kind is dict and p.items == "sequence":
        return [{}, {(0,): 2.5}, {(width - 1, 0): -100.0, (width // 2,): 0.25}, {(0, 0): 1e38, (0,): -1e38}]
    if p.kind is dict:
        return [{}, {0: 2.5}, {width - 1: -100.0, width // 2: 0.25}, {0: 1e38, width - 1: -1e38}]
    numbers: list[float] = []
    if p.range is not None:
        low, high = p.range.low, p.range.high
        if p.kind is int:
            start = int(low) if math.isfinite(low) else -3
            numbers = [start + step for step in (0, 1, 2, 3, 5, 40, 10**6)]
        elif math.isfinite(low) and math.isfinite(high):
            numbers = [low + (high - low) * x for x in (0.0, 1e-9, 0.05, 0.25, 0.5, 0.7, 0.75, 0.9, 0.99, 1 - 1e-9, 1.0)]
        if p.kind is float and high - low > 2:  # sizes that people use, however wide the range
            numbers += [0.0, 1e-9, 0.1, 0.5, 0.7, 1.0, 1.3, 2.0, 10.0, 1e6, 1e300, math.inf, -1e-9, -0.5, -2.0, -1e6]
        if p.neutral is not MISSING and p.kind is float:
            numbers += [p.neutral, p.neutral + 1e-6, p.neutral - 1e-6]
        numbers = [x for x in dict.fromkeys(numbers) if x in p.range]
    return [*numbers, *p.words]


@cache
def settings(stage: type[Stage], width: int) -> tuple[dict[str, Any], ...]:
    """Settings that together hold every candidate of every parameter; combinations that the stage refuses are left out.

    The number is that of the longest list of candidates, times three where there is more than one parameter.
    """
    declared = parameters(stage)
    if not declared:
        return ({},)
    decks = [candidates(p, width) for p in declared]
    wanted = max(len(deck) for deck in decks) * (1 if len(decks) == 1 else 3)
    found: list[dict[str, Any]] = []
    stream = count()
    deals = [dealt(deck, i, stream) for i, deck in enumerate(decks)]
    for _ in range(20 * wanted):
        setting = {p.name: next(deal) for p, deal in zip(declared, deals, strict=True)}
        try:
            stage(**setting)
        except RecipeError:
            continue
        found.append(setting)
        if len(found) == wanted:
            break
    return tuple(found)


@cache
def companions(stage: Stage, width: int) -> list[Stage]:
    """The stages of the same method that may stand in one batch with this one."""
    every = (type(stage)(**each) for each in settings(type(stage), width))
    return [other for other in every if stack_key(other) == stack_key(stage)] or [stage]


def dealt(deck: list[Any], first: int, stream: Iterator[int]) -> Iterator[Any]:
    """A deck without end: every card once, then shuffled and every card once again. The first parameter is not shuffled."""
    if first == 0:
        yield from cycle(deck)
    while True:
        yield from (deck[i] for i in permutation(len(deck), 100 + next(stream)))


def histories(width: int) -> list[History]:
    """Histories over `width` tokens: none, one token, runs that come again, longer than the vocabulary, prompt alone."""
    drawn = (PhiloxNoise(2).uniform(Address(sequence=3, position=np.arange(40))).values * width).astype(int).tolist()
    last = width - 1
    return [
        History(),
        History(generated=[last]),
        History(prompt=drawn[:5] + drawn[:3]),
        History(generated=drawn[:5] + drawn[:4]),
        History(prompt=drawn[:25], generated=drawn[25:]),
        History(prompt=[0, 0, last], generated=[last, 0, last, last]),
        History(prompt=list(range(min(width, 12))), generated=[0, min(1, last)]),
    ]


def probes(stage: type[Stage], about: int) -> list[Probe]:
    """About that many questions, the smallest first: every row with some settings and histories, in rotation; then wide ones."""
    every = rows()
    share = max(1, about // len(every))
    by_width = {width: (settings(stage, width), histories(width)) for width in {len(row) for row in every}}
    found: list[Probe] = []
    for i, row in enumerate(every):
        chosen, pasts = by_width[len(row)]
        for j in range(min(share, len(chosen))):
            found.append(Probe(row, chosen[(i * share + j) % len(chosen)], pasts[(i + j) % len(pasts)]))
    return found + wide_probes(stage, share)


def smaller(probe: Probe) -> Iterator[Probe]:
    """Probes a little simpler than this one: shorter history, fewer tokens, rounder logits."""
    prompt, generated = list(probe.history.prompt), list(probe.history.generated)
    if prompt or generated:
        yield replace(probe, history=History())
        for i in range(len(prompt)):
            yield replace(probe, history=History(prompt[:i] + prompt[i + 1 :], generated))
        for i in range(len(generated)):
            yield replace(probe, history=History(prompt, generated[:i] + generated[i + 1 :]))
    ids = np.arange(len(probe.row))
    size = len(ids) // 2
    while size:
        for start in range(0, len(ids), size):
            left = np.delete(ids, slice(start, start + size))
            if len(left):
                yield probe.renumbered(left)
        size //= 2
    for digits in (0, 2):
        rounded = np.round(probe.row, digits)
        if not np.array_equal(rounded, probe.row):
            yield replace(probe, row=rounded)
