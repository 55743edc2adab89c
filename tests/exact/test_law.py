"""Law as a value: its numbers against formulas worked out here, fractions that stay exact, bounds, and the laws made of it."""

from __future__ import annotations

import math
from fractions import Fraction as F
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulam.core.errors import LawNotNormalised, OutOfRange, UsageError
from ulam.core.vocabulary import Vocabulary
from ulam.exact import Interval, Law, Outcome

P = {"a": F(1, 2), "b": F(1, 4), "c": F(1, 8), "d": F(1, 8)}
Q = {"a": F(1, 4), "b": F(1, 4), "c": F(1, 2)}
LN2 = math.log(2)


def floats(probs: dict[Any, F]) -> dict[Any, float]:
    return {o: float(p) for o, p in probs.items()}


EXACT, FLOAT = Law(P), Law(floats(P))


# order and probabilities


def test_outcomes_are_sorted_by_probability_then_by_name() -> None:
    law = Law({"z": 0.25, "b": 0.125, "y": 0.25, "a": 0.375})
    assert law.outcomes == ("a", "y", "z", "b")
    assert law.probs == (0.375, 0.25, 0.25, 0.125)
    assert list(law) == [("a", 0.375), ("y", 0.25), ("z", 0.25), ("b", 0.125)]


def test_outcomes_equal_up_to_rounding_are_equal() -> None:
    """0.1 + 0.2 is the next number above 0.3."""
    assert Law({"b": 0.1 + 0.2, "a": 0.3, "c": 0.4}).outcomes == ("c", "a", "b")


def test_outcomes_that_cannot_be_compared_are_sorted_as_they_are_written() -> None:
    assert Law({None: 0.25, "a": 0.25, 1: 0.5}).outcomes == (1, "a", None)


def test_probability_of_an_outcome_and_of_an_event() -> None:
    assert EXACT.prob("b") == F(1, 4)
    assert EXACT.prob("nothing") == 0
    assert EXACT.mass(lambda o: o > "a") == F(1, 2)
    assert isinstance(EXACT.mass(lambda o: o > "a"), F)
    assert FLOAT.mass(lambda o: False) == 0
    assert EXACT.mode() == "a"
    assert EXACT.surprisal("c") == 3 * LN2
    assert EXACT.surprisal("nothing") == math.inf
    assert FLOAT.map(len).prob(7.0) == 0
    for ask in (EXACT.prob, EXACT.surprisal):
        with pytest.raises(UsageError, match="3 is no outcome of this law, which is of str"):
            ask(3)
    with pytest.raises(UsageError, match="which is of Outcome") as caught:
        Law({Outcome((0,), "length"): 1.0}).prob("a")
    assert "law.map(law.text)" in (caught.value.fix or "")
    assert Law({Outcome((0, 1, 2), "length"): F(1)}).mean(len) == 3


@pytest.mark.parametrize("probs", [{"a": 0.5}, {"a": F(1, 2), "b": F(1, 3)}, {"a": 0.5, "b": 0.5 + 1e-9}, {"a": math.nan}, {}])
def test_probabilities_that_do_not_add_to_one(probs: Any) -> None:
    with pytest.raises(LawNotNormalised, match="outcomes add to"):
        Law(probs)


@pytest.mark.parametrize(("probs", "uncovered"), [({"a": 1.5, "b": -0.5}, 0.0), ({"a": F(3, 2), "b": F(-1, 2)}, 0.0), ({"a": 1.25}, -0.25), ({"a": -0.5}, 1.5)])
def test_probabilities_that_are_none(probs: Any, uncovered: float) -> None:
    with pytest.raises(LawNotNormalised, match="a probability is -0"):
        Law(probs, uncovered=uncovered)


def test_many_paths_may_round_more() -> None:
    assert len(Law({"a": 0.5, "b": 0.5 + 1e-11}, paths=100_000)) == 2
    with pytest.raises(LawNotNormalised):
        Law({"a": 0.5, "b": 0.5 + 1e-11}, paths=1000)


