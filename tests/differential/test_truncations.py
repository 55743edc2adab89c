"""The same rows to the truncations of transformers that have no place in the first file. Where the two differ, `Elsewhere` says so, and a test shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers import EpsilonLogitsWarper, EtaLogitsWarper, TopHLogitsWarper

from tests.differential.test_transformers_processors import kept, ours, theirs, untied
from ulam.methods import find

PAIRS = [
    ("epsilon_cutoff", EpsilonLogitsWarper, [3e-4, 9e-4, 0.01, 0.1, 0.5, 0.99]),
    ("eta_cutoff", EtaLogitsWarper, [3e-4, 4e-3, 0.01, 0.1, 0.5, 0.99]),
]


def told(name: str, text: str) -> bool:
    return text in " ".join(find(name).doc.split())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [2, 5, 50, 1000])
@pytest.mark.parametrize(("name", "processor", "values"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_the_same_tokens_bit_for_bit(name: str, processor: Any, values: list[float], width: int, dtype: type) -> None:
    z = untied(width, dtype)
    cut = 0
    for value in values:
        here, there = ours(name, value, z), theirs(processor(value), z)
        assert np.array_equal(here, there)
        cut += int((kept(z) & ~kept(here)).sum())
    assert cut > 60


def test_the_difference_of_epsilon_cutoff() -> None:
    """Elsewhere: where e is above max p every token tied with the maximum stays; 0 is an error."""
    z = np.log([[0.2, 0.4, 0.4]])
    assert kept(ours("epsilon_cutoff", 0.6, z)).tolist() == [[False, True, False]]
    assert kept(theirs(EpsilonLogitsWarper(0.6), z)).tolist() == [[False, True, True]]
    assert told("epsilon_cutoff", "every token tied with the maximum stays")
    with pytest.raises(ValueError, match="> 0"):
        EpsilonLogitsWarper(0.0)


def test_the_difference_of_eta_cutoff() -> None:
    """Elsewhere: e is rounded to float32, where 0.1 is a little more than 0.1; 0 is an error."""
    z = np.log([[0.1, 0.9]])
    assert kept(ours("eta_cutoff", 0.1, z)).tolist() == [[True, True]]
    assert kept(theirs(EtaLogitsWarper(0.1), z)).tolist() == [[False, True]]
    assert told("eta_cutoff", "e rounded to float32")
    with pytest.raises(ValueError, match="> 0"):
        EtaLogitsWarper(0.0)


@pytest.mark.parametrize("width", [5, 50, 100])
def test_top_h_keeps_a_prefix_of_the_same_order(width: int) -> None:
    """Both cut the row from below, at places of their own; what stays keeps its logits."""
    z = untied(width, np.float64)
    for a in (0.2, 0.4, 0.7):
        here, there = ours("top_h", a, z), theirs(TopHLogitsWarper(a), z)
        both = kept(here) & kept(there)
        assert np.array_equal(here[both], there[both])
        assert all(np.array_equal(b, x) or np.array_equal(b, y) for b, x, y in zip(both, kept(here), kept(there), strict=True))


def test_the_difference_of_top_h() -> None:
    """Elsewhere: the running sum of -p ln p. For 8 equal tokens it is k ln 8 / 8, and the entropy of k of them is ln k."""
    z = np.log([[0.05, 0.4, 0.15, 0.01, 0.2, 0.1, 0.02, 0.07]])
    assert [kept(ours("top_h", a, z)).sum() for a in (0.4, 0.6, 0.8)] == [2, 2, 4]
    assert [kept(theirs(TopHLogitsWarper(a), z)).sum() for a in (0.4, 0.6, 0.8)] == [1, 3, 4]
    flat = np.zeros((1, 8))
    assert [kept(ours("top_h", a, flat)).sum() for a in (0.35, 0.7)] == [2, 4]
    assert [kept(theirs(TopHLogitsWarper(a), flat)).sum() for a in (0.35, 0.7)] == [2, 5]
    assert told("top_h", "the running sum of -p ln p, in the row as it is, against a times its total, over the 100 most likely tokens")


def test_top_h_looks_at_the_hundred_most_likely_there() -> None:
    flat = np.zeros((1, 1000))
    assert kept(ours("top_h", 1, flat)).sum() == 1000
    assert kept(theirs(TopHLogitsWarper(1.0), flat)).sum() <= 100
    with pytest.raises(ValueError, match="range"):
        TopHLogitsWarper(0.0)
