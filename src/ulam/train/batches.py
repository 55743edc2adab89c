"""Token ids to batches: every row is one document from its start, or a piece of a long one.

A document becomes `[start] + tokens + [end]`. One longer than the context is cut, at another place in every
epoch. Rows of like length go together, padded on the right; padding is never a target. So what the
model sees in training is what it sees in use: a text from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

IGNORE = -100  # the target that cross-entropy leaves out

Row = NDArray[np.int64]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


def pieces(rows: Sequence[Row], context: int, generator: np.random.Generator | None = None) -> list[Row]:
    """Cut rows to at most `context + 1` tokens, each piece beginning with the last token of the one before.

    So every token but a row's first is a target once. The first cut of a long row is drawn from `generator`,
    between half a context and a whole one; without a generator it is a whole one.
    """
    out: list[Row] = []
    for row in rows:
        start = 0
        if generator is not None and len(row) > context + 1:
            start = int(generator.integers(context // 2, context + 1))
            out.append(row[: start + 1])
        while start < len(row) - 1:
            out.append(row[start : start + context + 1])
            start += context
    return out


def epoch(rows: Sequence[Row], context: int, tokens: int, generator: np.random.Generator) -> Iterator[Batch]:
    """Batches of about `tokens` tokens, padding included, all documents once: inputs and targets [B, T]."""
    cut = pieces(rows, context, generator)
    order = generator.permutation(len(cut))
    groups: list[list[Row]] = []
    for block in np.array_split(order, max(1, len(order) // 1024)):  # sorting inside blocks keeps epochs different
        groups += grouped(sorted((cut[i] for i in block), key=len), tokens)
    for number in generator.permutation(len(groups)):
        yield padded(groups[number])


def grouped(rows: Sequence[Row], tokens: int) -> list[list[Row]]:
    """Rows, shortest first, in groups that take at most `tokens` tokens when padded (or hold one row)."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and (len(row) - 1) * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def padded(group: Sequence[Row]) -> Batch:
    """One batch of rows: the target of each token is the one after it, and of padding nothing."""
    width = max(map(len, group)) - 1
    inputs = np.zeros((len(group), width), np.int64)
    targets = np.full((len(group), width), IGNORE, np.int64)
    for i, row in enumerate(group):
        inputs[i, : len(row) - 1], targets[i, : len(row) - 1] = row[:-1], row[1:]
    return inputs, targets
