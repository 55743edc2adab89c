"""The truncations by threshold and by shape, and the reshapings: against their definitions token by token, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.methods import reference
from tests.methods import reference_truncations as slow
from tests.methods.test_against_reference import applied, shares
from tests.methods.test_transforms import INF, run, stage
from tests.strategies import Rows, rows
from ulam.core.errors import OutOfRange
from ulam.core.method import stack
from ulam.recipe import Recipe

below_one = shares.filter(lambda x: x < 1)
deviations = st.sampled_from([1e-9, 0.5, 1.0, 1.5, 2.0, 100.0, 1e300, INF]) | st.floats(0.01, 10)

# ---- against the definitions


@given(rows(), shares)
def test_top_a(row: Rows, a: float) -> None:
    assert applied("top_a", row, a=a) == slow.top_a(row.tolist(), a)


@given(rows(), below_one)
def test_epsilon_cutoff(row: Rows, e: float) -> None:
    assert applied("epsilon_cutoff", row, e=e) == slow.epsilon_cutoff(row.tolist(), e)


@given(rows(), below_one)
def test_eta_cutoff(row: Rows, e: float) -> None:
    assert applied("eta_cutoff", row, e=e) == slow.eta_cutoff(row.tolist(), e)


@given(rows(), deviations)
def test_top_n_sigma(row: Rows, n: float) -> None:
    assert applied("top_n_sigma", row, n=n) == slow.top_n_sigma(row.tolist(), n)


@given(rows(), st.booleans())
def test_p_less(row: Rows, norm: bool) -> None:
    assert applied("p_less", row, norm=norm) == slow.p_less(row.tolist(), norm)


@given(rows(), shares)
def test_tail_free(row: Rows, share: float) -> None:
    bent = sum(slow.bends(row.tolist()))
    assume(bent == 0 or bent > 1e-3)  # shares of almost nothing are rounding
    assert applied("tail_free", row, z=share) == slow.tail_free(row.tolist(), share)


@given(rows(), shares)
def test_top_h(row: Rows, a: float) -> None:
    assert applied("top_h", row, a=a) == slow.top_h(row.tolist(), a)


@given(rows(), st.sampled_from([0.0, 1e-9, 0.3, 1.0, 20.0]) | st.floats(0, 5), st.floats(1, 3))
def test_smoothing(row: Rows, factor: float, curve: float) -> None:
    found, wanted = applied("smoothing", row, factor=factor, curve=curve), slow.smoothing(row.tolist(), factor, curve)
    assert np.allclose(found, wanted, rtol=1e-12, atol=1e-9)


@given(rows(), st.sampled_from([-20.0, -1.0, 0.0, 0.5, math.log(2.0), 3.0]) | st.floats(-5, 5))
def test_skew(row: Rows, x: float) -> None:
    found = reference.probabilities(applied("skew", row, x=x))
    assert np.allclose(found, slow.skew(row.tolist(), x), rtol=0, atol=1e-12)


temperatures = st.sampled_from([0.0, 0.3, 1.0, 1.7]) | st.floats(0.1, 5)


@given(rows(), temperatures, temperatures, st.sampled_from([0.0, 0.5, 1.0, 2.0, 10.0]))
def test_dynamic_temperature(row: Rows, low: float, high: float, exponent: float) -> None:
    assume(np.abs(row[row > -np.inf]).max() <= 1e3)
    found, wanted = applied("dynamic_temperature", row, low=low, high=high, exponent=exponent), slow.dynamic_temperature(row.tolist(), low, high, exponent)
    assert np.allclose(reference.probabilities(found), reference.probabilities(wanted), rtol=0, atol=1e-9)


# ---- what the claims do not say


@given(rows(), st.lists(st.floats(-20, 20), min_size=2, max_size=2))
def test_skew_never_lowers_the_mean_place_as_x_grows(row: Rows, ends: list[float]) -> None:
    places = np.argsort(np.argsort(-row, kind="stable"), kind="stable")
    less, more = (np.dot(reference.probabilities(applied("skew", row, x=x)), places) for x in sorted(ends))
    assert more >= less - 1e-9


@given(rows(), st.floats(0, 3), st.floats(0, 3), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_dynamic_temperature_is_a_schedule_of_temperature(row: Rows, low: float, high: float, exponent: float) -> None:
    assume((row > -np.inf).sum() > 1 and not low == high == 1)
    schedule = Recipe(f"temperature=entropy({low!r}, {high!r}, exponent={exponent!r})").transforms[0]
    assert applied("dynamic_temperature", row, low=low, high=high, exponent=exponent) == schedule(row[None, :])[0].tolist()


# ---- edges


def test_no_neutral_end_alone_switches_dynamic_temperature_off() -> None:
    row = [0.0, 1.0, 3.0]
    assert run("dynamic_temperature", row, 1, 1, 7) == row
    for low, high in ((1, 2), (2, 1)):
        assert run("dynamic_temperature", row, low, high) != row
    rows = stack([stage("dynamic_temperature", 1, 1), stage("dynamic_temperature", 1, 2)])(np.array([row, row]))
    assert rows[0].tolist() == row != rows[1].tolist()


def test_tail_free_keeps_all_but_the_last_where_the_bends_never_exceed_z() -> None:
    """A share so near to 1 that no running sum is beyond it and its slack; at 1 nothing is done at all."""
    row = [0.0, 5.0, 1.0, 3.0]
    assert run("tail_free", row, 1 - 1e-13) == [-INF, 5.0, 1.0, 3.0]
    assert run("tail_free", row, 1) == row


def test_a_flat_row_has_no_tail() -> None:
    for dtype in (np.float32, np.float64):
        row = np.full((1, 1000), 0.3, dtype)
        assert np.array_equal(stage("tail_free", 0.5)(row), row)


def test_top_h_is_the_entropy_of_what_is_kept() -> None:
    """The numbers of kept tokens that the written semantics give for eight tokens."""
    row = np.log([0.05, 0.4, 0.15, 0.01, 0.2, 0.1, 0.02, 0.07]).tolist()
    assert [sum(x > -INF for x in run("top_h", row, a)) for a in (0.4, 0.6, 0.8)] == [2, 2, 4]


@pytest.mark.parametrize("row", [[17.84, 17.86], [-3.5, -1e-9, -2e-9], [0.0, 1e-30], [1e30, 1.0001e30]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_smoothing_keeps_the_maximum_alone_where_the_drop_is_lost_in_rounding(row: list[float], dtype: type) -> None:
    out = run("smoothing", row, 1e-6, dtype=dtype)
    assert int(np.argmax(out)) == int(np.argmax(row))
    assert out.count(max(out)) == 1
    assert max(out) == dtype(max(row))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("factor", "curve"), [(1e300, 1), (1e300, 3), (1e-300, 2), (1.0, 3)])
def test_smoothing_makes_nothing_impossible(factor: float, curve: float, dtype: type) -> None:
    out = run("smoothing", [1e30, -1e30, 1e30, -INF, 0.0], factor, curve, dtype=dtype)
    assert out[0] == out[2] == np.array([1e30], dtype)[0]
    assert out[0] > out[4] >= out[1] > out[3] == -INF


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_wider_than_the_largest_float(dtype: type) -> None:
    """Finite logits whose distance is none; sigma of (a, -a, 0, 0) is a / sqrt 2."""
    a = float(np.finfo(dtype).max)
    for curve in (1, 2, 3):
        out = run("smoothing", [a, -a, 0.0, -INF], 0.3, curve, dtype=dtype)
        assert out[0] == a
        assert not any(math.isnan(x) for x in out)
        assert [x > -INF for x in out] == [True, True, True, False]
    assert run("top_n_sigma", [a, -a, 0.0, 0.0], 1, dtype=dtype) == [a, -INF, -INF, -INF]
    assert run("top_n_sigma", [a, -a, 0.0, 0.0], 1.5, dtype=dtype) == [a, -INF, 0.0, 0.0]
    assert run("top_n_sigma", [a, -a, 0.0, 0.0], 3, dtype=dtype) == [a, -a, 0.0, 0.0]


@pytest.mark.parametrize("x", [-20, -0.5, 0.5, 20])
def test_skew_leaves_a_far_token_possible(x: float) -> None:
    """A token of probability e^-700 keeps gamma times it, and one below the smallest float is still no impossible one."""
    out = run("skew", [0.0, -700.0, -INF, -1000.0], x)
    assert out[1] - out[0] == pytest.approx(-700 + x, rel=1e-13)
    assert out[3] - out[0] == pytest.approx(-1000 + x, rel=1e-13)
    assert out[2] == -INF


def test_skew_is_exact_where_the_power_is_large() -> None:
    """Two tokens, 1 - r and r = 2^-30: the first gets (1 - r)^gamma, which a sum of 1 - r in floats would miss by much."""
    r, gamma = 2.0**-30, math.exp(20)
    out = run("skew", [math.log1p(-r), -30 * math.log(2.0)], 20)
    assert reference.probabilities(out)[0] == pytest.approx(math.exp(gamma * math.log1p(-r)), rel=1e-12)


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
