"""The law of a model's texts by walking its tree: probabilities are multiplied along every branch, and no algorithm is run.

This is other code than the decode loop, so that the agreement of the two is evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import fsum
from typing import Any, TypeAlias

import numpy as np

from ..core.arrays import to_numpy
from ..core.errors import InvalidLogits
from ..models.protocol import LanguageModel
from .law import Number, Outcome

Leaf: TypeAlias = tuple[Outcome, Number]


def leaves(model: LanguageModel, prompt: tuple[int, ...], max_tokens: int) -> Iterator[Leaf]:
    """Every text of the model and its probability, depth first: an end token, the limit or a full context makes a leaf.

    Fractions where the model gives them (`probs` of a table), else floats.
    """
    room = max_tokens if model.context_limit is None else min(max_tokens, model.context_limit - len(prompt))
    todo: list[tuple[tuple[int, ...], Number]] = [((), Fraction(1))]
    while todo:
        prefix, mass = todo.pop()
        if len(prefix) == room:
            yield Outcome(prefix, "length"), mass
            continue
        after: list[tuple[tuple[int, ...], Number]] = []
        for token, p in next_token(model, (*prompt, *prefix)):
            if token in model.vocabulary.ends:
                yield Outcome((*prefix, token), "stop"), mass * p
            else:
                after.append(((*prefix, token), mass * p))
        todo += reversed(after)


def next_token(model: LanguageModel, prefix: tuple[int, ...]) -> Iterator[tuple[int, Any]]:
    """The tokens that may come next, and their probabilities."""
    given = getattr(model, "probs", None)
    row = given(prefix) if given is not None else ()
    if not row or not all(isinstance(p, (int, Fraction)) for p in row):
        state, logits = model.prefill([prefix])
        model.release(state)
        z = to_numpy(logits)[0].astype(np.float64)
        if not np.isfinite(z.max()):
            raise InvalidLogits("the logits hold NaN, +inf or no finite entry", position=len(prefix))
        weight = np.exp(z - z.max())
        row = (weight / fsum(weight)).tolist()
    return ((token, p) for token, p in enumerate(row) if p)
