"""The chances of a false alarm and of a miss, computed exactly: every count that can be drawn, with its probability."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from tests.statistical.laws import LAW, TENTH, one_outcome, spread
from ulam.testing import calibration, calibration_miss, draws_match, draws_needed, miss_probability, two_way, two_way_miss
from ulam.testing.statistics.bounds import CAUTION, binomial_range


def outcomes(n: int, k: int) -> list[tuple[int, ...]]:
    """All ways in which n draws fall on k outcomes."""
    return [(*first, n - sum(first)) for first in product(range(n + 1), repeat=k - 1) if sum(first) <= n]


@pytest.mark.parametrize("alpha", [0.2, 0.01, 1e-6])
@pytest.mark.parametrize(
    ("n", "law", "other"),
    [
        (1, [0.9, 0.1], [0.1, 0.9]),
        (60, [0.5, 0.5], [0.8, 0.2]),
        (400, [0.93, 0.07], [0.84, 0.16]),
        (1000, [0.975, 0.025], [0.994, 0.006]),
        (24, [0.6, 0.3, 0.1], [0.1, 0.3, 0.6]),
        (9, [0.5, 0.5, 0.0], [0.4, 0.4, 0.2]),
    ],
)
def test_false_alarms_are_no_more_than_alpha_and_misses_no_more_than_said(n: int, law: list[float], other: list[float], alpha: float) -> None:
    """Every count that n draws can give, with its exact probability under the law and under an alternative. What is said of a miss
    errs upwards, but for the non-central chi-square where that is above 1 %, and for rounding."""
    counts = outcomes(n, len(law))
    accepted = np.array([draws_match(each, law, alpha).ok for each in counts])
    assert stats.multinomial.pmf(counts, n, law)[~accepted].sum() <= alpha
    said = miss_probability(law, other, n, alpha)
    assert stats.multinomial.pmf(counts, n, other)[accepted].sum() <= said * (1 if said < 0.01 else 1.08) + 1e-12


@pytest.mark.parametrize("expected", [25, 30, 60, 400])
def test_far_out_g_is_as_good_as_said_and_pearson_is_not(expected: int) -> None:
    """Two pools of a million draws, one of which expects few: the exact chance of passing the quantile at 1e-11. Pearson's statistic passes
    it 200 times too often where a pool expects 25."""
    n, tail = 10**6, 1e-11
    seen = np.arange(4 * expected + 200)
    probability = stats.binom.pmf(seen, n, expected / n)
    rest = n - seen
    limit = stats.chi2.isf(tail, 1)
    w = 1 + (n / expected + n / (n - expected) - 1) / (6 * n)
    g = 2 * (np.where(seen > 0, seen * np.log(np.maximum(seen, 1) / expected), 0) + rest * np.log(rest / (n - expected))) / w
    pearson = (seen - expected) ** 2 / expected + (rest - n + expected) ** 2 / (n - expected)
    assert 0.3 * tail < probability[g > limit].sum() < 3 * tail
    if expected == 25:
        assert 200 * tail < probability[pearson > limit].sum() < 220 * tail


@pytest.mark.parametrize(("pools", "expected"), [(2, 25), (3, 25), (10, 25), (40, 25), (10, 50)])
def test_g_over_many_small_pools(pools: int, expected: int) -> None:
    """The exact law of G over pools of Poisson counts, on a grid that rounds every G up by at most 1/256: never more than its share.
    The sum of counts is not fixed here, so there is a degree of freedom for every pool."""
    grid, top, share = 256, 500 * 256, 1e-10
    seen = np.arange(8 * expected)
    g = 2 * (np.where(seen > 0, seen * np.log(np.maximum(seen, 1) / expected), 0) - seen + expected)
    one = np.bincount(np.minimum(np.ceil(g * grid).astype(int), top), stats.poisson.pmf(seen, expected), top + 1)
    law, places = np.eye(1, top + 1)[0], np.flatnonzero(one)
    for _ in range(pools):
        law = sum(np.concatenate([np.zeros(place), law[: top + 1 - place]]) * one[place] for place in places)  # type: ignore[assignment]
    assert law[int(stats.chi2.isf(share / CAUTION, pools) * grid) :].sum() < share


def test_false_alarms_of_a_table_with_its_margins() -> None:
    """Two rows of 80 pairs, two columns of 70 and 90: every table with these margins, and its hypergeometric probability."""
    tables = [[[k, 80 - k], [70 - k, 10 + k]] for k in range(71)]
    found = [two_way(table, alpha=0.05) for table in tables]
    assert {each.cells for each in found} == {4}
    wrong = np.array([not each.ok for each in found])
    assert 0 < stats.hypergeom.pmf(np.arange(71), 160, 70, 80)[wrong].sum() <= 0.05


def test_the_miss_of_a_table() -> None:
    """A thousand pairs from 0.3, 0.2 / 0.2, 0.3, where 1/4 each is expected; w = 1 + 3 x 3 / 6000. The divergences of the two from each other."""
    there = 0.6 * np.log(0.3 / 0.25) + 0.4 * np.log(0.2 / 0.25)
    back = 0.5 * np.log(0.25 / 0.3) + 0.5 * np.log(0.25 / 0.2)
    limit = stats.chi2.isf(1e-3 / CAUTION, 1)
    said = two_way_miss([[0.3, 0.2], [0.2, 0.3]], 1000, alpha=1e-3)
    assert said == pytest.approx(stats.ncx2.cdf(limit, 1, 2000 * min(there, back) / 1.0015), rel=1e-9)


def test_false_alarms_and_misses_of_calibration() -> None:
    """60 rows that draw token 0 with chances from 1/90 to 9/90, which is decade 1: the exact law of their sum, and of one of other coins."""
    chances, others = np.linspace(1, 9, 60) / 90, np.linspace(5, 45, 60) / 90
    laws, wrong = (np.stack([p, 1 - p], axis=1) for p in (chances, others))
    exact = []
    for coins in (chances, others):
        law = np.ones(1)
        for chance in coins:
            law = np.convolve(law, [1 - chance, chance])
        exact.append(law)
    for alpha in (0.05, 1e-6):
        accepted = np.array([calibration(laws, (np.arange(60) >= k).astype(int), alpha).ok for k in range(61)])
        assert exact[0][~accepted].sum() <= alpha
        assert exact[1][accepted].sum() <= calibration_miss(laws, wrong, alpha) + 1e-12


# ---- how many draws


def test_an_even_shift_needs_what_the_non_central_chi_square_says() -> None:
    """32 even outcomes, half of them 10 % more and half less: d = 0.05. The non-centrality is 4 n d^2, to order d^4."""
    law, n = np.full(32, 1 / 32), 20_000
    other = spread(law, 0.05)
    assert np.abs(other - law).sum() / 2 == pytest.approx(0.05)
    limit = stats.chi2.isf(1e-9 / 3 / CAUTION, 31)
    assert miss_probability(law, other, n) == pytest.approx(stats.ncx2.cdf(limit, 31, 4 * n * 0.05**2), rel=0.2)


def test_one_outcome_needs_what_the_binomial_says() -> None:
    """Token of 1 % in a thousand, doubled: the whole law dilutes it, its own binomial does not."""
    law = np.append(np.full(999, 0.99 / 999), 0.01)
    other, n = one_outcome(law, 999, 2.0), 12_000
    _, high = binomial_range(n, np.array([0.01]), 1e-9 / 3 / 1000)
    assert miss_probability(law, other, n) == pytest.approx(stats.binom.cdf(high[0], n, 0.02), rel=1e-9)


def test_draws_needed_are_enough_and_hardly_more() -> None:
    for other in (spread(LAW, 0.1), one_outcome(LAW, TENTH, 0.2), one_outcome(LAW, TENTH, 0.0)):
        n = draws_needed(LAW, other, alpha=1e-8, miss=1e-4)
        assert miss_probability(LAW, other, n, 1e-8) <= 1e-4
        assert miss_probability(LAW, other, int(0.9 * n), 1e-8) > 1e-4
    assert draws_needed([0.5, 0.5, 0], [0, 0, 1]) == 1
