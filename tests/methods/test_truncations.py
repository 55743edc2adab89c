"""The truncations by threshold and by shape, and the reshapings: against their definitions token by token, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.methods import reference_truncations as reference
from tests.methods.test_against_reference import applied, shares
from tests.methods.test_transforms import INF, run, stage
from tests.strategies import Rows, rows
from ulam.core.errors import OutOfRange

below_one = shares.filter(lambda x: x < 1)
deviations = st.sampled_from([1e-9, 0.5, 1.0, 1.5, 2.0, 100.0, 1e300, INF]) | st.floats(0.01, 10)

# ---- against the definitions


@given(rows(), shares)
def test_top_a(row: Rows, a: float) -> None:
    assert applied("top_a", row, a=a) == reference.top_a(row.tolist(), a)


@given(rows(), below_one)
def test_epsilon_cutoff(row: Rows, e: float) -> None:
    assert applied("epsilon_cutoff", row, e=e) == reference.epsilon_cutoff(row.tolist(), e)


@given(rows(), below_one)
def test_eta_cutoff(row: Rows, e: float) -> None:
    assert applied("eta_cutoff", row, e=e) == reference.eta_cutoff(row.tolist(), e)


@given(rows(), deviations)
def test_top_n_sigma(row: Rows, n: float) -> None:
    assert applied("top_n_sigma", row, n=n) == reference.top_n_sigma(row.tolist(), n)


@given(rows(), st.booleans())
def test_p_less(row: Rows, norm: bool) -> None:
    assert applied("p_less", row, norm=norm) == reference.p_less(row.tolist(), norm)


# ---- edges


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["top_a", "epsilon_cutoff", "eta_cutoff"])
def test_a_threshold_too_small_for_float32_is_not_zero(name: str, dtype: type) -> None:
    """e^-99 lies above 1e-60 and e^-299 below, and the most likely token has probability 1 to rounding."""
    assert run(name, [-99.0, 0.0, -299.0], 1e-60, dtype=dtype) == [-99.0, 0.0, -INF]


@pytest.mark.parametrize("scale", np.linspace(-40, 40, 81) / 7)
def test_a_threshold_met_through_a_logarithm_counts_as_met(scale: float) -> None:
    """Probabilities 1/2, 1/4, 1/8, 1/8 on rows whose numbers went through a logarithm and a shift."""
    row = [math.log(x) + scale for x in (0.125, 0.5, 0.25, 0.125)]
    assert run("epsilon_cutoff", row, 0.125) == row
    assert run("top_a", row, 0.5) == row
    assert run("eta_cutoff", row, 0.125) == row


@pytest.mark.parametrize("width", [2, 3, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_flat_row_is_left_alone(width: int, dtype: type) -> None:
    """Every token is at the threshold, and rounding decides nothing."""
    row = [0.3] * width
    for make in (stage("p_less"), stage("p_less", True), stage("eta_cutoff", 1 - 1e-9), stage("top_a", 1), stage("top_n_sigma", 1e-3)):
        given = np.array([row], dtype)
        assert np.array_equal(make(given), given)


def test_eta_falls_with_the_entropy_and_epsilon_does_not() -> None:
    """A hundred tokens of 0.01 each: below e = 0.02, but not below sqrt(0.02) / 100."""
    row = [0.0] * 100
    assert run("eta_cutoff", row, 0.02) == row
    assert run("epsilon_cutoff", row, 0.02) == [0.0] + [-INF] * 99


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1e-300, 1e-3, 1.0, 1e300])
def test_sigma_of_a_row_of_any_size(n: float, dtype: type) -> None:
    """Two logits 2 a apart: sigma = a, so from n = 2 on both stay. Nothing overflows."""
    for size in (1e-30, 1.0, 1e30):
        assert run("top_n_sigma", [-size, size], n, dtype=dtype)[0] == (np.array([-size], dtype)[0] if n >= 2 or size < 1e-20 else -INF)


@pytest.mark.parametrize("n", [0, -1])
def test_off_in_other_engines_is_an_error_that_names_inf(n: float) -> None:
    with pytest.raises(OutOfRange, match="To switch it off: inf"):
        stage("top_n_sigma", n)
