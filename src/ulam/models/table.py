"""Models small enough to write down: every law about them can be worked out by hand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from string import ascii_letters
from typing import SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array
from ..core.errors import ModelError, UsageError
from ..core.vocabulary import Vocabulary
from .protocol import TokenIds
from .state import OnceState, row_numbers, token_ids

Prefix: TypeAlias = tuple[int, ...]

Row: TypeAlias = Sequence[SupportsFloat]
"""Probabilities of the next token, one a token: floats or fractions."""


def digest(*parts: object) -> str:
    """A short sha256 of plain values: tuples, lists, numbers and bytes."""
    return f"sha256:{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def alphabet(characters: str, *, end: str | None = None) -> Vocabulary:
    """A vocabulary in which every character is a token; with `end`, one more token, so written, ends a text.

    `alphabet("xy", end="$")` has x = 0, y = 1 and the end token 2. Encoding a text with any other character
    raises `UsageError`.
    """
    ids = {character: i for i, character in enumerate(characters)}

    def encode(text: str) -> list[int]:
        for character in text:
            if character not in ids:
                raise UsageError(f"{character!r} is not in the alphabet of this model: {', '.join(characters)}", fix="write the text in these characters alone")
        return [ids[character] for character in text]

    tokens = [character.encode() for character in characters]
    if end is None:
        return Vocabulary(tokens, encode=encode)
    return Vocabulary([*tokens, b""], names={len(tokens): end}, ends=[len(tokens)], encode=encode)


class TableState(OnceState):
    """The tokens of every row."""

    def __init__(self, rows: Sequence[Prefix]):
        self.rows = tuple(rows)


class Table:
    """A model given by its probabilities.

    rows        the next token's probabilities after a prefix, by prefix: `{(): (0.5, 0.5), (0,): (1, 0)}`.
                A prefix is all tokens of a row, the prompt included; the empty one is legal.
    vocabulary  the V tokens; `alphabet("ab")` makes one
    otherwise   a function from prefix to probabilities, for every prefix that is not in `rows`
    fingerprint what stands for the probabilities in a record. Without it: a hash of vocabulary and rows, the same
                everywhere; with `otherwise`, which cannot be hashed, a random one that this object alone has

    Probabilities are V numbers, none negative, that add to one within 1e-9. Logits are their logarithms, float64 [B, V];
    `-inf` for 0. Raises `ModelError` for a row that is no distribution, or a prefix that has none.
    """

    context_limit: int | None = None
    capabilities = frozenset({"batch_invariant"})

    def __init__(
        self,
        rows: Mapping[Prefix, Row],
        vocabulary: Vocabulary,
        *,
        otherwise: Callable[[Prefix], Row] | None = None,
        name: str = "table",
        fingerprint: str | None = None,
    ):
        self.name, self.vocabulary, self._otherwise = name, vocabulary, otherwise
        self._fingerprint = fingerprint if fingerprint or not otherwise else f"object:{os.urandom(8).hex()}"
        self._rows = {tuple(vocabulary.check(i) for i in prefix): self._logits(prefix, row) for prefix, row in rows.items()}

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is None:
            rows = sorted((prefix, row.tolist()) for prefix, row in self._rows.items())
            self._fingerprint = digest(self.vocabulary.tokens, self.vocabulary.ends, rows)
        return self._fingerprint

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {len(self.vocabulary)} tokens)"

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[TableState, Array]:
        """State and logits [B, V] of B prompts. Raises `TokenOutOfRange`."""
        return self._read([tuple(token_ids(prompt, len(self.vocabulary)).tolist()) for prompt in prompts])

    def step(self, state: TableState, tokens: Sequence[int] | Array) -> tuple[TableState, Array]:
        """Logits [B, V] after one more token a row; consumes `state`. Raises `StaleState`, `TokenOutOfRange`."""
        state.check()
        ids = token_ids(tokens, len(self.vocabulary), len(state.rows)).tolist()
        result = self._read([(*prefix, token) for prefix, token in zip(state.rows, ids, strict=True)])
        state.live = False
        return result

    def select(self, state: TableState, rows: Sequence[int] | Array) -> TableState:
        """Row i of the result is row `rows[i]`. Raises `StaleState`."""
        state.check()
        return TableState([state.rows[i] for i in row_numbers(rows, len(state.rows))])

    def release(self, state: TableState) -> None:
        state.live = False

    def _read(self, prefixes: Sequence[Prefix]) -> tuple[TableState, Array]:
        logits = [self._after(prefix) for prefix in prefixes]
        return TableState(prefixes), np.stack(logits) if logits else np.zeros((0, len(self.vocabulary)))

    def _after(self, prefix: Prefix) -> NDArray[np.float64]:
        if prefix in self._rows:
            return self._rows[prefix]
        if self._otherwise is None:
            raise ModelError(f"{self.name} has no probabilities after the prefix {prefix}", fix="add the prefix to its rows, or a function: otherwise=...")
        return self._logits(prefix, self._otherwise(prefix))

    def _logits(self, prefix: Prefix, row: Row) -> NDArray[np.float64]:
        probs = np.array([float(p) for p in row])
        size = len(self.vocabulary)
        if len(probs) != size:
            raise ModelError(f"the probabilities after the prefix {prefix} are {len(probs)} numbers for {size} tokens", fix="one number a token")
        if not (probs >= 0).all():
            raise ModelError(f"the probabilities after the prefix {prefix} hold {probs[~(probs >= 0)][0]:g}", fix="numbers from 0 to 1")
        if not abs(fsum(probs) - 1) <= 1e-9:
            raise ModelError(f"the probabilities after the prefix {prefix} add to {fsum(probs):.12g}", fix="numbers that add to 1")
        return np.log(probs, where=probs > 0, out=np.full(size, -np.inf))


class IID(Table):
    """Independent tokens: the same probabilities after every prefix. The vocabulary is the letters a, b, c, ... if none is given."""

    def __init__(self, probs: Row, vocabulary: Vocabulary | None = None, *, name: str = "iid"):
        if vocabulary is None and len(probs) > len(ascii_letters):
            raise ModelError(f"there are {len(ascii_letters)} letters for {len(probs)} tokens", fix="give a vocabulary")
        vocabulary = vocabulary or alphabet(ascii_letters[: len(probs)])
        fingerprint = digest(vocabulary.tokens, vocabulary.ends, "iid", [float(p) for p in probs])
        super().__init__({}, vocabulary, otherwise=lambda prefix: probs, name=name, fingerprint=fingerprint)
        self._after(())


def abc() -> IID:
    """The lecture's model: tokens a, b, c with probabilities 1/2, 1/4, 1/4, whatever came before; no start and no end."""
    return IID((0.5, 0.25, 0.25), name="abc")
