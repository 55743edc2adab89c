"""Batches: every token but a document's first is a target exactly once an epoch, after the token before it; padding never is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.train import batches
from ulam.train.batches import IGNORE, Batch, Row, epoch, grouped, padded, pieces


def rows_of(lengths: Iterable[int]) -> list[Row]:
    """Documents in which every place has a token id of its own, from 1; in a document they follow each other."""
    ends = np.cumsum([1, *lengths])
    return [np.arange(start, end) for start, end in pairwise(ends)]


def check_epoch(rows: Sequence[Row], made: Sequence[Batch], context: int, tokens: int) -> None:
    pairs: list[tuple[int, int]] = []
    for inputs, targets in made:
        assert inputs.shape == targets.shape
        assert inputs.shape[1] <= context
        assert inputs.size <= tokens or len(inputs) == 1
        real = targets != IGNORE
        assert (inputs[~real] == 0).all()  # padding
        assert not (np.diff(real.astype(int), axis=1) > 0).any()  # on the right only
        pairs += zip(inputs[real].tolist(), targets[real].tolist(), strict=True)
    assert sorted(pairs) == [(int(a), int(b)) for row in rows for a, b in pairwise(row)]


LENGTHS = st.lists(st.integers(2, 90), min_size=1, max_size=30)


@given(LENGTHS, st.integers(8, 40), st.integers(8, 200), st.integers(0, 99))
def test_every_token_is_a_target_once(lengths: list[int], context: int, tokens: int, seed: int) -> None:
    rows = rows_of(lengths)
    check_epoch(rows, list(epoch(rows, context, tokens, np.random.default_rng(seed))), context, tokens)


@given(LENGTHS, st.integers(8, 40), st.one_of(st.none(), st.integers(0, 99)))
def test_pieces_overlap_by_one_token(lengths: list[int], context: int, seed: int | None) -> None:
    for row in rows_of(lengths):
        cut = pieces([row], context, None if seed is None else np.random.default_rng(seed))
        assert cut[0][0] == row[0]
        assert cut[-1][-1] == row[-1]
        assert all(before[-1] == after[0] for before, after in pairwise(cut))
        assert np.concatenate([cut[0], *(piece[1:] for piece in cut[1:])]).tolist() == row.tolist()
        assert all(2 <= len(piece) <= context + 1 for piece in cut)
        if len(row) > context + 1:
            assert context // 2 <= len(cut[0]) - 1 <= context
            assert seed is not None or len(cut[0]) - 1 == context


def test_an_epoch_cuts_and_orders_anew_and_a_seed_repeats_it() -> None:
    rows = rows_of([100] * 20)

    def made(seed: int) -> list[list[int]]:
        return [inputs[:, 0].tolist() for inputs, _ in epoch(rows, 16, 64, np.random.default_rng(seed))]

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert sorted(chain(*made(1))) != sorted(chain(*made(2)))  # other cuts, not only another order


def without_shift(group: Sequence[Row]) -> Batch:
    inputs, targets = padded(group)
    return inputs, np.where(targets == IGNORE, IGNORE, inputs)


def with_padding_counted(group: Sequence[Row]) -> Batch:
    inputs, targets = padded(group)
    return inputs, np.where(targets == IGNORE, 0, targets)


def without_the_end(group: Sequence[Row]) -> Batch:
    return padded([row[:-1] if len(row) > 2 else row for row in group])


def padded_on_the_left(group: Sequence[Row]) -> Batch:
    inputs, targets = padded(group)
    return inputs[:, ::-1], targets[:, ::-1]


@pytest.mark.parametrize("wrong", [without_shift, with_padding_counted, without_the_end, padded_on_the_left])
def test_wrong_targets_are_rejected(wrong: Callable[[Sequence[Row]], Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of([5, 9, 30, 70])
    check_epoch(rows, list(epoch(rows, 16, 64, np.random.default_rng(0))), 16, 64)
    monkeypatch.setattr(batches, "padded", wrong)
    with pytest.raises(AssertionError):
        check_epoch(rows, list(epoch(rows, 16, 64, np.random.default_rng(0))), 16, 64)


@pytest.mark.parametrize("step", [-1, 1])
def test_pieces_that_overlap_by_another_number_are_rejected(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(rows: Sequence[Row], context: int, generator: np.random.Generator) -> list[Row]:
        return [row[start : start + context + 1] for row in rows for start in range(0, len(row) - 1, context + step)]

    monkeypatch.setattr(batches, "pieces", wrong)
    rows = rows_of([5, 9, 30, 70])
    with pytest.raises(AssertionError):
        check_epoch(rows, list(epoch(rows, 16, 64, np.random.default_rng(0))), 16, 64)


def test_groups_hold_what_fits() -> None:
    rows = rows_of([3, 3, 3, 5, 9, 40])
    assert [[len(row) for row in group] for group in grouped(rows, 8)] == [[3, 3, 3], [5], [9], [40]]
