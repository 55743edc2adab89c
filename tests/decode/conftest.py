"""A model given by a table, which keeps count of its states; the law of a table by a walk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import ulam
from ulam.core.errors import StaleState
from ulam.core.vocabulary import Vocabulary

Prefix = tuple[int, ...]
Probs = Sequence[float]


class TreeState:
    def __init__(self, rows: list[Prefix]):
        self.rows, self.stepped, self.released = rows, False, 0


class Tree:
    """Probabilities of the next token by prefix, the prompt included. Remembers its calls and its states.

    rows      a table or a function; a prefix that a table lacks is even
    tokens    bytes of every token
    """

    name, fingerprint, capabilities = "tree", "tree-1", frozenset({"batch_invariant"})

    def __init__(
        self,
        rows: Mapping[Prefix, Probs] | Callable[[Prefix], Probs],
        tokens: Sequence[bytes],
        *,
        ends: Sequence[int] = (),
        start: int | None = None,
        context_limit: int | None = None,
        logits: bool = False,
    ):
        self.after = rows if callable(rows) else lambda prefix: rows.get(prefix, [1 / len(tokens)] * len(tokens))
        ids = {token.decode("utf-8", "replace"): i for i, token in enumerate(tokens) if i not in ends}
        names = {i: f"<{i}>" for i, token in enumerate(tokens) if not token}
        self.vocabulary = Vocabulary(tokens, names=names, start=start, ends=ends, encode=lambda text: [ids[c] for c in text])
        self.context_limit, self.logits = context_limit, logits
        self.states: list[TreeState] = []
        self.calls: list[tuple[str, Any]] = []

    def read(self, rows: list[Prefix]) -> tuple[TreeState, Any]:
        state = TreeState(rows)
        self.states.append(state)
        table = np.array([self.after(row) for row in rows], dtype=np.float64)
        with np.errstate(divide="ignore"):
            return state, table if self.logits else np.log(table)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[TreeState, Any]:
        self.calls.append(("prefill", [tuple(prompt) for prompt in prompts]))
        return self.read([tuple(prompt) for prompt in prompts])

    def step(self, state: TreeState, tokens: Any) -> tuple[TreeState, Any]:
        self.check(state)
        self.calls.append(("step", len(tokens)))
        result = self.read([(*row, int(token)) for row, token in zip(state.rows, tokens, strict=True)])
        state.stepped = True
        return result

    def select(self, state: TreeState, rows: Any) -> TreeState:
        self.check(state)
        self.calls.append(("select", [int(i) for i in rows]))
        self.states.append(TreeState([state.rows[int(i)] for i in rows]))
        return self.states[-1]

    def release(self, state: TreeState) -> None:
        self.calls.append(("release", len(state.rows)))
        state.released += 1

    def check(self, state: TreeState) -> None:
        if state.stepped or state.released:
            raise StaleState("this state was stepped or released")

    def asked(self, kind: str) -> list[Any]:
        return [what for name, what in self.calls if name == kind]


def assert_given_back(model: Tree) -> None:
    """Every state was either stepped or released, and released no more than once."""
    assert [(state.rows, state.stepped, state.released) for state in model.states if state.stepped + state.released != 1] == []


def law_of(procedure: Callable[[Any], Any]) -> dict[Any, float]:
    """The whole law of what a procedure returns, with the noise of the loop replaced and nothing else."""
    return dict(ulam.law(procedure, of=lambda result: result))


def distance(one: Mapping[Any, float], other: Mapping[Any, float]) -> float:
    """Total variation."""
    return math.fsum(abs(one.get(x, 0) - other.get(x, 0)) for x in one.keys() | other.keys()) / 2


def shown(sample: Any) -> tuple[Any, ...]:
    """What is compared of a sample."""
    return sample.tokens, sample.text, sample.finish_reason, sample.stopped_by


def walk(
    model: Tree, prompt: Prefix, shape: Callable[[Probs, Prefix], Probs], max_tokens: int, stop: Sequence[str] = ()
) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Mass and model log-probability of every leaf, by walking the table: a leaf is an end token, a stop string in the text, or the limit."""
    leaves: dict[tuple[Any, ...], tuple[float, float]] = {}
    inner: list[tuple[Prefix, float, float]] = [((), 1.0, 0.0)]
    vocabulary = model.vocabulary
    while inner:
        prefix, mass, log_prob = inner.pop()
        probs = model.after((*prompt, *prefix))
        for token, q in enumerate(shape(probs, prefix)):
            if not q:
                continue
            tokens = (*prefix, token)
            text = b"".join(vocabulary.tokens[t] for t in tokens if t not in vocabulary.ends).decode("utf-8", "replace")
            ended = [(text.find(word) + len(word), text.find(word), word) for word in stop if word in text]
            entry = mass * q, log_prob + math.log(probs[token])
            if token in vocabulary.ends:
                leaves[tokens, text, "stop", f"<{token}>"] = entry
            elif ended:
                _, at, word = min(ended)
                leaves[tokens, text[:at], "stop", word] = entry
            elif len(tokens) == max_tokens:
                leaves[tokens, text, "length", None] = entry
            else:
                inner.append((tokens, *entry))
    return leaves
