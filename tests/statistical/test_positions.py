"""Positions and samples of a model whose tokens are independent: then so must be everything that `ulam.sample` draws from it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import ulam
from tests.false_alarms import Statistical
from ulam.core.noise import Address, Noise, PhiloxNoise, Uniform
from ulam.models import IID
from ulam.testing import draws_match, two_way, two_way_miss

LAW = np.array([0.31, 0.05, 0.17, 0.27, 0.08, 0.12])
N, LENGTH = 500, 40


def draw(noise: Noise) -> NDArray[np.int64]:
    """[N, LENGTH]."""
    return np.array([sample.tokens for sample in ulam.sample(IID(LAW.tolist()), [[]], "", n=N, max_tokens=LENGTH, noise=noise)])


@pytest.fixture(scope="module")
def tokens() -> NDArray[np.int64]:
    return draw(PhiloxNoise(21))


def pairs(tokens: NDArray[np.int64], name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of neighbours, none of which share a draw."""
    if name == "positions":
        return tokens[:, 0::2], tokens[:, 1::2]
    if name == "samples":
        return tokens[0::2], tokens[1::2]
    return tokens[0::2, 1::2], tokens[1::2, 0::2]  # one sample further and one position back: the sum of the two is the same


def counts_of(tokens: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    first, second = pairs(tokens, name)
    return np.bincount((first * 6 + second).ravel(), minlength=36)


@pytest.mark.parametrize("name", ["positions", "samples", "diagonals"])
def test_neighbours_are_independent(name: str, tokens: NDArray[np.int64], statistical: Statistical) -> None:
    """The joint law of both is the product of their laws. Seen is one pair in eight whose two draws have their noise in common."""
    shared = 0.875 * np.outer(LAW, LAW) + 0.125 * np.diag(LAW)
    statistical(f"iid.{name}", counts_of(tokens, name), np.outer(LAW, LAW).ravel(), shared.ravel())


class SamePosition(PhiloxNoise):
    def uniform(self, address: Address) -> Uniform:
        return super().uniform(Address(address.sequence, np.asarray(address.position) // 2))


class SameSequence(PhiloxNoise):
    def uniform(self, address: Address) -> Uniform:
        return super().uniform(Address(np.asarray(address.sequence) // 2, address.position))


class OneCounter(PhiloxNoise):
    """Adds what it should keep apart."""

    def uniform(self, address: Address) -> Uniform:
        return super().uniform(Address(np.asarray(address.sequence, np.uint64) + np.asarray(address.position, np.uint64), 0))


@pytest.mark.parametrize(("name", "noise"), [("positions", SamePosition), ("samples", SameSequence), ("diagonals", OneCounter)])
def test_noise_that_is_used_twice_is_rejected(name: str, noise: type[PhiloxNoise]) -> None:
    assert not draws_match(counts_of(draw(noise(21)), name), np.outer(LAW, LAW).ravel()).ok


def test_no_position_has_a_law_of_its_own(tokens: NDArray[np.int64], statistical: Statistical) -> None:
    """Tokens by position, five positions a row. Seen is a law that drifts along the text, by 0.07 each way."""
    table = np.stack([np.bincount(five.ravel(), minlength=6) for five in np.split(tokens, 8, axis=1)])
    drift = np.stack([LAW + each * np.array([1, 0, 0, -1, 0, 0]) for each in np.linspace(-0.07, 0.07, 8)])
    statistical.tally("iid.every_position", two_way(table), two_way_miss(drift / 8, N * LENGTH))
