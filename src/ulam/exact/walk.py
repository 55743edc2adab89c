"""The law of a model's texts by walking its tree: probabilities are multiplied along every branch, and no algorithm is run.

This is other code than the decode loop, so that the agreement of the two is evidence.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from math import fsum
from typing import Any, TypeAlias

import numpy as np

from ..core.arrays import Array, to_numpy
from ..decode.samples import failing
from ..models.protocol import LanguageModel, State
from ..recipe.draw import Failures
from .laws import Number, Outcome

Leaf: TypeAlias = tuple[Outcome, Number]
Branch: TypeAlias = tuple[tuple[int, ...], Number]
"""A text that goes on, and its probability."""

Level: TypeAlias = "Generator[Leaf | Level]"
"""What is below some branches: leaves, and levels in their turn."""

TOGETHER = 64
"""Branches that go through the model in one call."""


def leaves(model: LanguageModel, prompt: tuple[int, ...], max_tokens: int) -> Iterator[Leaf]:
    """Every text of the model and its probability, depth first: an end token, the limit or a full context makes a leaf.

    Fractions where the model gives them (`probs` of a table), else floats. A row that no token can be drawn from is a leaf too,
    with the reason that the loop gives it, "constraint" or "error".
    """
    room = max_tokens if model.context_limit is None else min(max_tokens, model.context_limit - len(prompt))
    if room == 0:
        yield Outcome((), "length"), Fraction(1)
        return
    # a stack, since generators inside generators would be as deep as a text is long
    levels = [below(model, prompt, room, *model.prefill([prompt]), [((), Fraction(1))])]
    try:
        while levels:
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
            elif isinstance(found, tuple):
                yield found
            else:
                levels.append(found)
    finally:
        for level in reversed(levels):
            level.close()


def below(model: LanguageModel, prompt: tuple[int, ...], room: int, state: State, logits: Array | None, branches: Sequence[Branch]) -> Generator[Leaf | Level]:
    """The leaves one token below some branches, and what is below the others. The branches are the rows of `state`, which is given
    back at the end; without `logits` their last tokens are still to be stepped.
    """
    try:
        if logits is None:
            state, logits = model.step(state, [text[-1] for text, _ in branches])
        for row, (prefix, mass) in enumerate(branches):
            probs = next_token(model, (*prompt, *prefix), to_numpy(logits)[row])
            if probs is None:
                yield Outcome(prefix, failed_as(state, row)), mass
                continue
            on: list[Branch] = []
            for token, p in enumerate(probs):
                text = (*prefix, token)
                if p and (token in model.vocabulary.ends or len(text) == room):
                    yield Outcome(text, "stop" if token in model.vocabulary.ends else "length"), mass * p
                elif p:
                    on.append((text, mass * p))
            for at in range(0, len(on), TOGETHER):
                part = on[at : at + TOGETHER]
                yield below(model, prompt, room, model.select(state, [row] * len(part)), None, part)
    finally:
        model.release(state)


def failed_as(state: State, row: int) -> str:
    """The reason that the loop gives for a row that no token can be drawn from, "constraint" or "error"."""
    failures: Failures = getattr(state, "failures", {})
    return failing(failures[row]) if row in failures else "error"


def next_token(model: LanguageModel, prefix: tuple[int, ...], logits: np.ndarray[Any, Any]) -> Sequence[Number] | None:
    """Probabilities of the next token, fractions if the model has them; None where the logits give none."""
    given = getattr(model, "probs", None)
    row = given(prefix) if given is not None else ()
    if row and all(isinstance(p, Fraction) for p in row):
        return row
    z = logits.astype(np.float64)
    if not np.isfinite(z.max()):
        return None
    weight = np.exp(z - z.max())
    return (weight / fsum(weight)).tolist()
