"""The same rows to the logits processors of transformers. Where the two differ, the method's `Elsewhere` says so, and a test shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from ulam.core.context import Context, History
from ulam.methods import find

torch.set_num_threads(1)

ROWS = 60


def untied(width: int, dtype: type) -> NDArray[Any]:
    """Rows without ties, peaked and flat, some with holes."""
    rng = np.random.default_rng(width)
    z = rng.permuted(np.tile(np.linspace(-1, 1, width), (ROWS, 1)), axis=1) + rng.uniform(-1, 1, (ROWS, width)) / (2 * width)
    z *= rng.uniform(0.5, 12, (ROWS, 1))
    z[::5, 1::3] = -np.inf
    return z.astype(dtype)


def ours(name: str, value: float, z: NDArray[Any], tokens: NDArray[np.int64] | None = None) -> NDArray[Any]:
    stage: Any = find(name).stage(value)
    context = Context([] if tokens is None else [History(row.tolist()) for row in tokens])
    return stage(torch.asarray(z), context).numpy()


def theirs(processor: Any, z: NDArray[Any], tokens: NDArray[np.int64] | None = None) -> NDArray[Any]:
    ids = torch.zeros((len(z), 1), dtype=torch.int64) if tokens is None else torch.asarray(tokens)
    return processor(ids, torch.asarray(z.copy())).numpy()


def kept(z: NDArray[Any]) -> NDArray[np.bool_]:
    return z > -np.inf


def assert_same_kept(z: NDArray[Any], here: NDArray[np.bool_], there: NDArray[np.bool_], value: float) -> None:
    """The same sets in float64. In float32 a row in twenty may differ by one token, where the mass without it is p up to rounding:
    2^-20 p is the slack here, and as much again is left for a thousand additions in float32 there."""
    different = np.flatnonzero((here != there).any(axis=-1))
    if z.dtype == np.float64 or not len(different):
        assert len(different) == 0
        return
    assert len(different) <= len(z) / 20
    for b in different:
        weights = np.exp(z[b].astype(np.float64) - float(z[b].max()))
        assert (here[b] != there[b]).sum() == 1
        assert abs(weights[here[b] & there[b]].sum() / weights.sum() / value - 1) < 2.0**-19


PAIRS = [
    ("temperature", TemperatureLogitsWarper, [0.3, 0.7, 1.5, 10.0]),
    ("top_k", TopKLogitsWarper, [1, 2, 7, 40]),
    ("top_p", TopPLogitsWarper, [0.1, 0.5, 0.9, 0.99]),
    ("min_p", MinPLogitsWarper, [0.01, 0.1, 0.5, 1.0]),
    ("typical_p", TypicalLogitsWarper, [0.1, 0.5, 0.9, 0.99]),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [5, 50, 1000])
@pytest.mark.parametrize(("name", "processor", "values"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_the_same_tokens_and_the_same_logits(name: str, processor: Any, values: list[Any], width: int, dtype: type) -> None:
    z = untied(width, dtype)
    for value in values:
        here, there = ours(name, value, z), theirs(processor(value), z)
        assert_same_kept(z, kept(here), kept(there), value)
        here, there = (np.where(kept(here) & kept(there), x, 0.0) for x in (here, there))
        # temperature is s/T + m/T here and z/T there: two units in the last place of a logit below 12 / 0.3
        allowed = {np.float32: 1e-5, np.float64: 2e-14}[dtype] if name == "temperature" else 0.0
        assert np.abs(here - there).max() <= allowed


@pytest.mark.parametrize("r", [0.7, 1.1, 2.0])
@pytest.mark.parametrize("width", [5, 50])
def test_repetition_penalty(width: int, r: float) -> None:
    """A row and a history in which most tokens repeat; bit for bit, as both divide or multiply once."""
    z = untied(width, np.float64)
    tokens = np.random.default_rng(1).integers(0, width, (ROWS, 40))
    assert np.array_equal(ours("repetition_penalty", r, z, tokens), theirs(RepetitionPenaltyLogitsProcessor(r), z, tokens))


def test_the_difference_of_top_k() -> None:
    """Elsewhere: every token tied with the k-th stays, so more than k may."""
    z = np.array([[1.0, 3.0, 1.0, 1.0]])
    assert kept(ours("top_k", 2, z)).tolist() == [[True, True, False, False]]
    assert kept(theirs(TopKLogitsWarper(2), z)).tolist() == [[True, True, True, True]]
    assert "every token tied with the k-th stays" in find("top_k").doc


def test_the_difference_of_top_p() -> None:
    """Elsewhere: they sum from the tail, so among ties the highest ids survive."""
    z = np.log([[0.2, 0.2, 0.2, 0.4]])
    assert kept(ours("top_p", 0.7, z)).tolist() == [[True, True, False, True]]
    assert kept(theirs(TopPLogitsWarper(0.7), z)).tolist() == [[False, True, True, True]]
    assert "among ties the highest ids" in " ".join(find("top_p").doc.split())


def test_the_difference_of_typical_p() -> None:
    """Elsewhere: tokens tied in deviation with the last one stay."""
    z = np.zeros((1, 4))
    assert kept(ours("typical_p", 0.5, z)).tolist() == [[True, True, False, False]]
    assert kept(theirs(TypicalLogitsWarper(0.5), z)).tolist() == [[True, True, True, True]]
    assert "tokens tied in deviation with the last one stay" in find("typical_p").doc


def test_the_difference_of_temperature() -> None:
    """Elsewhere: 0 is an error there, and argmax here."""
    assert kept(ours("temperature", 0, np.array([[1.0, 2.0]]))).tolist() == [[False, True]]
    with pytest.raises(ValueError, match="strictly positive"):
        TemperatureLogitsWarper(0.0)