# entropies


def test_entropies_in_nats() -> None:
    """H = 1/2 1 + 1/4 2 + 2/8 3 = 1.75 bits; the sum of squares is 1/4 + 1/16 + 2/64 = 11/32."""
    for law in (EXACT, FLOAT):
        assert law.entropy() == pytest.approx(1.75 * LN2, abs=1e-15)
        assert law.collision_probability() == F(11, 32)
        assert law.renyi(2) == pytest.approx(-math.log(11 / 32), abs=1e-15)
        assert law.renyi(0) == pytest.approx(math.log(4), abs=1e-15)
        assert law.renyi(1) == law.entropy()
        assert law.renyi(math.inf) == pytest.approx(LN2, abs=1e-15)
        # order 1/2: 2 ln sum of roots
        assert law.renyi(0.5) == pytest.approx(2 * math.log(math.sqrt(0.5) + 0.5 + 2 * math.sqrt(0.125)), abs=1e-15)


@pytest.mark.parametrize("off", [1e-15, -1e-12, 1e-9, -1e-6, 1e-4])
def test_renyi_entropy_near_one(off: float) -> None:
    """H_a = H - (a - 1)/2 Var(ln p) + (a - 1)^2/6 k3 - ...: to 1e-12 from its first three terms, the k those of ln p under p."""
    p = [0.5, 0.25, 0.125, 0.125]
    x = [math.log(each) for each in p]
    mean = math.fsum(a * b for a, b in zip(p, x, strict=True))
    second, third = (math.fsum(a * (b - mean) ** k for a, b in zip(p, x, strict=True)) for k in (2, 3))
    alpha = 1 + off
    step = alpha - 1  # as the float has it
    assert FLOAT.renyi(alpha) == pytest.approx(-mean - step / 2 * second - step**2 / 6 * third, abs=1e-12)


def test_a_fraction_below_every_float_has_a_surprise() -> None:
    assert Law({"a": F(1, 2**2000), "b": 1 - F(1, 2**2000)}).surprisal("a") == pytest.approx(2000 * LN2, rel=1e-14)


def test_a_certain_law_has_no_entropy() -> None:
    assert [Law({"a": F(1)}).entropy(), Law({"a": F(1)}).renyi(3), Law({"a": F(1)}).renyi(math.inf)] == [0, 0, 0]


@pytest.mark.parametrize("alpha", [-1.0, math.nan])
def test_an_order_that_is_none(alpha: float) -> None:
    with pytest.raises(OutOfRange, match=r"outside \[0, inf\]"):
        EXACT.renyi(alpha)


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=8), st.floats(0, 5), st.floats(0, 5))
def test_renyi_entropy_falls_with_its_order(weights: list[float], one: float, other: float) -> None:
    law = Law(normal(weights))
    low, high = sorted((one, other))
    assert law.renyi(low) >= law.renyi(high) - 1e-9
    assert law.renyi(1 - 1e-6) == pytest.approx(law.entropy(), abs=1e-4)  # continuous at 1: the slope is at most half the variance of ln p


def normal(weights: list[float]) -> dict[int, float]:
    return {i: w / math.fsum(weights) for i, w in enumerate(weights)}


# moments


def test_moments_of_numbers_and_of_functions() -> None:
    die = Law({i: F(1, 6) for i in range(1, 7)})
    assert (die.mean(), die.variance()) == (F(7, 2), F(35, 12))
    assert die.mean(lambda o: o * o) == F(91, 6)
    assert EXACT.mean(lambda o: o == "a") == F(1, 2)
    with pytest.raises(UsageError, match="no number"):
        EXACT.mean()
    with pytest.raises(UsageError, match="no number"):
        Law({True: 1.0}).mean()


# laws made of laws


