"""The generator against published vectors and a second implementation, addresses, and draws at every edge."""

from __future__ import annotations

import math
from fractions import Fraction as F
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.false_alarms import Statistical
from tests.statistical.laws import spread
from ulam.core.errors import InvalidLogits, OutOfRange
from ulam.core.noise import Address, PhiloxNoise, Purpose, inverse_cdf, philox, sequence_number

MASK = 0xFFFFFFFF


def philox_by_hand(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 once more, in whole numbers of Python."""
    c, k = list(counter), list(key)
    for _ in range(10):
        (high0, low0), (high1, low1) = divmod(0xD2511F53 * c[0], 2**32), divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def bits_by_hand(seed: int, sequence: int, position: int, purpose: int, lane: int) -> int:
    words = philox_by_hand([position, purpose << 24 | lane, sequence & MASK, sequence >> 32], [seed & MASK, seed >> 32])
    return words[0] << 32 | words[1]


@pytest.mark.parametrize(
    ("counter", "key", "out"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([MASK] * 4, [MASK] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_published_vectors(counter: list[int], key: list[int], out: list[int]) -> None:
    """The known answers of the Random123 distribution for philox4x32-10."""
    words: Any = tuple(np.array([c], np.uint32) for c in counter)
    assert [int(word[0]) for word in philox(words, (key[0], key[1]))] == out
    assert philox_by_hand(counter, key) == out


@pytest.mark.parametrize(
    ("seed", "sequence", "position", "purpose", "lane", "bits"),
    [
        (0, 0, 0, 0, 0, 0x6627E8D5E169C58D),
        (7, 0, 0, 0, 0, 0xF4607A2DC009F9DC),
        (7, 1, 0, 0, 0, 0x7EBAED902BF6D9AF),
        (7, 0, 1, 0, 0, 0x682E8E9BCB97BC13),
        (7, 0, 0, 6, 12345, 0xBC38C1A42F8BC4D9),
        (2**64 - 1, 2**64 - 1, 2**32 - 1, 10, 2**24 - 1, 0x4CA4935CD138A140),
        (7, 3 << 32 | 2, 41, 2, 0, 0x4CB4C728379278D7),
    ],
)
def test_pinned_streams(seed: int, sequence: int, position: int, purpose: int, lane: int, bits: int) -> None:
    """These numbers never change: a change would change every text that anyone has drawn."""
    assert bits_by_hand(seed, sequence, position, purpose, lane) == bits
    address = Address([sequence], [position], purpose, [lane])
    assert PhiloxNoise(seed).bits(address).tolist() == [bits]
    assert PhiloxNoise(seed).uniform(address).values.tolist() == [(bits >> 11) * 2.0**-53]
    k = bits >> 12
    assert PhiloxNoise(seed).gumbel(address)[0] == pytest.approx(-math.log(-math.log((2 * k + 1) * 2.0**-53)), rel=1e-15)


word64, word32, word24 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**24 - 1)


@given(word64, st.lists(st.tuples(word64, word32, word24), min_size=1, max_size=6), st.sampled_from(list(Purpose)))
def test_many_at_once_are_the_same_as_one_by_one(seed: int, places: list[tuple[int, int, int]], purpose: Purpose) -> None:
    sequences, positions, lanes = (np.array(part, np.uint64) for part in zip(*places, strict=True))
    found = PhiloxNoise(seed).bits(Address(sequences, positions, purpose, lanes))
    assert found.tolist() == [bits_by_hand(seed, s, p, purpose, lane) for s, p, lane in places]


def test_no_two_addresses_share_a_counter() -> None:
    sequences, positions, lanes = [0, 1, 2, 2**32 - 1, 2**32, 2**63, 2**64 - 1], [0, 1, 2, 255, 2**24, 2**32 - 1], [0, 1, 255, 2**16, 2**24 - 1]
    grid = list(product(sequences, positions, list(Purpose), lanes))
    drawn = {bits_by_hand(7, *address) for address in grid}
    found: set[int] = set()
    for purpose in Purpose:
        s, p, lane = np.meshgrid(np.array(sequences, np.uint64), np.array(positions, np.uint64), np.array(lanes, np.uint64), indexing="ij")
        found |= set(PhiloxNoise(7).bits(Address(s, p, purpose, lane)).ravel().tolist())
    assert found == drawn
    assert len(drawn) == len(grid)


def test_sequence_numbers_of_prompts_and_samples() -> None:
    assert sequence_number(0, 5) == 5
    assert sequence_number(3, 2) == 3 * 2**32 + 2


def test_the_numbers_of_purposes_are_part_of_the_stream() -> None:
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "choose": 0,
        "xtc": 1,
        "accept": 2,
        "residual": 3,
        "resample": 4,
        "proposal": 5,
        "coupling": 6,
        "draft": 7,
        "cut": 8,
        "shift": 9,
        "pick": 10,
    }


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "7", None, math.nan])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(OutOfRange, match="seed="):
        PhiloxNoise(seed)


# ---- the inverse CDF


def edges(weights: list[int]) -> list[F]:
    """Every boundary of the running sum as a fraction of a total that is a power of two."""
    total = sum(weights)
    assert total & (total - 1) == 0
    return [F(sum(weights[: i + 1]), total) for i in range(len(weights))]


@pytest.mark.parametrize("weights", [[3, 0, 5, 0, 8], [0, 0, 1, 3, 4, 0], [1, 1], [16], [0, 1, 0], [1, 2, 3, 4, 6, 0, 0, 16]])
def test_every_boundary_and_its_neighbours(weights: list[int]) -> None:
    """u at a boundary belongs to the next token; the exact answer by fractions."""
    step = F(1, 2**53)
    for boundary in [F(0), *edges(weights)]:
        for u in (boundary - step, boundary, boundary + step, boundary / 2):
            if 0 <= u < 1:
                wanted = next(i for i, edge in enumerate(edges(weights)) if edge > u)
                assert inverse_cdf(np.array([weights], float), np.array([float(u)])).tolist() == [wanted]
                assert weights[wanted] > 0


def test_rounding_that_leaves_no_token_takes_the_last_possible_one() -> None:
    """With the smallest of all numbers as the total, u times the total rounds up to it."""
    u, smallest = 1 - 2.0**-53, 5e-324
    assert u * smallest == smallest
    assert inverse_cdf(np.array([[0.0, smallest, 0.0]]), np.array([u])).tolist() == [1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(any), st.integers(0, 2**53 - 1))
def test_the_definition_step_by_step(weights: list[float], k: int) -> None:
    u, total, sums = k * 2.0**-53, 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    beyond = [i for i, c in enumerate(sums) if c > u * total]
    wanted = beyond[0] if beyond else max(i for i, weight in enumerate(weights) if weight > 0)
    assert inverse_cdf(np.array([weights]), np.array([u])).tolist() == [wanted]
    assert weights[wanted] > 0


# ---- questions


def test_a_row_draws_the_same_alone_and_in_any_company() -> None:
    noise, z = PhiloxNoise(3), np.random.default_rng(0).standard_normal((9, 11)) * 3
    sequences, positions = np.arange(9) * 5, np.arange(9) % 4
    for coupling in ("inverse_cdf", "gumbel"):
        whole = noise.categorical(z, Address(sequences, positions), coupling)
        for order in (np.arange(9)[::-1], np.array([4]), np.array([8, 0, 3])):
            assert noise.categorical(z[order], Address(sequences[order], positions[order]), coupling).tolist() == whole[order].tolist()


def test_coupled_draws_are_the_maximum_of_their_own_noise() -> None:
    z = np.array([[0.0, -np.inf, 1.5, 1.5, -2.0]] * 20)
    at = Address(np.arange(20), 3, Purpose.coupling)
    by_hand = []
    for sequence in range(20):
        keys = []
        for token in range(5):
            u = (2 * (bits_by_hand(5, sequence, 3, Purpose.coupling, token) >> 12) + 1) * 2.0**-53
            keys.append(z[0, token] - math.log(-math.log(u)))
        by_hand.append(keys.index(max(keys)))
    assert PhiloxNoise(5).categorical(z, at, coupling="gumbel").tolist() == by_hand
    assert len(set(by_hand)) > 1


def test_coupled_draws_agree_as_often_as_they_can(statistical: Statistical) -> None:
    """Two rows at the same addresses, P(both i) = 1 / sum_j max(p_j / p_i, q_j / q_i). Seen: draws that are independent, which agree with
    probability sum p q."""
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.4, 0.25, 0.05, 0.3])
    at = Address(np.arange(4000), 0)
    one, other = (PhiloxNoise(1).categorical(np.tile(np.log(row), (4000, 1)), at, coupling="gumbel") for row in (p, q))
    agree, independent = sum(1 / np.maximum(p / p[i], q / q[i]).sum() for i in range(4)), float(p @ q)
    counts = np.bincount(one == other, minlength=2)
    statistical("core.noise.coupling", counts, [1 - agree, agree], [1 - independent, independent])


@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
def test_the_law_of_many_draws(coupling: Any, statistical: Statistical) -> None:
    p, n = np.array([0.37, 0.05, 0.0, 0.21, 0.13, 0.24]), 200_000
    with np.errstate(divide="ignore"):
        rows = np.broadcast_to(np.log(p), (n // 20, 6))
    at = [Address(np.arange(n // 20), position) for position in range(20)]
    counts = sum(np.bincount(PhiloxNoise(2024).categorical(rows, where, coupling), minlength=6) for where in at)
    statistical(f"core.noise.{coupling}", counts, p, spread(p, 0.02))


def test_uniforms_fill_the_interval(statistical: Statistical) -> None:
    """In 100 equal cells. Seen: uniforms of 8 bits, and a density that rises from 0.93 to 1.07."""
    cells = np.floor(PhiloxNoise(11).uniform(Address(np.arange(200_000), 0)).values * 100).astype(int)
    even = np.full(100, 1 / 100)
    eight_bits = np.bincount(np.arange(256) * 100 // 256, minlength=100) / 256
    statistical("core.noise.uniform", np.bincount(cells, minlength=100), even, eight_bits, even * np.linspace(0.93, 1.07, 100))


def test_uniforms_of_neighbours_are_independent(statistical: Statistical) -> None:
    """Sequences 2i and 2i + 1, in 12 x 12 equal cells. Seen: one pair in thirty that is the same number twice."""
    first, second = np.floor(PhiloxNoise(12).uniform(Address(np.arange(100_000), 0)).values * 12).astype(int).reshape(-1, 2).T
    even, same = np.full((12, 12), 1 / 144), np.eye(12) / 12
    statistical("core.noise.neighbours", np.bincount(first * 12 + second, minlength=144), even.ravel(), (29 * even + same).ravel() / 30)


def test_coins() -> None:
    at = Address(np.arange(1000), 0, Purpose.accept)
    noise = PhiloxNoise(4)
    u = noise.uniform(at).values
    assert not noise.bernoulli(0.0, at).any()
    assert noise.bernoulli(1.0, at).all()
    assert np.array_equal(noise.bernoulli(u, at), np.zeros(1000, bool))  # u < u never
    assert np.array_equal(noise.bernoulli(np.nextafter(u, 1), at), np.ones(1000, bool))


@pytest.mark.parametrize("p", [-1e-9, 1.1, math.nan, [0.5, 2.0]])
def test_what_is_no_probability(p: Any) -> None:
    with pytest.raises(OutOfRange, match=r"outside \[0, 1\]"):
        PhiloxNoise(0).bernoulli(p, Address([0, 1], 0))


@pytest.mark.parametrize("row", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
def test_rows_that_cannot_be_drawn_from(row: list[float], coupling: Any) -> None:
    with pytest.raises(InvalidLogits):
        PhiloxNoise(0).categorical(np.array([row]), Address([0], [0]), coupling)


@pytest.mark.parametrize(
    "address",
    [Address(0, 2**32), Address(0, 0, lane=2**24), Address([-1], 0), Address(0, 1.9), Address(2**64, 0), Address(0, [True])],
    ids=["position", "lane", "negative", "fraction", "sequence", "bool"],
)
def test_an_address_that_would_wrap_is_refused(address: Address) -> None:
    with pytest.raises(OutOfRange, match="of an address"):
        PhiloxNoise(1).uniform(address)


def test_more_tokens_than_lanes_are_refused() -> None:
    with pytest.raises(OutOfRange, match="lane of an address"):
        PhiloxNoise(1).categorical(np.broadcast_to(0.0, (1, 2**24 + 1)), Address([0], [0]), coupling="gumbel")
