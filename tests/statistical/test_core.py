"""The statistical core itself: numbers worked out by hand, planted wrong draws, and right ones."""

from __future__ import annotations

import doctest
import math
import sys
from collections import Counter
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.false_alarms import Statistical
from tests.statistical.laws import LAW, TENTH, Probs, V, frequent, spread, table_of
from ulam.core.errors import ModelError, UsageError
from ulam.testing import (
    ConformanceError,
    Tally,
    agreements,
    calibration,
    calibration_miss,
    draws_match,
    draws_needed,
    miss_probability,
    statistics,
    two_way,
    two_way_miss,
)
from ulam.testing.statistics import Part, bounds
from ulam.testing.statistics.bounds import CAUTION


def p_of(tally: Tally, part: str) -> float:
    return next(each.p for each in tally.parts if each.name == part)


# ---- by hand


def test_the_worked_example() -> None:
    assert doctest.testmod(statistics, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL) == (0, 7)


def test_g_with_two_degrees_of_freedom() -> None:
    """Counts 150, 25, 25 for 100, 50, 50. G/2 = 150 ln 3/2 + 50 ln 1/2; w = 1 + (2 + 4 + 4 - 1) / (6 x 200 x 2) = 803/800; and with two
    degrees of freedom P(chi-square > x) = exp(-x/2)."""
    found = draws_match([150, 25, 25], [0.5, 0.25, 0.25])
    assert p_of(found, "whole law") == pytest.approx(CAUTION * (1.5**-150 * 2.0**50) ** (800 / 803), rel=1e-11)
    assert found.cells == 3
    assert not found.ok


def test_a_binomial_tail_is_the_sum_of_its_fractions() -> None:
    """14 of 20 at chance 3/8; two outcomes, so two tests in `each outcome`; the rarest outcome alone is the only event of `tails`."""
    tail = sum(math.comb(20, k) * F(3, 8) ** k * F(5, 8) ** (20 - k) for k in range(14, 21))
    found = draws_match([6, 14], [0.625, 0.375])
    assert p_of(found, "each outcome") == pytest.approx(float(2 * 2 * tail), rel=1e-12)
    assert p_of(found, "tails") == pytest.approx(float(2 * tail), rel=1e-12)
    assert found.p == pytest.approx(float(3 * 2 * tail), rel=1e-12)
    low = sum(math.comb(20, k) * F(3, 8) ** k * F(5, 8) ** (20 - k) for k in range(2))
    assert p_of(draws_match([19, 1], [0.625, 0.375]), "tails") == pytest.approx(float(2 * low), rel=1e-12)


def test_a_law_is_taken_as_adding_to_one() -> None:
    """Probabilities in float32 add to one within 1e-6."""
    law = np.array([0.625, 0.375])
    assert draws_match([6, 14], law * (1 + 9e-7)).p == pytest.approx(draws_match([6, 14], law).p, rel=1e-12)


def test_nested_tails() -> None:
    """1/2, 1/4, 1/8, 1/16, 1/16 and 16 draws, all of the last outcome: events of 1/16, 1/8, 1/4, 1/2, so four tests, and five outcomes."""
    found = draws_match([0, 0, 0, 0, 16], [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16])
    assert p_of(found, "each outcome") == pytest.approx(5 * 2 * 16.0**-16, rel=1e-12)
    assert p_of(found, "tails") == pytest.approx(4 * 2 * 16.0**-16, rel=1e-12)
    assert p_of(found, "whole law") == 1  # one pool


@pytest.mark.parametrize(
    ("law", "n", "cells"),
    [
        ([0.5, 0.2, 0.1, 0.1, 0.06, 0.04], 100, 2),  # 4 + 6 + 10 + 10, 20 + 50
        ([0.3, 0.3, 0.2, 0.2], 50, 1),  # 10 + 10 + 15, and the 15 that are left join
        ([0.25, 0.25, 0.25, 0.25], 100, 4),
        ([0.25, 0.25, 0.25, 0.25], 99, 2),
        ([0.0, 1.0, 0.0], 1000, 1),
    ],
)
def test_pools(law: list[float], n: int, cells: int) -> None:
    counts = n * (np.arange(len(law)) == np.argmax(law))
    assert draws_match(counts, law).cells == cells