def test_map_and_given() -> None:
    assert dict(EXACT.map(lambda o: o in "ab")) == {True: F(3, 4), False: F(1, 4)}
    assert dict(EXACT.given(lambda o: o != "a")) == {"b": F(1, 2), "c": F(1, 4), "d": F(1, 4)}
    with pytest.raises(UsageError, match="no outcome of positive probability"):
        EXACT.given(lambda o: False)


def test_marginals_and_prefixes_of_sequences() -> None:
    law = Law({"ab": F(1, 2), "b": F(1, 3), "": F(1, 6)})
    assert dict(law.marginal(0)) == {"a": F(1, 2), "b": F(1, 3), None: F(1, 6)}
    assert dict(law.marginal([1, 0])) == {("b", "a"): F(1, 2), (None, "b"): F(1, 3), (None, None): F(1, 6)}
    assert dict(law.prefix(1)) == {"a": F(1, 2), "b": F(1, 3), "": F(1, 6)}
    texts = Law({Outcome((0, 2), "stop"): F(1, 4), Outcome((0, 1), "length"): F(3, 4)})
    assert dict(texts.marginal(1)) == {2: F(1, 4), 1: F(3, 4)}
    assert dict(texts.prefix(1)) == {(0,): F(1)}
    with pytest.raises(UsageError, match="no positions"):
        Law({3: 1.0}).marginal(0)


def test_what_an_outcome_looks_like() -> None:
    vocabulary = Vocabulary([b"x", b" y", b""], names={2: "$"}, ends=[2])
    one, cut, lost = Outcome((0, 2), "stop"), Outcome((0, 1), "length"), Outcome((), "error")
    law = Law({one: 0.5, cut: 0.25, lost: 0.25}, vocabulary=vocabulary)
    assert [law.text(o) for o in (one, cut, lost, (one, cut))] == ["x$", "x␣y", " (error)", "x$ | x␣y"]
    assert repr(law) == "Law(3 outcomes, 1.5 bits; 'x$': 0.5, ' (error)': 0.25, 'x␣y': 0.25)"
    assert law.to_dict()["outcomes"][0] == {"text": "x$", "tokens": [0, 2], "finish_reason": "stop", "prob": 0.5}


# two laws


def test_distances_by_hand() -> None:
    """P = (1/2, 1/4, 1/8, 1/8), Q = (1/4, 1/4, 1/2, 0): |P - Q| = (1/4, 0, 3/8, 1/8)."""
    p, q = Law(P), Law(Q)
    assert p.total_variation(q) == q.total_variation(p) == 3 / 8
    assert p.kl(q) == math.inf
    assert p.chi_square(q) == math.inf
    # KL(Q || P) = 1/4 ln(1/2) + 0 + 1/2 ln 4
    assert q.kl(p) == pytest.approx((-0.25 + 1) * LN2, abs=1e-15)
    # chi-square of Q from P: (1/16)/(1/2) + (9/64)/(1/8) + (1/64)/(1/8)
    assert q.chi_square(p) == pytest.approx(1 / 8 + 9 / 8 + 1 / 8, abs=1e-15)
    overlap = math.sqrt(1 / 8) + 1 / 4 + math.sqrt(1 / 16)
    assert p.hellinger(q) == pytest.approx(math.sqrt(1 - overlap), abs=1e-15)


def test_a_law_has_no_distance_from_itself() -> None:
    assert [EXACT.total_variation(FLOAT), EXACT.kl(FLOAT), EXACT.chi_square(FLOAT), EXACT.hellinger(FLOAT)] == [0, 0, 0, 0]


