"""Several tokens a row at once: for scoring a text, and for verifying a draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.arrays import Array, namespace
from .protocol import LanguageModel, State, TokenIds
from .state import token_rows


def extend(model: LanguageModel, state: State, tokens: Sequence[TokenIds] | Array) -> tuple[State, Array]:
    """The state after K more tokens a row, ids [B, K], and the logits [B, K, V] after each of them. Consumes `state`.

    The model's own `extend` if it has the capability, else K steps, after which nothing is left of a state if one of them
    fails. Raises `StaleState`, `TokenOutOfRange`, `ContextOverflow`, and `UsageError` for rows of unequal length.
    """
    if "extend" in model.capabilities:
        own: Any = model
        return own.extend(state, tokens)
    size = len(model.vocabulary)
    ids = token_rows(tokens, size)
    found: list[Array] = []
    try:
        for column in ids.T:
            state, logits = model.step(state, column)
            found.append(logits)
    except BaseException:
        model.release(state)
        raise
    return state, namespace(found[0]).stack(found, axis=1) if found else np.zeros((*ids.shape, size))
