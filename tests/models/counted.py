"""A table that remembers what it was asked, keeps count of its states, and can be made less reliable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ulam.core.errors import ContextOverflow, EmptyPrompt
from ulam.core.vocabulary import Vocabulary
from ulam.models import Table, alphabet
from ulam.models.prefixes import Prefix, PrefixState


def irregular(prefix: Prefix, size: int = 3) -> list[float]:
    """A row that differs for every prefix, no token impossible."""
    weight = np.random.default_rng([len(prefix), *prefix]).uniform(0.1, 1, size)
    return (weight / weight.sum()).tolist()


class Counted(Table):
    """Irregular rows over `abc`. `calls` are the prefixes of every evaluation by call, `states` all states there were.

    noisy   every evaluation adds another 2^-20 to the logits, as a model would whose sums have no fixed order
    limit   the context
    start   whether a prompt must have a token
    """

    def __init__(self, *, noisy: bool = False, limit: int | None = None, start: bool = False, vocabulary: Vocabulary | None = None):
        super().__init__({}, vocabulary or alphabet("abc"), otherwise=irregular)
        self.noisy, self.context_limit, self.start = noisy, limit, start
        self.calls: list[tuple[str, list[Prefix]]] = []
        self.states: list[PrefixState] = []

    @property
    def evaluated(self) -> list[Prefix]:
        return [prefix for _, prefixes in self.calls for prefix in prefixes]

    @property
    def live(self) -> int:
        """Rows of states that nobody has ended."""
        return sum(len(state.rows) for state in self.states if state.live)

    def read(self, kind: str, state: PrefixState, logits: Any) -> tuple[PrefixState, Any]:
        self.calls.append((kind, list(state.rows)))
        self.states.append(state)
        return state, logits + len(self.evaluated) * 2.0**-20 * self.noisy

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[PrefixState, Any]:
        for row, prompt in enumerate(prompts):
            if self.start and len(prompt) == 0:
                raise EmptyPrompt("an empty prompt", row=row)
            if self.context_limit is not None and len(prompt) > self.context_limit:
                raise ContextOverflow("a long prompt", row=row)
        return self.read("prefill", *super().prefill(prompts))

    def step(self, state: PrefixState, tokens: Any) -> tuple[PrefixState, Any]:
        if self.context_limit is not None and max(map(len, state.rows)) >= self.context_limit:
            raise ContextOverflow("a full row")
        return self.read("step", *super().step(state, tokens))

    def select(self, state: PrefixState, rows: Any) -> PrefixState:
        self.states.append(super().select(state, rows))
        return self.states[-1]