def test_a_table_of_four() -> None:
    """40, 60 / 60, 40: G/2 = 80 ln 4/5 + 120 ln 6/5, w = 1 + 3 x 3 / (6 x 200), one degree of freedom: P = erfc(sqrt(G / 2w))."""
    half = (80 * math.log(4 / 5) + 120 * math.log(6 / 5)) / (1 + 9 / 1200)
    assert two_way([[40, 60], [60, 40]], alpha=0.05).p == pytest.approx(CAUTION * math.erfc(math.sqrt(half)), rel=1e-10)


def test_a_table_is_pooled_by_its_margins() -> None:
    """800 pairs, so margins must reach 5 sqrt(800) = 141.4: rows 120 + 120, 560; columns 40 + 100 + 180, 480."""
    found = two_way(np.outer([3, 14, 3, 0], [9, 24, 5, 2]))
    assert (found.n, found.cells, found.p) == (800, 4, 1.0)
    assert found.parts[0].statistic == pytest.approx(0, abs=1e-9)


def test_agreements_of_pairs() -> None:
    """a, b, c with 1/2, 1/4, 1/4 agree with probability 3/8."""
    first, second = np.array([0] * 14 + [1] * 6), np.array([0] * 14 + [2] * 6)
    expected = draws_match([6, 14], [0.625, 0.375])
    assert agreements(first, second, [0.5, 0.25, 0.25]).p == pytest.approx(expected.p, rel=1e-12)


def test_calibration_by_hand() -> None:
    """Rows that give token 0 the chances 1/2, 1/32 and 1/32: of decade 1, 2/32 draws are expected, and 2 are drawn. There are two decades."""
    laws = [[1 / 2, 1 / 2], [1 / 32, 31 / 32], [1 / 32, 31 / 32]]
    found = calibration(laws, [1, 0, 0])
    mean = F(2, 32) / 3
    tail = math.comb(3, 2) * mean**2 * (1 - mean) + mean**3
    assert p_of(found, "calibration") == pytest.approx(float(2 * 2 * tail), rel=1e-12)
    assert p_of(calibration(laws, [1, 0, 1]), "calibration") == 1  # one draw, nearer than one to the mean, where the bound says nothing


def test_outcomes_of_any_kind() -> None:
    counts, law = Counter({"xy": 3, "y": 2, "never": 1}), {"": F(1, 10), "x": F(1, 4), "xy": F(1, 4), "y": F(2, 5)}
    found = draws_match(counts, law)
    assert (found.p, found.worst.name, found.n) == (0.0, "support", 6)
    del counts["never"]
    assert draws_match(counts, law).p == draws_match([0, 0, 3, 2], [0.1, 0.25, 0.25, 0.4]).p


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: draws_match([1, 2], [0.5, 0.25, 0.25]), "shape"),
        (lambda: draws_match([1, 2], [0.5, 0.6]), "no law"),
        (lambda: draws_match([1, 2], [1.5, -0.5]), "no law"),
        (lambda: draws_match([1, 2], [0.5, math.nan]), "no law"),
        (lambda: draws_match([1.5, 2], [0.5, 0.5]), "whole numbers"),
        (lambda: draws_match([3, -1], [0.5, 0.5]), "whole numbers"),
        (lambda: draws_match([0, 0], [0.5, 0.5]), "no draws"),
        (lambda: draws_match({"a": 1}, [1.0]), "mapping"),
        (lambda: draws_match([1, 2], [0.5, 0.5], alpha=0.0), "alpha=0.0"),
        (lambda: miss_probability([0.5, 0.5], [0.5, 0.6], 10), "no law"),
        (lambda: draws_needed([0.5, 0.5], [0.5, 0.5]), "10\\^12"),
        (lambda: two_way([[1, 2], [3, 4]], alpha=1.5), "alpha=1.5"),
        (lambda: agreements([0, 1], [0], [0.5, 0.5]), "beside"),
        (lambda: agreements([0, 1], [0, 2], [0.5, 0.5]), "no outcome of a law of 2"),
        (lambda: agreements([0, 0.5], [0, 1], [0.5, 0.5]), "no outcome of a law of 2"),
        (lambda: agreements([], [], [0.5, 0.5]), "no draws"),
        (lambda: miss_probability([0.5, 0.5], [0.4, 0.6], 10.5), "n=10.5 is no number"),  # type: ignore[arg-type]
        (lambda: miss_probability([0.5, 0.5], [0.4, 0.6], -1), "n=-1 is no number"),
        (lambda: miss_probability([0.5, 0.5], [0.4, 0.6], 10, alpha=2), "alpha=2"),
        (lambda: draws_needed([0.5, 0.5], [0.4, 0.6], miss=0), "miss=0"),
        (lambda: two_way_miss([[0.25, 0.25], [0.25, 0.25]], 1000, alpha=0), "alpha=0"),
        (lambda: two_way_miss([0.5, 0.5], 1000), "a table"),
        (lambda: calibration_miss([[0.5, 0.5]], [[0.4, 0.6]], alpha=1), "alpha=1"),
        (lambda: two_way([1, 2]), "table"),
        (lambda: two_way([[0.5, 0.5]]), "table"),
        (lambda: calibration([[0.5, 0.5]], [2]), "draws for laws"),
        (lambda: calibration([[0.5, 0.5]], [0, 1]), "draws for laws"),
        (lambda: calibration([[0.5, 0.6]], [0]), "no laws"),
        (lambda: calibration_miss([[0.5, 0.5]], [[1.0]]), "beside"),
    ],
)
def test_what_cannot_be_compared(call: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        call()


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ModelError, match='the extra "testing", which is not installed'):
        bounds.stats.__wrapped__()


