"""The probabilities that a model gives to texts that are known, prefix by prefix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from ..core.arrays import Array, finite_rows, log_softmax, to_numpy
from ..decode.recipe_model import RecipeModel
from ..models.protocol import LanguageModel, State
from .laws import Outcome
from .walk import failed_as

Prefix: TypeAlias = tuple[int, ...]

TOGETHER = 64
"""Prefixes that are evaluated in one call."""


def text_log_probs(model: LanguageModel, prompt: Prefix, outcomes: Iterable[Outcome]) -> dict[Outcome, float]:
    """Log-probability of each of some texts under a model, nats; one that has no next token has some if the model fails there too, and alike.

    Rows of logits are normalised in float64, whatever their type: the probabilities of all texts add to one within the
    rounding of float64, so that what is missing from one is the mass of other texts.
    """
    outcomes = list(outcomes)
    after = branches(outcomes)
    found: dict[Prefix, float] = {(): 0.0}
    failed: set[Outcome] = set()
    for batch in in_batches([*after, *(outcome.tokens for outcome in outcomes if outcome.failed)]):
        state, logits = read(model, prompt, batch)
        z = to_numpy(logits).astype(np.float64)
        with np.errstate(all="ignore"):  # a row that fails gives nothing to any token
            log_probs = np.where(finite_rows(z)[:, None], log_softmax(z), -np.inf)
        failed |= {Outcome(batch[row], failed_as(state, row)) for row in np.flatnonzero(~finite_rows(z)).tolist()}
        model.release(state)
        for prefix, row in zip(batch, log_probs, strict=True):
            found |= {(*prefix, token): found[prefix] + float(row[token]) for token in after.get(prefix, ())}
    return {outcome: found[outcome.tokens] if not outcome.failed or outcome in failed else -np.inf for outcome in outcomes}


def read(model: LanguageModel, prompt: Prefix, prefixes: Sequence[Prefix]) -> tuple[State, Array]:
    """The model after a prompt and each of some texts, which count as generated where it makes a difference."""
    rows = [(*prompt, *prefix) for prefix in prefixes]
    return model.prefill(rows, generated=[*map(len, prefixes)]) if isinstance(model, RecipeModel) else model.prefill(rows)


def branches(outcomes: Iterable[Outcome]) -> dict[Prefix, set[int]]:
    """The tokens that follow each prefix of some texts."""
    found: dict[Prefix, set[int]] = defaultdict(set)
    for outcome in outcomes:
        for length, token in enumerate(outcome.tokens):
            found[outcome.tokens[:length]].add(token)
    return found


def in_batches(prefixes: Iterable[Prefix]) -> Iterator[list[Prefix]]:
    """Prefixes of one length, shortest first, some at a time."""
    lengths: dict[int, list[Prefix]] = defaultdict(list)
    for prefix in prefixes:
        lengths[len(prefix)].append(prefix)
    for length in sorted(lengths):
        for at in range(0, len(lengths[length]), TOGETHER):
            yield lengths[length][at : at + TOGETHER]
