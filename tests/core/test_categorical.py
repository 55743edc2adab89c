"""A distribution read off its logits: laws that hold for every row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import Rows, rows
from ulam.core.categorical import Categorical


def test_known_numbers() -> None:
    abc = Categorical.of(np.log([0.5, 0.25, 0.25]))
    assert abc.probs == pytest.approx([0.5, 0.25, 0.25], abs=1e-16)
    assert abc.log_probs == pytest.approx([-math.log(2), -2 * math.log(2), -2 * math.log(2)], abs=1e-15)
    assert abc.entropy == pytest.approx(1.5 * math.log(2), abs=1e-15)
    assert abc.entropy_bits == pytest.approx(1.5, abs=1e-15)
    assert repr(abc) == "Categorical(3 of 3 tokens kept, 1.500 bits; 0: 0.5, 1: 0.25, 2: 0.25)"


@given(rows(), st.sampled_from([-100.0, -1.0, 0.5, 64.0]))
def test_a_constant_added_to_the_logits_changes_nothing(row: Rows, c: float) -> None:
    moved, still = Categorical.of(row + c), Categorical.of(row)
    assert np.array_equal(moved.support, still.support)
    # adding c rounds a logit by at most half a unit in the last place of 1e4 + 100
    assert np.allclose(moved.probs, still.probs, rtol=0, atol=1e-11)


@given(rows())
def test_probabilities_add_to_one_and_the_entropy_is_theirs(row: Rows) -> None:
    d = Categorical.of(row)
    assert math.fsum(d.probs) == pytest.approx(1, abs=1e-14)
    assert np.array_equal(d.support, row > -np.inf)
    assert 0 <= d.entropy <= math.log(d.support.sum()) + 1e-12
    assert d.entropy == pytest.approx(-math.fsum(p * math.log(p) for p in d.probs if p > 0), abs=1e-13)


@given(rows(2, 9))
def test_the_order_of_probabilities_is_the_order_of_logits(row: Rows) -> None:
    by_logit = np.argsort(row, kind="stable")
    assert np.all(np.diff(Categorical.of(row).probs[by_logit]) >= 0)


@given(rows(2, 9), st.data())
def test_cutting_a_row_moves_mass_by_what_was_cut(row: Rows, data: st.DataObject) -> None:
    """A set S kept from p gives q with KL(q||p) = -ln p(S) and total variation 1 - p(S)."""
    p = Categorical.of(row)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row)))) & (p.probs > 1e-6)
    if not kept.any():
        kept = p.probs == p.probs.max()
    q = Categorical.of(np.where(kept, row, -np.inf))
    mass = math.fsum(p.probs[kept])
    divergence = math.fsum(q.probs[i] * (q.log_probs[i] - p.log_probs[i]) for i in np.flatnonzero(kept))
    assert divergence == pytest.approx(-math.log(mass), abs=1e-11)
    assert np.abs(q.probs - p.probs).sum() / 2 == pytest.approx(1 - mass, abs=1e-11)


def test_rows_of_a_batch_are_rows() -> None:
    z = np.array([[0.0, 1.0, -np.inf], [3.0, 3.0, 3.0]])
    both = Categorical.of(z)
    for b in range(2):
        one = Categorical.of(z[b])
        assert both.probs[b].tobytes() == one.probs.tobytes()
        assert both.log_probs[b].tobytes() == one.log_probs.tobytes()
        assert both.entropy[b] == one.entropy
    assert repr(both) == "Categorical(2 rows over 3 tokens)"


def test_a_token_too_unlikely_for_a_number_is_still_possible() -> None:
    d = Categorical.of(np.array([0.0, -800.0, -np.inf]))
    assert d.probs.tolist() == [1.0, 0.0, 0.0]
    assert d.support.tolist() == [True, True, False]


def test_half_precision_is_read_as_single_and_torch_stays_torch() -> None:
    z = torch.asarray([0.0, 1.0, 2.0], dtype=torch.float16)
    d = Categorical.of(z)
    assert d.log_probs.dtype == torch.float32
    assert d.probs.numpy() == pytest.approx(Categorical.of(np.array([0.0, 1.0, 2.0])).probs, abs=1e-7)
    assert float(d.entropy) == pytest.approx(float(Categorical.of(np.array([0.0, 1.0, 2.0])).entropy), abs=1e-6)


def test_the_argument_is_not_written_to() -> None:
    z = np.array([1.0, 2.0, -np.inf])
    Categorical.of(z)
    assert z.tolist() == [1.0, 2.0, -np.inf]
