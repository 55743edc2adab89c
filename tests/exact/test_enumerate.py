"""The enumerator, on procedures whose laws are worked out by hand: every kind of question, and every way to break the rules."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import AddressReused, BudgetExceeded, InvalidLogits, NotDeterministic, NotEnumerable, OutOfRange, UsageError
from ulam.core.noise import Address, Noise, PhiloxNoise, Purpose

HERE = Address(0, 0)


def at(position: int, purpose: int = Purpose.choose) -> Address:
    return Address(0, position, purpose)


def token(noise: Noise, probs: Any, position: int = 0, coupling: Any = "inverse_cdf") -> int:
    with np.errstate(divide="ignore"):
        return int(noise.categorical(np.log([np.asarray(probs, dtype=float)]), Address([0], [position]), coupling)[0])


def assert_law(procedure: Any, expect: dict[Any, Any], paths: int | None = None) -> None:
    """The whole law, supports equal, within 1e-15: products of a few floats."""
    law = ulam.law(procedure)
    assert set(law.outcomes) == set(expect)
    for outcome, p in expect.items():
        assert abs(law.prob(outcome) - p) < 1e-15
    assert paths is None or law.paths == paths


# questions


def test_a_coin() -> None:
    assert_law(lambda noise: bool(noise.bernoulli(0.125, HERE)), {True: F(1, 8), False: F(7, 8)}, paths=2)


@pytest.mark.parametrize(("p", "face"), [(0.0, False), (1.0, True), (-1e-13, False), (1 + 1e-13, True)])
def test_a_coin_that_is_certain_has_one_path(p: float, face: bool) -> None:
    assert_law(lambda noise: bool(noise.bernoulli(p, HERE)), {face: 1}, paths=1)


def test_several_coins_at_once_are_several_coins() -> None:
    chances = (0.5, 0.25, 0.0)
    law = ulam.law(lambda noise: tuple(noise.bernoulli(chances, Address([0, 1, 2], 5)).tolist()))
    assert law.paths == 4
    assert dict(law) == {(False, False, False): 0.375, (True, False, False): 0.375, (False, True, False): 0.125, (True, True, False): 0.125}


@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
def test_a_biased_die(coupling: Any) -> None:
    probs = (F(1, 7), F(0), F(2, 7), F(4, 7))
    assert_law(lambda noise: token(noise, probs, coupling=coupling), {0: F(1, 7), 2: F(2, 7), 3: F(4, 7)}, paths=3)


def test_probabilities_need_not_be_normalised() -> None:
    assert_law(lambda noise: int(noise.categorical(np.log([[300.0, 100.0]]), Address([0], [0]))[0]), {0: F(3, 4), 1: F(1, 4)})


def test_dependent_choices() -> None:
    """A token from (1/2, 1/4, 1/4); after token 0 a coin of 1/8 that turns it into 9."""

    def procedure(noise: Noise) -> int:
        first = token(noise, (0.5, 0.25, 0.25))
        return 9 if first == 0 and noise.bernoulli(0.125, at(0, Purpose.accept)) else first

    assert_law(procedure, {9: F(1, 16), 0: F(7, 16), 1: F(1, 4), 2: F(1, 4)}, paths=4)


def test_nested_procedures() -> None:
    """The number of throws is thrown itself; the outcome is the number of heads."""

    def heads(noise: Noise, count: int) -> int:
        return sum(bool(noise.bernoulli(0.5, at(1 + i))) for i in range(count))

    assert_law(lambda noise: heads(noise, token(noise, (0.25, 0.25, 0.5))), {0: F(1, 2), 1: F(3, 8), 2: F(1, 8)}, paths=1 + 2 + 4)


def test_no_question_has_one_path() -> None:
    assert_law(lambda noise: "always", {"always": 1}, paths=1)


def test_rows_of_a_batch_are_independent() -> None:
    def procedure(noise: Noise) -> tuple[int, ...]:
        return tuple(noise.categorical(np.log([[0.5, 0.5], [0.25, 0.75]]), Address([3, 4], [0, 0])).tolist())

    assert_law(procedure, {(0, 0): F(1, 8), (0, 1): F(3, 8), (1, 0): F(1, 8), (1, 1): F(3, 8)}, paths=4)


# one number, several comparisons


def test_a_cell_of_a_shared_uniform_has_the_length_of_its_interval() -> None:
    """Two partitions of one number: (0, .3, 1) and (0, .2, .6, 1) meet in intervals of .2, .1, .3, .4."""

    def procedure(noise: Noise) -> tuple[int, int]:
        u = noise.uniform(HERE)
        return int(u.cell([0.3])), int(u.cell([0.2, 0.6]))

    assert_law(procedure, {(0, 0): 0.2, (0, 1): 0.1, (1, 1): 0.3, (1, 2): 0.4}, paths=4)


def test_a_uniform_that_is_compared_twice_remembers() -> None:
    def procedure(noise: Noise) -> tuple[bool, bool, bool]:
        u = noise.uniform(HERE)
        return bool(u.below(0.5)), bool(u.below(0.25)), bool(noise.uniform(HERE).below(0.5))

    assert_law(procedure, {(True, True, True): F(1, 4), (True, False, True): F(1, 4), (False, False, False): F(1, 2)}, paths=3)


def test_edges_outside_the_unit_interval_and_twice() -> None:
    assert_law(lambda noise: int(noise.uniform(HERE).cell([-1.0, 0.0, 0.5, 0.5, 1.0, 2.0])), {2: F(1, 2), 4: F(1, 2)}, paths=2)
    assert_law(lambda noise: bool(noise.uniform(HERE).below(0.0)), {False: 1}, paths=1)
    assert_law(lambda noise: bool(noise.uniform(HERE).below(1.0)), {True: 1}, paths=1)


def test_one_number_beside_several() -> None:
    """One u against 1/4 and 1/2, and two numbers against two each."""
    assert_law(lambda noise: tuple(noise.uniform(HERE).below([0.5, 0.25]).tolist()), {(True, True): F(1, 4), (True, False): F(1, 4), (False, False): F(1, 2)})
    law = ulam.law(lambda noise: tuple(noise.uniform(Address([[0], [1]], 0)).below([0.5, 0.25]).ravel().tolist()))
    once = {(True, True): 0.25, (True, False): 0.25, (False, False): 0.5}
    assert dict(law) == {(*a, *b): p * q for a, p in once.items() for b, q in once.items()}


@pytest.mark.parametrize(
    "ask", [lambda u: u.below(np.nan), lambda u: u.cell([0.5, 0.2]), lambda u: u.cell([0.1, np.nan]), lambda u: u.cell([[0.1]]), lambda u: u.cell(0.5)]
)
def test_edges_that_are_none(ask: Any) -> None:
    with pytest.raises(OutOfRange, match=r"NaN|no edges"):
        ulam.law(lambda noise: ask(noise.uniform(HERE)))
    with pytest.raises(OutOfRange, match=r"NaN|no edges"):
        ask(PhiloxNoise(1).uniform(HERE))


def test_two_laws_that_share_a_number_agree_as_often_as_their_intervals_overlap() -> None:
    """Inverse CDFs of (1/2, 1/2) and (3/4, 1/4) at one uniform agree on [0, 1/2) and [3/4, 1)."""

    def procedure(noise: Noise) -> bool:
        u = noise.uniform(HERE)
        return bool(u.cell([0.5]) == u.cell([0.75]))

    assert_law(procedure, {True: F(3, 4), False: F(1, 4)})


def test_handles_of_many_addresses() -> None:
    law = ulam.law(lambda noise: tuple(noise.uniform(Address([0, 1], 0)).below([0.5, 0.25]).tolist()))
    assert dict(law) == {(False, False): 0.375, (True, False): 0.375, (False, True): 0.125, (True, True): 0.125}


@pytest.mark.parametrize("edges", [[0.5], [0.1, 0.4, 0.9], [0.0, 1.0]])
def test_philox_and_the_enumerator_agree_about_cells(edges: list[float]) -> None:
    """The cell of a number is where the number lies."""
    u = PhiloxNoise(3).uniform(Address(np.arange(500), 0))
    assert u.cell(edges).tolist() == [sum(edge <= x for edge in edges) for x in u.values.tolist()]
    assert u.below(edges[0]).tolist() == [x < edges[0] for x in u.values.tolist()]


# asking again


def test_the_same_question_again_has_the_same_answer() -> None:
    assert_law(lambda noise: (token(noise, (0.5, 0.5)), token(noise, (0.5, 0.5))), {(0, 0): F(1, 2), (1, 1): F(1, 2)}, paths=2)


@pytest.mark.parametrize(
    "second",
    [
        lambda noise: token(noise, (0.25, 0.75)),
        lambda noise: token(noise, (0.5, 0.5), coupling="gumbel"),
        lambda noise: noise.bernoulli(0.5, HERE),
        lambda noise: noise.uniform(HERE).below(0.5),
    ],
    ids=["probabilities", "coupling", "coin", "uniform"],
)
def test_another_question_at_the_address_is_an_error(second: Any) -> None:
    with pytest.raises(AddressReused, match="sequence 0, position 0, purpose choose"):
        ulam.law(lambda noise: (token(noise, (0.5, 0.5)), second(noise)))


def test_a_choice_where_a_handle_was_is_an_error() -> None:
    with pytest.raises(AddressReused, match="used for uniform"):
        ulam.law(lambda noise: (bool(noise.uniform(HERE).below(0.5)), token(noise, (0.5, 0.5))))


def gumbel(noise: Noise, lane: int = 0) -> int:
    return int(noise.categorical(np.log([[0.5, 0.5]]), Address([0], [0], Purpose.choose, lane), "gumbel")[0])


def test_a_draw_under_gumbel_coupling_has_all_lanes_of_its_address() -> None:
    """Its lane is the token: whatever lane it is asked at, it is the same draw, as it is with Philox."""
    assert_law(lambda noise: (gumbel(noise), gumbel(noise, 7)), {(0, 0): F(1, 2), (1, 1): F(1, 2)}, paths=2)
    assert all(gumbel(PhiloxNoise(seed)) == gumbel(PhiloxNoise(seed), 7) for seed in range(50))


@pytest.mark.parametrize(
    "ask",
    [
        lambda noise: noise.bernoulli(0.5, Address(0, 0, Purpose.choose, 1)),
        lambda noise: noise.uniform(Address(0, 0, Purpose.choose, 1)).below(0.5),
        lambda noise: noise.categorical(np.log([[0.5, 0.5]]), Address([0], [0], Purpose.choose, 1)),
    ],
    ids=["coin", "uniform", "categorical"],
)
def test_a_lane_of_such_a_draw_is_no_address_of_its_own(ask: Any) -> None:
    """Philox gives both the same bits: the coin falls with token 1 and not independently of it."""
    for procedure in (lambda noise: (gumbel(noise), ask(noise)), lambda noise: (ask(noise), gumbel(noise))):
        with pytest.raises(AddressReused, match="all lanes"):
            ulam.law(lambda noise, procedure=procedure: bool(procedure(noise)))
    assert ulam.law(lambda noise: (gumbel(noise), bool(noise.bernoulli(0.5, Address(0, 0, Purpose.accept, 1))))).paths == 4


@pytest.mark.parametrize(
    ("address", "field"),
    [
        (Address(-1, 0), "sequence"),
        (Address(0, 0.5), "position"),
        (Address(0, 2**32), "position"),
        (Address(0, 0, 256), "purpose"),
        (Address(0, 0, 0, 2**24), "lane"),
    ],
)
def test_an_address_that_no_noise_has(address: Address, field: str) -> None:
    for ask in (lambda noise: noise.bernoulli(0.5, address), lambda noise: noise.uniform(address), lambda noise: noise.categorical(np.zeros((1, 2)), address)):
        for noise in (PhiloxNoise(1), None):
            with pytest.raises(OutOfRange, match=f"{field} of an address"):
                ask(noise) if noise else ulam.law(ask)


def test_equal_sequence_numbers_share_noise_and_exact_mode_says_so() -> None:
    model = ulam.load("abc")
    with pytest.raises(AddressReused):
        ulam.law(lambda noise: ulam.sample(model, ["a", "a"], ["", "top_k=2"], sequence=[0, 0], max_tokens=1, noise=noise))


# what cannot be enumerated


@pytest.mark.parametrize("read", [float, lambda u: u.values])
def test_reading_a_number_is_not_enumerable(read: Any) -> None:
    with pytest.raises(NotEnumerable, match="position 4, purpose shift"):
        ulam.law(lambda noise: read(noise.uniform(at(4, Purpose.shift))))


class Counter:
    """A procedure with a memory: its n-th call returns or asks something else."""

    def __init__(self, change: Any):
        self.calls, self.change = itertools.count(), change

    def __call__(self, noise: Noise) -> Any:
        return self.change(noise, next(self.calls))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda noise, n: n, "for the same answers of the noise"),
        (lambda noise, n: (token(noise, (0.5, 0.5)), n > 10), "for the same answers of the noise"),
        (lambda noise, n: token(noise, (0.5, 0.5), position=n), "where it asked for"),
        (lambda noise, n: token(noise, (0.5, 0.25 + n / 1000)), "with other probabilities"),
        (lambda noise, n: bool(noise.bernoulli(0.5, HERE)) if n % 2 else token(noise, (0.5, 0.5)), "where it asked for"),
        (lambda noise, n: max(token(noise, (0.5, 0.5), i) for i in range(2 - n % 2)), "asked 1 questions where it asked 2 before"),
        (lambda noise, n: int(noise.uniform(HERE).cell([0.5 + n / 1000])), "with other probabilities"),
    ],
    ids=["result", "late", "address", "probabilities", "kind", "fewer", "edges"],
)
def test_a_procedure_that_does_not_repeat_itself(change: Any, match: str) -> None:
    with pytest.raises(NotDeterministic, match=match) as caught:
        ulam.law(Counter(change))
    assert "draw from the noise alone" in (caught.value.fix or "")


def test_a_generator_of_its_own_is_noticed() -> None:
    own = random.Random(0)
    with pytest.raises(NotDeterministic):
        ulam.law(lambda noise: own.random() < 0.5)
    with pytest.raises(NotDeterministic):
        ulam.law(lambda noise: own.random() < 0.5 and token(noise, (0.5, 0.5)) == 1)


def test_what_a_procedure_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        ulam.law(lambda noise: 1 // token(noise, (0.5, 0.5)))
    with pytest.raises(InvalidLogits):
        ulam.law(lambda noise: token(noise, (np.nan, 0.5)))
    with pytest.raises(OutOfRange, match=r"outside \[0, 1\]"):
        ulam.law(lambda noise: noise.bernoulli(1.5, HERE))


# budgets


def forever(noise: Noise) -> None:
    for position in itertools.count():
        noise.bernoulli(0.5, at(position))


def test_a_procedure_that_never_ends() -> None:
    with pytest.raises(BudgetExceeded, match="more than 50 questions"):
        ulam.law(forever, max_depth=50)


def until_heads(noise: Noise) -> int:
    return next(position for position in itertools.count() if noise.bernoulli(0.5, at(position)))


def test_bounds_where_the_budget_ends() -> None:
    """The first heads comes at k with probability 2^-(k+1); of the path that has no end, all that is known is its mass."""
    law = ulam.law(until_heads, max_depth=10, partial=True)
    assert [law.prob(k).low for k in range(10)] == [2.0 ** -(k + 1) for k in range(10)]
    assert law.uncovered == 2.0**-10
    assert law.prob(3) == (1 / 16, 1 / 16 + 2.0**-10)
    few = ulam.law(lambda noise: token(noise, (0.5, 0.25, 0.25)), max_paths=2, partial=True)
    assert (few.uncovered, few.prob(0), few.prob(2)) == (0.25, (0.5, 0.75), (0.0, 0.25))


def test_a_rest_is_never_too_small_to_be_told() -> None:
    """What is left out has 1e-13; that it is there is known, so there are bounds."""
    law = ulam.law(lambda noise: bool(noise.bernoulli(1e-13, HERE)), max_paths=1, partial=True)
    low, high = law.prob(True)  # type: ignore[misc]
    assert low == 0 < 1e-13 <= high <= 2e-12
    assert ulam.law(lambda noise: bool(noise.bernoulli(1e-13, HERE)), partial=True).prob(True) == 1e-13


def test_too_many_paths_says_how_far_it_came() -> None:
    told = r"more than max_paths=2 paths; the first 2 cover 0\.75 of the mass; the widest choice, categorical .* has 3 outcomes"
    with pytest.raises(BudgetExceeded, match=told):
        ulam.law(lambda noise: token(noise, (0.5, 0.25, 0.25)), max_paths=2)


def test_a_law_that_just_fits() -> None:
    assert len(ulam.law(lambda noise: token(noise, (0.5, 0.25, 0.25)), max_paths=3)) == 3


def test_too_many_outcomes_of_one_question() -> None:
    with pytest.raises(BudgetExceeded, match="has 4 outcomes, and max_outcomes is 3"):
        ulam.law(lambda noise: token(noise, (0.25,) * 4), max_outcomes=3)
    assert len(ulam.law(lambda noise: token(noise, (0.5, 0.5, 0.0, 0.0)), max_outcomes=2)) == 2


@pytest.mark.parametrize("limit", ["max_paths", "max_depth", "max_outcomes"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "many"])
def test_a_budget_that_allows_nothing(limit: str, value: Any) -> None:
    with pytest.raises(OutOfRange, match=f"{limit}={value} allows nothing"):
        ulam.law(lambda noise: 1, **{limit: value})
    if limit != "max_outcomes":
        with pytest.raises(OutOfRange, match=f"{limit}=None allows nothing"):
            ulam.law(lambda noise: 1, **{limit: None})  # type: ignore[arg-type]


def test_outcomes_that_cannot_be_counted() -> None:
    with pytest.raises(UsageError, match="of type list cannot be counted"):
        ulam.law(lambda noise: [1, 2])
    assert ulam.law(lambda noise: [1, 2], of=tuple).outcomes == ((1, 2),)


def test_what_is_no_procedure() -> None:
    with pytest.raises(UsageError, match="neither a procedure nor a model"):
        ulam.law("abc")  # type: ignore[arg-type]
    for given in ({"recipe": "top_k=2"}, {"prompt": "a"}, {"prompt": np.array([0, 1])}, {"max_tokens": 3}, {"stop": "a"}):
        with pytest.raises(UsageError, match="brings its own recipe"):
            ulam.law(lambda noise: 1, **given)  # type: ignore[arg-type]


def test_progress_is_told() -> None:
    heard: list[tuple[int, float]] = []
    ulam.law(lambda noise: token(noise, (0.5, 0.25, 0.25)), watch=lambda paths, covered: heard.append((paths, covered)))
    assert heard == [(1, 0.5), (2, 0.75), (3, 1.0)]
