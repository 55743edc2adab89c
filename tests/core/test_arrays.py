"""Reductions whose bits depend on the row alone, selections against a plain sort, and the same on NumPy and torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import Rows, rows
from ulam.core import arrays
from ulam.core.arrays import (
    as_logits,
    entropy,
    finite_rows,
    first_max,
    keep,
    log_softmax,
    reach,
    row_sum,
    softmax,
    sort_down,
    support,
    to_numpy,
    upper_set,
)

torch.set_num_threads(1)

WIDTHS = (1, 2, 3, 5, 8, 64, 1000, 4097)


def irregular(width: int, count: int = 7, dtype: type = np.float64) -> Rows:
    return np.random.default_rng(width).standard_normal((count, width)).astype(dtype) * 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", WIDTHS)
def test_row_sum_has_the_bits_of_the_row_alone(width: int, dtype: type) -> None:
    x = irregular(width, 64, dtype)
    whole = row_sum(x)
    strided = np.zeros((128, 2 * width), dtype)[::2, ::2]
    strided[:] = x
    mixed = np.random.default_rng(1).permutation(64)
    for b in (0, 31, 63):
        assert row_sum(x[b : b + 1]).tobytes() == whole[b : b + 1].tobytes()
    assert row_sum(x[:7]).tobytes() == whole[:7].tobytes()
    assert row_sum(x[mixed]).tobytes() == whole[mixed].tobytes()
    assert row_sum(strided).tobytes() == whole.tobytes()
    assert row_sum(np.asfortranarray(x)).tobytes() == whole.tobytes()
    assert row_sum(torch.asarray(x)).numpy().tobytes() == whole.tobytes()
    torch.set_num_threads(2)
    assert row_sum(torch.asarray(x)).numpy().tobytes() == whole.tobytes()
    torch.set_num_threads(1)


def test_a_plain_sum_would_not_do() -> None:
    """The test above can fail: NumPy's own sum of a row depends on how the row lies in memory."""
    x = irregular(1000, 64, np.float32)
    assert np.asfortranarray(x).sum(axis=-1).tobytes() != x.sum(axis=-1).tobytes()


@pytest.mark.parametrize("width", WIDTHS)
def test_row_sum_is_a_sum(width: int) -> None:
    x = irregular(width)
    exact = [math.fsum(row) for row in x]
    scale = np.abs(x).sum(axis=-1)
    # halving the row log2 V times rounds each number at most log2 V + 1 times
    assert np.all(np.abs(row_sum(x)[:, 0] - exact) <= (math.log2(width) + 1) * 2.0**-53 * scale)


def test_row_sum_of_integers_is_exact() -> None:
    for width in range(1, 40):
        assert row_sum(np.arange(2 * width, dtype=np.float64).reshape(2, width))[:, 0].tolist() == [sum(range(width)), sum(range(width, 2 * width))]


@given(rows(), st.integers(0, 14))
def test_upper_set_is_the_first_of_a_sort_by_value_then_id(row: Rows, count: int) -> None:
    first = sorted(range(len(row)), key=lambda i: (-row[i], i))[: max(1, min(count, len(row)))]
    wanted = [i in first for i in range(len(row))]
    assert upper_set(row[None, :], count)[0].tolist() == wanted
    assert upper_set(torch.asarray(row)[None, :], count)[0].tolist() == wanted


@given(st.lists(rows(4, 4), min_size=1, max_size=5), st.data())
def test_upper_set_takes_a_count_a_row(batch: list[Rows], data: st.DataObject) -> None:
    counts = np.array(data.draw(st.lists(st.integers(1, 4), min_size=len(batch), max_size=len(batch))))
    whole = upper_set(np.stack(batch), counts[:, None])
    assert whole.tolist() == [upper_set(row[None, :], int(count))[0].tolist() for row, count in zip(batch, counts, strict=True)]


@given(rows())
def test_softmax_and_its_logarithm(row: Rows) -> None:
    """Against sums that lose nothing. The tolerance is a few units in the last place of a sum of twelve."""
    weights = [math.exp(x - row.max()) for x in row]
    wanted = np.array(weights) / math.fsum(weights)
    assert np.allclose(softmax(row[None, :])[0], wanted, rtol=1e-14, atol=0)
    found = log_softmax(row[None, :])[0]
    assert np.array_equal(found > -np.inf, row > -np.inf)
    assert np.allclose(np.exp(found), wanted, rtol=1e-12, atol=1e-300)
    assert found.max() <= 0
    assert np.allclose(torch.softmax(torch.asarray(row), -1).numpy(), softmax(torch.asarray(row)[None, :])[0].numpy(), rtol=1e-14, atol=0)


