"""Token ids to batches: every row is one document from its start, or a piece of a long one.

A document becomes `[start] + tokens + [end]`. One longer than the context is cut, at another place in every
epoch. Rows of like length go together, padded on the right; padding is never a target. So what the
model sees in training is what it sees in use: a text from its beginning.
"""

from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

IGNORE = -100  # the target that cross-entropy leaves out

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


def pieces(rows: Sequence[NDArray[np.int64]], context: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Cut rows to at most `context + 1` tokens (inputs and targets overlap by one), at shifted places."""
    out: list[NDArray[np.int64]] = []
    for row in rows:
        start = 0
        if len(row) > context + 1:  # the first cut is anywhere in the first half context or later
            first = int(generator.integers(context // 2, context + 1))
            out.append(row[: first + 1])
            start = first
        while start < len(row) - 1:
            out.append(row[start : start + context + 1])
            start += context
    return out


def epoch(rows: Sequence[NDArray[np.int64]], context: int, tokens: int, generator: np.random.Generator) -> Iterator[Batch]:
    """Batches of about `tokens` tokens, padding included, each row of each document once: inputs and targets [B, T]."""
    cut = pieces(rows, context, generator)
    order = generator.permutation(len(cut))
    groups: list[list[NDArray[np.int64]]] = []
    for block in np.array_split(order, max(1, len(order) // 1024)):  # sorting inside blocks keeps epochs different
        group: list[NDArray[np.int64]] = []
        for index in sorted(block, key=lambda i: len(cut[i])):
            if group and (len(cut[index]) - 1) * (len(group) + 1) > tokens:
                groups.append(group)
                group = []
            group.append(cut[index])
        groups.append(group)
    for number in generator.permutation(len(groups)):
        yield padded(groups[number])


def padded(group: Sequence[NDArray[np.int64]]) -> Batch:
    width = max(map(len, group)) - 1
    inputs = np.zeros((len(group), width), np.int64)
    targets = np.full((len(group), width), IGNORE, np.int64)
    for i, row in enumerate(group):
        inputs[i, : len(row) - 1], targets[i, : len(row) - 1] = row[:-1], row[1:]
    return inputs, targets
