"""Models whose state is the tokens of every row: tables, functions, and what remembers another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..core.arrays import Array
from ..core.vocabulary import Vocabulary
from .protocol import TokenIds
from .state import OnceState, row_numbers, token_ids

Prefix: TypeAlias = tuple[int, ...]
"""All tokens of a row, the prompt included; the empty one is legal."""


class PrefixState(OnceState):
    """The tokens of every row."""

    def __init__(self, rows: Sequence[Prefix]):
        self.rows = tuple(rows)


class PrefixModel:
    """The calls of a language model, for a model that answers every prefix by itself. Write `_read`."""

    vocabulary: Vocabulary
    context_limit: int | None = None
    capabilities = frozenset({"batch_invariant"})

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[PrefixState, Array]:
        """State and logits [B, V] of B prompts. Raises `TokenOutOfRange`."""
        rows = [tuple(token_ids(prompt, len(self.vocabulary)).tolist()) for prompt in prompts]
        return PrefixState(rows), self._read(rows)

    def step(self, state: PrefixState, tokens: Sequence[int] | Array) -> tuple[PrefixState, Array]:
        """Logits [B, V] after one more token a row; consumes `state`. Raises `StaleState`, `TokenOutOfRange`."""
        state.check()
        ids = token_ids(tokens, len(self.vocabulary), len(state.rows)).tolist()
        rows = [(*prefix, token) for prefix, token in zip(state.rows, ids, strict=True)]
        logits = self._read(rows)
        self.release(state)
        return PrefixState(rows), logits

    def select(self, state: PrefixState, rows: Sequence[int] | Array) -> PrefixState:
        """Row i of the result is row `rows[i]`. Raises `StaleState`."""
        state.check()
        return PrefixState([state.rows[i] for i in row_numbers(rows, len(state.rows))])

    def release(self, state: PrefixState) -> None:
        state.live = False

    def _read(self, prefixes: Sequence[Prefix]) -> Array:
        """Logits [B, V] of the next token after every prefix, in an array that nobody else holds."""
        raise NotImplementedError  # abstract