# ---- planted wrong draws: each rejected but for a chance that is computed, and at most 1e-6


def uniforms(n: int, seed: int) -> Probs:
    return np.random.default_rng(seed).random(n)


def by_inverse_cdf(edges: Probs, u: Probs) -> NDArray[np.int64]:
    """The first outcome whose edge exceeds u."""
    return np.searchsorted(edges, u, side="right")


def half_of_one_token_goes_to_another(law: Probs, u: Probs) -> NDArray[np.int64]:
    wrong = law.copy()
    wrong[TENTH] -= law[TENTH] / 2
    wrong[0] += law[TENTH] / 2
    return by_inverse_cdf(np.cumsum(wrong), u)


def sums_in_half_precision(law: Probs, u: Probs) -> NDArray[np.int64]:
    edges = np.cumsum(law, dtype=np.float16).astype(np.float64)
    return by_inverse_cdf(edges, u * edges[-1])


def eight_bits(law: Probs, u: Probs) -> NDArray[np.int64]:
    return by_inverse_cdf(np.cumsum(law), np.floor(u * 256) / 256)


def cut_tail(law: Probs, u: Probs) -> NDArray[np.int64]:
    """Sorts, and multiplies u by 0.9998, so that it never reaches 1."""
    order = np.argsort(-law, kind="stable")
    return order[by_inverse_cdf(np.cumsum(law[order]), u * 0.9998)]


def next_token(law: Probs, u: Probs) -> NDArray[np.int64]:
    """Counts the edges below u from one."""
    return np.minimum(by_inverse_cdf(np.cumsum(law), u) + 1, len(law) - 1)


def law_of(draw: Any, law: Probs) -> Probs:
    """The law of a draw, from the places where its outcome changes as u grows: by a grid finer than any token, then by halving."""
    grid = np.arange(2**20) / 2**20
    tokens = draw(law, grid)
    places = np.flatnonzero(tokens[1:] != tokens[:-1])
    low, high = grid[places], grid[places + 1]
    for _ in range(40):
        middle = (low + high) / 2
        same = draw(law, middle) == tokens[places]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return np.bincount(np.append(tokens[places], tokens[-1]), np.diff(high, prepend=0, append=1), V)


PLANTED = [half_of_one_token_goes_to_another, sums_in_half_precision, eight_bits, cut_tail, next_token]


@pytest.mark.parametrize("draw", PLANTED, ids=lambda draw: draw.__name__)
def test_wrong_draws_are_rejected(draw: Any) -> None:
    wrong = law_of(draw, LAW)
    n = draws_needed(LAW, wrong)
    assert n < 300_000
    with pytest.raises(ConformanceError, match="the sampler breaks"):
        draws_match(np.bincount(draw(LAW, uniforms(n, 11)), minlength=V), LAW).required()
    assert np.allclose(law_of(lambda law, u: by_inverse_cdf(np.cumsum(law), u), LAW), LAW, rtol=0, atol=1e-12)


def test_an_edge_that_belongs_to_the_wrong_token_is_rejected() -> None:
    """Probabilities and uniforms that are multiples of 1/256, so that u meets edges: the token is the first whose edge exceeds u, and not
    the first whose edge reaches it."""
    weights = np.array([3, 90, 0, 1, 17, 64, 5, 30, 46])
    law, edges, every = weights / 256, np.cumsum(weights) / 256, np.arange(256) / 256
    right, wrong = (np.bincount(np.searchsorted(edges, every, side=side), minlength=9) / 256 for side in ("right", "left"))
    assert (right == law).all()
    n = draws_needed(law, wrong)
    u = np.floor(uniforms(n, 5) * 256) / 256
    assert not draws_match(np.bincount(np.searchsorted(edges, u, side="left"), minlength=9), law).ok