def test_laws_with_nothing_in_common() -> None:
    one, other = Law({"a": 1.0}), Law({"b": 1.0})
    assert (one.total_variation(other), one.kl(other), one.hellinger(other)) == (1, math.inf, 1)
    assert one.samples_to_tell_from(other) == 1


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=6), st.lists(st.floats(0.01, 1), min_size=3, max_size=6))
def test_inequalities_between_distances(one: list[float], other: list[float]) -> None:
    """H^2 <= TV <= sqrt(2) H; Pinsker: TV <= sqrt(KL / 2); KL <= ln(1 + chi-square). Slack for float sums."""
    p, q = Law(normal(one)), Law(normal(other))
    tv, h = p.total_variation(q), p.hellinger(q)
    assert isinstance(tv, float)
    assert h * h <= tv + 1e-12 <= math.sqrt(2) * h + 1e-9
    assert tv <= math.sqrt(p.kl(q) / 2) + 1e-9
    assert p.kl(q) <= math.log1p(p.chi_square(q)) + 1e-9


def test_samples_to_tell_two_coins_apart() -> None:
    """Fair against 3/4: BC = sqrt(3/8) + sqrt(1/8). With the number it names, the exact errors of the
    likelihood-ratio test are within both bounds."""
    fair, biased = Law({0: 0.5, 1: 0.5}), Law({0: 0.25, 1: 0.75})
    n = int(fair.samples_to_tell_from(biased, false_alarm=1e-3, miss=1e-2))
    assert n == math.ceil(math.log(1e-5) / (2 * math.log(math.sqrt(3 / 8) + math.sqrt(1 / 8))))

    def tail(p: float, least: int) -> float:
        return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(least, n + 1))

    least = next(k for k in range(n + 1) if tail(0.5, k) <= 1e-3)  # the ratio rises with the number of ones
    assert 1 - tail(0.75, least) <= 1e-2
    assert fair.samples_to_tell_from(fair) == math.inf
    few, many = (fair.samples_to_tell_from(biased, false_alarm=e, miss=e) for e in (1e-100, 1e-200))
    assert many == pytest.approx(2 * few, abs=2)


@pytest.mark.parametrize("name", ["false_alarm", "miss"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5])
def test_error_probabilities_that_are_none(name: str, value: float) -> None:
    with pytest.raises(OutOfRange, match=name):
        EXACT.samples_to_tell_from(FLOAT, **{name: value})


def test_laws_of_different_things() -> None:
    with pytest.raises(UsageError, match="one law is of str and the other of Outcome"):
        EXACT.total_variation(Law({Outcome((0,), "length"): 1.0}))
    with pytest.raises(UsageError, match="is no law"):
        EXACT.kl({"a": 1.0})  # type: ignore[arg-type]


# a part of a law


def test_a_part_of_a_law_has_bounds() -> None:
    part = Law({"a": 0.5, "b": 0.25}, uncovered=0.25)
    assert part.prob("a") == Interval(0.5, 0.75)
    assert part.prob("c") == Interval(0.0, 0.25)
    assert part.mass(lambda o: True) == Interval(0.75, 1.0)
    assert part.total_variation(Law({"a": 1.0})) == Interval(0.375 - 0.125, 0.375 + 0.125)
    assert part.mode() == "a"
    for whole in (Law({"a": 0.75, "b": 0.25}), Law({"a": 0.5, "b": 0.25, "z": 0.25})):
        low, high = part.total_variation(Law({"a": 1.0}))  # type: ignore[misc]
        assert low <= whole.total_variation(Law({"a": 1.0})) <= high  # type: ignore[operator]


@pytest.mark.parametrize(
    "ask",
    [
        lambda law: law.entropy(),
        lambda law: law.renyi(2),
        lambda law: law.kl(EXACT),
        lambda law: EXACT.kl(law),
        lambda law: law.mean(len),
        lambda law: law.given(lambda o: True),
        lambda law: law.surprisal("a"),
        lambda law: Law({"a": 0.25, "b": 0.25}, uncovered=0.5).mode(),
        lambda law: Law({"a": 0.4, "b": 0.35}, uncovered=0.25).mode(),  # b may come first
    ],
)
def test_what_a_part_does_not_tell(ask: Any) -> None:
    with pytest.raises(UsageError, match=r"is not known: 0\.[25]+ of the law is not covered"):
        ask(Law({"a": 0.5, "b": 0.25}, uncovered=0.25))
