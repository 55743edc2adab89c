"""Several tokens at once: a model's own way, or steps, and the same logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.models.counted import Counted, irregular
from ulam.core.errors import ContextOverflow, StaleState, TokenOutOfRange, UsageError
from ulam.models import CachedModel, extend
from ulam.models.builtin import Llama


def test_steps_for_a_model_without_a_way_of_its_own() -> None:
    model = Counted()
    state, _ = model.prefill([(0,), (1, 2)])
    state, logits = extend(model, state, [[0, 1, 2], [2, 1, 0]])
    texts = [[(0, 0), (0, 0, 1), (0, 0, 1, 2)], [(1, 2, 2), (1, 2, 2, 1), (1, 2, 2, 1, 0)]]
    assert logits.tolist() == [[np.log(irregular(text)).tolist() for text in row] for row in texts]
    assert state.rows == ((0, 0, 1, 2), (1, 2, 2, 1, 0))
    assert model.live == 2


def test_a_way_of_its_own_is_taken(tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = np.array([[5, 6, 7], [8, 9, 10]])
    stepped = extend(CachedModel(tiny), CachedModel(tiny).prefill([[0], [0, 1]])[0], texts)[1]
    monkeypatch.setattr(Llama, "step", None)
    state, _ = tiny.prefill([[0], [0, 1]])
    state, logits = extend(tiny, state, texts)
    assert np.array_equal(logits, stepped)
    tiny.release(state)


@pytest.mark.parametrize("tokens", [[[], []], np.zeros((2, 0), np.int64)])
def test_no_tokens(tokens: Any) -> None:
    model = Counted()
    state, _ = model.prefill([(0,), (1,)])
    state, logits = extend(model, state, tokens)
    assert logits.shape == (2, 0, 3)
    assert model.step(state, [0, 0])[1].shape == (2, 3)


def test_no_rows() -> None:
    model = Counted()
    state, _ = model.prefill([])
    assert extend(model, state, np.zeros((0, 2), np.int64))[1].shape == (0, 2, 3)


@pytest.mark.parametrize(("tokens", "error"), [([[0, 3]], TokenOutOfRange), ([[0], [1]], UsageError), ([[0.5]], TokenOutOfRange), ([0], UsageError)])
def test_what_is_refused(tokens: Any, error: type[Exception]) -> None:
    model = Counted()
    state, _ = model.prefill([(0,)])
    with pytest.raises(error):
        extend(model, state, tokens)


def test_rows_of_unequal_length_are_refused() -> None:
    model = Counted()
    state, _ = model.prefill([(0,), (1,)])
    with pytest.raises(UsageError, match="rows of token ids, all of one length"):
        extend(model, state, [[0, 1], [0]])
    assert model.step(state, [0, 0])[1].shape == (2, 3)


def test_a_step_that_fails_ends_the_state() -> None:
    model = Counted(limit=3)
    state, _ = model.prefill([(0,)])
    with pytest.raises(ContextOverflow):
        extend(model, state, [[0, 1, 2]])
    assert model.live == 0
    with pytest.raises(StaleState):
        extend(model, state, [[0]])


def test_torch_stays_torch() -> None:
    torch = pytest.importorskip("torch")

    class Torch(Counted):
        def read(self, kind: str, state: Any, logits: Any) -> Any:
            return state, torch.asarray(logits)

    model = Torch()
    tokens: Sequence[Sequence[int]] = [[0, 1]]
    _, logits = extend(model, model.prefill([(0,)])[0], tokens)
    assert logits.shape == (1, 2, 3)
    assert torch.equal(logits[0], torch.asarray(np.log([irregular((0, 0)), irregular((0, 0, 1))])))
