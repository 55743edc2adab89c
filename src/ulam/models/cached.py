"""A model that remembers: every prefix is evaluated once, and has the same logits for good."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from ..core.arrays import Array, as_logits, namespace, take_rows
from ..core.errors import UlamError, UsageError
from .prefixes import Prefix, PrefixModel
from .protocol import LanguageModel, State, refuse_engine

STATES = 64
"""Rows of the inner model whose state is kept, from which the next token is a single step."""


class Kept:
    """A state of the inner model, and the row of every prefix in it."""

    def __init__(self, state: State, prefixes: Sequence[Prefix]):
        self.state = state
        self.row = {prefix: i for i, prefix in enumerate(prefixes)}


class CachedModel(PrefixModel):
    """`model` with its logits remembered by token tuple, so that equal tokens have equal logits, bit for bit.

    model        any language model; name, vocabulary, context limit, fingerprint and, if it is a table, `probs` are its own
    max_entries  rows of logits kept, the least recently used go first; about 2^28 bytes of float64 rows if left out.
                 A row that was dropped is evaluated anew, by a way that may round differently

    A state holds token tuples only. What a prefix needs is a step from the inner state of the prefix before it, if that is
    one of the last `STATES` rows, else a prefill; rows of one call go together where their states are together. `misses`
    counts the prefixes that were evaluated. Errors are those of `model`. Raises `UsageError` for a model whose rows depend on
    more than their tokens (a recipe that tells prompt and generated apart).
    """

    def __init__(self, model: LanguageModel, max_entries: int | None = None):
        refuse_engine(model)
        if max_entries is None:
            max_entries = max(1, 2**28 // (8 * len(model.vocabulary)))
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
            raise UsageError(f"max_entries={max_entries!r} is not a number of rows", fix="a whole number from 1 on")
        if getattr(model, "splits_history", False):
            what = f"{model.name} tells prompt and generated tokens apart, so a row of tokens has no one row of logits to remember"
            raise UsageError(what, fix="remember the model inside: RecipeModel(CachedModel(model), recipe)")
        self.model, self.max_entries, self.misses = model, max_entries, 0
        self.name, self.vocabulary, self.context_limit, self.fingerprint = model.name, model.vocabulary, model.context_limit, model.fingerprint
        self.capabilities = model.capabilities & {"batch_invariant"}
        if (probs := getattr(model, "probs", None)) is not None:
            self.probs = probs
        self._logits: OrderedDict[Prefix, Array] = OrderedDict()  # [1, V] each, least recently used first
        self._kept: list[Kept] = []  # least recently used first
        self._home: dict[Prefix, Kept] = {}

    def __repr__(self) -> str:
        return f"CachedModel({self.model!r}: {len(self._logits)} of {self.max_entries} rows kept)"

    def _read(self, prefixes: Sequence[Prefix]) -> Array:
        if not prefixes:
            return np.zeros((0, len(self.vocabulary)))
        found: dict[Prefix, Array] = {}
        missing: list[Prefix] = []
        for prefix in dict.fromkeys(prefixes):
            if prefix in self._logits:
                self._logits.move_to_end(prefix)
                found[prefix] = self._logits[prefix]
            else:
                missing.append(prefix)
        found |= self._evaluate(missing, prefixes)
        return namespace(found[prefixes[0]]).concat([found[prefix] for prefix in prefixes], axis=0)

    def _evaluate(self, missing: Iterable[Prefix], asked: Sequence[Prefix]) -> dict[Prefix, Array]:
        """Logits of prefixes that are not remembered, in as few calls as they need; an error names the row among those `asked`."""
        homes: dict[Kept | None, list[Prefix]] = {}
        for prefix in missing:
            homes.setdefault(self._home.get(prefix[:-1]) if prefix else None, []).append(prefix)
        found: dict[Prefix, Array] = {}
        for home, prefixes in homes.items():
            try:
                state, logits = self._step(home, prefixes) if home else self.model.prefill(prefixes)
            except UlamError as error:
                error.row = None if error.row is None else asked.index(prefixes[error.row])
                raise
            self.misses += len(prefixes)
            self._keep(Kept(state, prefixes))
            logits = as_logits(logits)
            for i, prefix in enumerate(prefixes):
                found[prefix] = self._logits[prefix] = take_rows(logits, [i])
        self._forget()
        return found

    def _step(self, home: Kept, prefixes: Sequence[Prefix]) -> tuple[State, Array]:
        """One token more than rows of a kept state have."""
        self._kept.remove(home)
        self._kept.append(home)
        fork = self.model.select(home.state, [home.row[prefix[:-1]] for prefix in prefixes])
        try:
            return self.model.step(fork, [prefix[-1] for prefix in prefixes])
        except BaseException:
            self.model.release(fork)
            raise

    def _keep(self, kept: Kept) -> None:
        self._kept.append(kept)
        self._home |= dict.fromkeys(kept.row, kept)

    def _forget(self) -> None:
        """Drop the oldest logits beyond `max_entries`, and release the oldest states beyond `STATES` rows in all, never the newest."""
        while len(self._logits) > self.max_entries:
            self._logits.popitem(last=False)
        while len(self._kept) > 1 and sum(len(kept.row) for kept in self._kept) > STATES:
            old = self._kept.pop(0)
            for prefix in old.row:
                if self._home.get(prefix) is old:
                    del self._home[prefix]
            self.model.release(old.state)
