"""Models small enough to write down: every law about them can be worked out by hand."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from numbers import Rational
from string import ascii_letters
from typing import Any, NamedTuple, SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ModelError
from ..core.vocabulary import Vocabulary
from .alphabet import alphabet
from .names import Names
from .prefixes import Prefix, PrefixModel
from .protocol import TokenIds
from .state import token_ids

Row: TypeAlias = Sequence[SupportsFloat] | Mapping[str, SupportsFloat]
"""Probabilities of the next token: one number a token, or numbers by token (`{"x": 0.5, "$": 0.5}`; the others have 0)."""

Probs: TypeAlias = tuple[Fraction, ...] | tuple[float, ...]


class Entry(NamedTuple):
    """A row as it was given, and its logits [V] float64."""

    probs: Probs
    logits: NDArray[np.float64]


def digest(*parts: object) -> str:
    """A short sha256 of plain values: tuples, lists, numbers and bytes."""
    return f"sha256:{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


class Table(PrefixModel):
    """A model given by its probabilities.

    rows        the next token's probabilities after a prefix, by prefix: `{(): (0.5, 0.5), (0,): (1, 0)}`, or in writing
                (`models/names.py`): `{"": {"a": 0.5, "b": 0.5}, "a": {"a": 1}}`.
                A prefix is all tokens of a row, the prompt included; the empty one is legal.
    vocabulary  the V tokens; `alphabet("ab")` makes one
    otherwise   a row, or a function from prefix to row, for every prefix that is not in `rows`
    fingerprint what stands for the probabilities in a record. Without it: a hash of vocabulary and rows, the same
                everywhere; if `otherwise` is a function, which cannot be hashed, a random one that this object alone has

    A row is V numbers, none negative, that add to one: exactly if all of them are integers or fractions, which are kept as
    they are, else within 1e-9. Logits are their logarithms, float64 [B, V]; `-inf` for 0. `probs` gives a row back as it
    was given, so that laws of a table of fractions can be worked out exactly. Raises `ModelError` for a row that is no
    distribution, or a prefix that has none.
    """

    order: int | None = None

    def __init__(
        self,
        rows: Mapping[Prefix, Row] | Mapping[str, Row],
        vocabulary: Vocabulary,
        *,
        otherwise: Row | Callable[[Prefix], Row] | None = None,
        name: str = "table",
        fingerprint: str | None = None,
    ):
        self.name, self.vocabulary = name, vocabulary
        self._function = otherwise if callable(otherwise) else None
        self._fingerprint = fingerprint or (f"object:{os.urandom(8).hex()}" if self._function else None)
        self._rows: dict[Prefix, Entry] = {}
        for key, row in rows.items():
            prefix = self._names.prefix(key, f"a row of {name}") if isinstance(key, str) else tuple(vocabulary.check(i) for i in key)
            if prefix in self._rows:
                raise ModelError(f"{self._row_after(prefix)} stands twice", fix="give every prefix one row")
            self._rows[prefix] = self._entry(row, self._row_after(prefix))
        self._otherwise = None if otherwise is None or callable(otherwise) else self._entry(otherwise, f'the row "otherwise" of {name}')

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is None:
            rows = sorted((prefix, [float(p) for p in entry.probs]) for prefix, entry in self._rows.items())
            otherwise = self._otherwise and [float(p) for p in self._otherwise.probs]
            self._fingerprint = digest(self.vocabulary.tokens, self.vocabulary.ends, self.order, rows, otherwise)
        return self._fingerprint

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {len(self.vocabulary)} tokens)"

    def probs(self, prefix: TokenIds) -> Probs:
        """The next token's probabilities after a prefix, V of them, as they were given: all fractions, or all floats.

        Raises `TokenOutOfRange`, and `ModelError` for a prefix without a row.
        """
        return self._after(tuple(token_ids(prefix, len(self.vocabulary)).tolist())).probs

    @cached_property
    def _names(self) -> Names:
        return Names(self.vocabulary)

    def _row_after(self, prefix: Prefix) -> str:
        return f"the row {self._names.written(prefix)} of {self.name}"

    def _read(self, prefixes: Sequence[Prefix]) -> NDArray[np.float64]:
        logits = [self._after(prefix).logits for prefix in prefixes]
        return np.stack(logits) if logits else np.zeros((0, len(self.vocabulary)))

    def _after(self, prefix: Prefix) -> Entry:
        if self.order is not None:
            prefix = prefix[max(0, len(prefix) - self.order) :]
        entry = self._rows.get(prefix, self._otherwise)
        if entry is not None:
            return entry
        if self._function is None:
            what = f"{self.name} has no probabilities after {self._names.written(prefix)}"
            raise ModelError(what, fix=f"add a row {self._names.written(prefix)}, or one for all others: otherwise")
        return self._entry(self._function(prefix), self._row_after(prefix))

    def _entry(self, row: Row, where: str) -> Entry:
        given: list[Any] = self._names.row(row, where) if isinstance(row, Mapping) else list(row)
        if len(given) != len(self.vocabulary):
            raise ModelError(f"{where} has {len(given)} numbers for {len(self.vocabulary)} tokens", fix="one number a token")
        exact = all(isinstance(p, Rational) for p in given)
        probs: Probs = tuple(map(as_fraction, given)) if exact else tuple(map(as_float, given))
        for i, p in enumerate(probs):
            if not p >= 0:
                shown = number(p) if p == p or isinstance(given[i], float) else repr(given[i])[:40]
                raise ModelError(f"{where} holds {shown} for {self._names.written((i,))}", fix="numbers from 0 to 1")
        total = sum(probs) if exact else math.fsum(probs)
        if total != 1 if exact else not abs(total - 1) <= 1e-9:
            shown = number(total) if not abs(total - 1) <= 1e-9 else f"1 {'+' if total > 1 else '-'} {number(abs(total - 1))}"
            raise ModelError(f"{where} adds to {shown}, not to 1", fix="numbers that add to 1")
        values = np.array([float(p) for p in probs])
        logits = np.log(values, where=values > 0, out=np.full(len(values), -np.inf))
        for i in np.flatnonzero(values == 0):
            if isinstance(p := probs[i], Fraction) and p:  # too small for a float, and possible all the same
                logits[i] = math.log(p.numerator) - math.log(p.denominator)
        return Entry(probs, logits)


class Markov(Table):
    """A table in which the next token depends on the last `order` tokens alone.

    rows by these last tokens; prefixes that are shorter than `order` have rows of their own, in the same way. The other
    arguments are those of `Table`; a prefix without a row is a `ModelError` that names it.
    """

    def __init__(
        self, order: int, rows: Mapping[Prefix, Row] | Mapping[str, Row], vocabulary: Vocabulary, *, otherwise: Row | None = None, name: str = "markov"
    ):
        if isinstance(order, bool) or not isinstance(order, int) or order < 0:
            raise ModelError(f"the order of {name} is {order!r}, not a number of tokens", fix="a whole number from 0 on")
        self.order = order
        super().__init__(rows, vocabulary, otherwise=otherwise, name=name)
        for prefix in self._rows:
            if len(prefix) > order:
                raise ModelError(f"{self._row_after(prefix)} has {len(prefix)} tokens, and only the last {order} matter", fix=f"an order of {len(prefix)}")


class Tree(Table):
    """A table whose rows are all written down: some by whole prefix, and at most one, `otherwise`, for every other prefix."""

    def __init__(self, rows: Mapping[Prefix, Row] | Mapping[str, Row], vocabulary: Vocabulary, *, otherwise: Row | None = None, name: str = "tree"):
        super().__init__(rows, vocabulary, otherwise=otherwise, name=name)


class IID(Markov):
    """Independent tokens: the same probabilities after every prefix. The vocabulary is the letters a, b, c, ... if none is given."""

    def __init__(self, probs: Row, vocabulary: Vocabulary | None = None, *, name: str = "iid"):
        super().__init__(0, {(): probs}, letters(len(probs)) if vocabulary is None else vocabulary, name=name)


def abc() -> IID:
    """The lecture's model: tokens a, b, c with probabilities 1/2, 1/4, 1/4, whatever came before; no start and no end."""
    return IID((Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)), name="abc")


def letters(size: int) -> Vocabulary:
    """The alphabet of the first letters. Raises `ModelError` if there are not so many."""
    if size > len(ascii_letters):
        raise ModelError(f"there are {len(ascii_letters)} letters for {size} tokens", fix="give a vocabulary")
    return alphabet(ascii_letters[:size])


def as_fraction(p: Rational) -> Fraction:
    return Fraction(int(p.numerator), int(p.denominator))  # NumPy's integers would wrap


def as_float(p: Any) -> float:
    """A number as a float; NaN for what is none."""
    try:
        return math.nan if isinstance(p, str) else float(p)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def number(x: Fraction | float) -> str:
    """A number for people: a fraction as it is unless it is long."""
    if isinstance(x, float):
        return f"{x:.12g}"
    short = max(abs(x.numerator), x.denominator) < 10**15
    return str(x) if short else f"{Decimal(x.numerator) / Decimal(x.denominator):.5g}"
