"""The same rows and histories to the processors of transformers: the same logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import ExponentialDecayLengthPenalty, SequenceBiasLogitsProcessor

from tests.differential.test_transformers_processors import ROWS, theirs, untied
from ulam.core.context import Context, History
from ulam.methods import find
from ulam.testing.inputs import letters

torch.set_num_threads(1)

LENGTHS = [1, 3, 12]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [5, 50, 1000])
@pytest.mark.parametrize("length", LENGTHS)
def test_sequence_bias(length: int, width: int, dtype: type) -> None:
    """Histories of three tokens, so that every key meets many of them; and some longer than the context."""
    z = untied(width, dtype)
    rng = np.random.default_rng(length)
    tokens = rng.integers(0, 3, (ROWS, length))
    bias = {tuple(rng.integers(0, 3, rng.integers(1, 5)).tolist()): float(rng.integers(-12, 12)) / 4 for _ in range(20)}
    stage: Any = find("sequence_bias").stage(bias)
    here = stage(torch.asarray(z), Context([History(row.tolist()) for row in tokens])).numpy()
    there = theirs(SequenceBiasLogitsProcessor([[list(key), value] for key, value in bias.items()]), z, tokens)
    assert (here != z).any()
    assert np.array_equal(here > -np.inf, there > -np.inf)
    # their sum of biases is taken in float32: quarters are exact, so one addition is rounded here and there
    assert np.allclose(here, there, rtol=0, atol={np.float32: 4e-6, np.float64: 1e-14}[dtype])


def test_a_context_that_is_all_of_a_beginning_is_one() -> None:
    z, tokens = np.zeros((1, 3)), np.array([[0, 1]])
    stage: Any = find("sequence_bias").stage({(0, 1, 2): 1.5, (1, 0, 1, 2): 4})
    assert stage(z, Context([History([0, 1])])).tolist() == [[0, 0, 1.5]]
    assert theirs(SequenceBiasLogitsProcessor([[[0, 1, 2], 1.5], [[1, 0, 1, 2], 4.0]]), z, tokens).tolist() == [[0, 0, 1.5]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [5, 50, 1000])
@pytest.mark.parametrize("factor", [0.5, 1.01, 1.5])
@pytest.mark.parametrize("prompt", [1, 4])
def test_length_decay(prompt: int, factor: float, width: int, dtype: type) -> None:
    z = untied(width, dtype)
    for start, generated, ends in ((0, 0, (1,)), (2, 2, (0,)), (2, 3, (0, 2)), (3, 40, (1, 4))):
        here_stage: Any = find("length_decay").stage(factor, start)
        rows = [History([0] * prompt, [0] * generated)] * ROWS
        here = here_stage(torch.asarray(z), Context(rows, letters(width, ends))).numpy()
        processor = ExponentialDecayLengthPenalty((start, factor), torch.tensor(ends), prompt)
        there = theirs(processor, z, np.zeros((ROWS, prompt + generated), np.int64))
        assert np.allclose(here, there, rtol={np.float32: 2e-6, np.float64: 1e-14}[dtype], atol=0)