def test_one_draw_of_an_impossible_token_is_rejected() -> None:
    law = np.append(LAW, 0.0)
    counts = np.append(np.random.default_rng(4).multinomial(1000, LAW), 1)
    found = draws_match(counts, law)
    assert (found.worst.name, found.p, found.ok) == ("support", 0.0, False)
    with pytest.raises(ConformanceError, match="breaks support: impossible outcomes: 1 drawn, 0 expected"):
        found.required()
    rows = calibration([[0.5, 0.5, 0.0]] * 9, [0, 1] * 4 + [2])
    assert (rows.worst.name, rows.p, rows.ok) == ("support", 0.0, False)
    assert miss_probability([1.0, 0.0], [0.999, 0.001], 1000) == pytest.approx(0.999**1000)
    assert calibration_miss([[0.92, 0.08, 0.0]] * 9, [[0.72, 0.08, 0.2]] * 9) == pytest.approx(0.8**9)


def pairs(law: Probs, n: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """n pairs of draws, so large a share of which have their noise in common."""
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, n))
    second = np.where(rng.random(n) < share, first, second)
    edges = np.cumsum(law)
    return by_inverse_cdf(edges, first), by_inverse_cdf(edges, second)


def test_samples_that_share_noise_are_rejected(statistical: Statistical) -> None:
    """One pair in ten shares its noise. Each of the two draws has the right law, so only what looks at pairs can see it."""
    n, share, same = 10_000, 0.1, float((LAW**2).sum())
    number = frequent(LAW, n)
    law = np.bincount(number, LAW)
    miss_of_agreements = miss_probability([same, 1 - same], [same + share * (1 - same), (1 - same) * (1 - share)], n)
    miss_of_table = two_way_miss((1 - share) * np.outer(law, law) + share * np.diag(law), n)
    assert max(miss_of_agreements, miss_of_table) <= 1e-6
    first, second = pairs(LAW, n, share, seed=8)
    assert not agreements(first, second, LAW).ok
    assert not two_way(table_of(number[first], number[second])).ok
    first, second = pairs(LAW, n, 0.0, seed=9)
    statistical.tally("testing.independent_pairs.agreements", agreements(first, second, LAW), miss_of_agreements)
    statistical.tally("testing.independent_pairs.table", two_way(table_of(number[first], number[second])), miss_of_table)


def test_draws_given_to_the_wrong_row_are_rejected(statistical: Statistical) -> None:
    """Rows that are permutations of one law: over all rows, every token is as frequent as it should be."""
    rng = np.random.default_rng(6)
    laws = np.stack([rng.permutation(np.append(LAW[:7], 1 - LAW[:7].sum())) for _ in range(400)])
    drawn = np.array([by_inverse_cdf(np.cumsum(law), rng.random()) for law in laws])
    swapped = np.arange(400) ^ 1
    miss = calibration_miss(laws, laws[swapped])
    assert miss <= 1e-6
    assert not calibration(laws, drawn[swapped]).ok
    statistical.tally("testing.calibrated_rows", calibration(laws, drawn), miss)


# ---- right draws pass


def test_right_draws_pass_for_200_seeds(statistical: Statistical) -> None:
    """Each of 200 comparisons at 5e-12: one of them fails with a probability of at most 1e-9, and 1e-9 failures are expected.
    And of their p, no more than could be are below 0.05, where chance alone puts at most 10."""
    n = 4000
    found = [draws_match(np.random.default_rng(seed).multinomial(n, LAW), LAW, alpha=5e-12) for seed in range(200)]
    lowest = min(found, key=lambda each: each.p)
    every = Part("every seed", lowest.p, min(1.0, 200 * lowest.p), str(lowest.worst.finding))
    statistical.tally("testing.right_draws", Tally(200, 1, 1e-9, (every,)), miss_probability(LAW, spread(LAW, 0.2), n, 5e-12))
    alarms = sum(each.p <= 0.05 for each in found)
    often = Part("alarms at 0.05", alarms, float(stats.binom.sf(alarms - 1, 200, 0.05)), f"{alarms} of 200")
    limit = stats.binom.isf(1e-9, 200, 0.05)
    statistical.tally("testing.right_draws_at_5_percent", Tally(200, 1, 1e-9, (often,)), float(stats.binom.cdf(limit, 200, 0.4)))