@given(rows())
def test_entropy_leaves_out_what_is_forbidden(row: Rows) -> None:
    p = softmax(row[None, :])[0]
    wanted = -math.fsum(x * math.log(x) for x in p if x > 0)
    assert entropy(log_softmax(row[None, :])).item() == pytest.approx(wanted, abs=1e-13)
    assert entropy(log_softmax(torch.asarray(row)[None, :])).item() == pytest.approx(wanted, abs=1e-13)


def test_entropy_of_equal_tokens_and_of_one() -> None:
    assert entropy(log_softmax(np.zeros((1, 8)))).item() == pytest.approx(3 * math.log(2), abs=1e-15)
    assert entropy(log_softmax(np.array([[-np.inf, 4.0]]))).tolist() == [[0.0]]


def test_keep_changes_no_bit_of_what_it_keeps() -> None:
    z = np.array([[0.1, -0.0, 1e-320, -np.inf]])
    kept = keep(z, np.array([[True, True, True, True]]))
    assert kept.tobytes() == z.tobytes()
    assert keep(z, np.array([[False, True, False, True]])).tolist() == [[-np.inf, -0.0, -np.inf, -np.inf]]


def test_small_helpers_agree_on_both_libraries() -> None:
    z = np.array([[2.0, 5.0, 5.0, -np.inf], [7.0, -1.0, 7.0, 3.0]])
    for x in (z, torch.asarray(z)):
        assert first_max(x).tolist() == [1, 0]
        assert support(x).tolist() == [[True, True, True, False], [True] * 4]
        assert sort_down(x).tolist() == [[5, 5, 2, -np.inf], [7, 7, 3, -1]]
        assert to_numpy(arrays.is_token(x, first_max(x))).astype(int).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
        assert to_numpy(arrays.take_rows(x, [1, 1])).tolist() == [z[1].tolist()] * 2
        assert arrays.take_columns(x, np.array([1, 3])).tolist() == [5.0, 3.0]
        assert arrays.row_max(x).tolist() == [[5.0], [7.0]]


def test_how_many_tokens_reach_a_share_of_the_mass() -> None:
    weights = np.array([[4.0, 2.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    for each in (weights, torch.asarray(weights)):
        assert reach(each, 0.75, 0.0).tolist() == [[2], [3]]
        assert reach(each, np.array([0.5, 0.0]), 0.0).tolist() == [[1], [1]]
        assert reach(each, np.array([1.0, 0.76]), 0.0).tolist() == [[4], [4]]
        assert reach(each, 0.76, 0.02).tolist() == [[2], [3]]  # the slack keeps, and no more than it says
    single = torch.asarray([[1.0, 2.0**-24, 1.0]], dtype=torch.float32)
    assert reach(single, 0.5 + 2.0**-27, 0.0).tolist() == [[2]]  # added in float64: in float32 the second token would add nothing


@pytest.mark.parametrize(
    ("given", "dtype"),
    [([1, 2], "float64"), (np.array([1, 2]), "float64"), (np.array([1, 2], np.float32), "float32"), (np.array([1, 2], np.float16), "float32")],
)
def test_logits_have_at_least_single_precision(given: object, dtype: str) -> None:
    z = as_logits(given)
    assert arrays.dtype_name(z) == dtype
    assert z.tolist() == [1.0, 2.0]


def test_logits_of_torch_keep_their_library() -> None:
    assert arrays.dtype_name(as_logits(torch.asarray([1.0, 2.0], dtype=torch.bfloat16))) == "float32"
    assert arrays.dtype_name(as_logits(torch.asarray([1, 2]))) == "float64"
    assert as_logits(torch.zeros(4, 6)[:, ::2]).is_contiguous()


def test_slack_is_that_of_the_type() -> None:
    assert arrays.slack(np.zeros(1)) == 2.0**-40
    assert arrays.slack(np.zeros(1, np.float32)) == arrays.slack(torch.zeros(1)) == 2.0**-20


def test_rows_that_can_be_drawn_from() -> None:
    z = np.array([[0.0, -np.inf], [np.nan, 0.0], [-np.inf, -np.inf], [np.inf, 0.0], [-1e308, -np.inf]])
    assert finite_rows(z).tolist() == [True, False, False, False, True]
    assert finite_rows(torch.asarray(z)).tolist() == [True, False, False, False, True]
