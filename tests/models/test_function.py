"""A Python function as a model: its numbers, its vocabulary, and everything that it may do wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import InvalidLogits, ModelError, NeedsTokenizer, UsageError
from ulam.models import FunctionModel, LanguageModel, alphabet, load


def after(tokens: list[int]) -> list[float]:
    """Token 1 is twice as likely as token 0 for every token so far."""
    return [0.0, len(tokens) * math.log(2.0)]


def test_a_function_of_the_tokens() -> None:
    model = load(after, "xy")
    assert isinstance(model, FunctionModel)
    assert isinstance(model, LanguageModel)
    assert (model.name, model.context_limit, model.vocabulary.tokens) == ("after", None, (b"x", b"y"))
    state, logits = model.prefill([[], [1, 1]])
    assert logits.dtype == np.float64
    assert logits.tolist() == [[0.0, 0.0], [0.0, 2 * math.log(2.0)]]
    _, logits = model.step(model.select(state, [1, 0]), [0, 0])
    assert logits.tolist() == [[0.0, 3 * math.log(2.0)], [0.0, math.log(2.0)]]
    assert model.prefill([])[1].shape == (0, 2)
    (sample,) = ulam.sample(model, "x", "greedy", max_tokens=3)
    assert sample.text == "yyy"
    assert sample.model_log_prob == pytest.approx(math.log(2 / 3 * 4 / 5 * 8 / 9), rel=1e-14)


@pytest.mark.parametrize(
    "row",
    [
        [0.5, -math.inf, 2],
        (0.5, -np.inf, 2.0),
        np.array([0.5, -np.inf, 2.0]),
        np.array([0.5, -np.inf, 2.0], np.float32),
        np.array([0.5, -np.inf, 2.0], np.float16),
        np.stack([np.array([0.5, -np.inf, 2.0])] * 2, axis=1)[:, 0],
    ],
)
def test_rows_of_any_kind(row: Any) -> None:
    _, logits = FunctionModel(lambda tokens: row).prefill([[], [2]])
    assert logits.dtype == np.float64
    assert logits.tolist() == [[0.5, -math.inf, 2.0]] * 2


def test_rows_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for more in ({}, {"dtype": torch.bfloat16}, {"requires_grad": True}):
        _, logits = FunctionModel(lambda tokens, more=more: torch.tensor([0.5, -math.inf, 2.0], **more)).prefill([[], [2]])
        assert logits.dtype == np.float64
        assert logits.tolist() == [[0.5, -math.inf, 2.0]] * 2


def test_the_function_gets_a_list_of_its_own() -> None:
    seen: list[list[int]] = []

    def greedy_hands(tokens: list[int]) -> list[float]:
        seen.append(list(tokens))
        tokens.clear()
        return [0.0, 0.0]

    model = FunctionModel(greedy_hands, "ab")
    assert seen == []  # with a vocabulary nothing is called before it is needed
    state, _ = model.prefill([np.array([0, 1])])
    model.step(state, [1])
    assert seen == [[0, 1], [0, 1, 1]]
    assert all(type(token) is int for tokens in seen for token in tokens)


@pytest.mark.parametrize(("size", "letters"), [(1, "a"), (3, "abc"), (52, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")])
def test_letters_if_no_vocabulary_is_given(size: int, letters: str) -> None:
    calls: list[list[int]] = []
    model = load(lambda tokens: calls.append(tokens) or [0.0] * size)
    assert calls == [[]]
    assert model.name == "function"
    assert model.vocabulary.tokens == tuple(letter.encode() for letter in letters)
    assert model.vocabulary.encode(letters[-1]) == [size - 1]


def test_more_tokens_than_letters_have_no_text() -> None:
    model = load(lambda tokens: [0.0] * 53)
    assert len(model.vocabulary) == 53
    assert model.vocabulary.decode([7, 52]) == ""
    with pytest.raises(NeedsTokenizer):
        model.vocabulary.encode("a")
    assert len(ulam.sample(model, [4], max_tokens=5, seed=1)[0].tokens) == 5


def test_vocabularies() -> None:
    ends = alphabet("a", end="$")
    assert load(after, ends).vocabulary is ends
    for wrong in (7, b"ab", ["a", "b"], object()):
        with pytest.raises(UsageError, match="the vocabulary of a function is a Vocabulary or its letters"):
            load(after, wrong)
    with pytest.raises(UsageError, match="a vocabulary needs a token"):
        load(after, "")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.0, 0.0, 0.0], "3 logits for 2 tokens"),
        ([0.0], "1 logits for 2 tokens"),
        ([], r"logits of shape \[0\]"),
        (None, r"logits of shape \[\]"),
        ([[0.0, 0.0]], r"logits of shape \[1, 2\]"),
        (0.5, r"logits of shape \[\]"),
    ],
)
def test_numbers_that_are_no_logits(row: Any, words: str) -> None:
    model = FunctionModel(lambda tokens: row if tokens else [0.0, 0.0], name="mine")
    with pytest.raises(InvalidLogits, match=f"mine returned {words} after a prefix of 2 tokens") as error:
        model.prefill([[], [0, 1]])
    assert error.value.fix
    state, _ = model.prefill([[]])
    with pytest.raises(InvalidLogits, match="after a prefix of 1 tokens"):
        model.step(state, [1])


@pytest.mark.parametrize("row", [[0.0, math.nan], [0.0, math.inf], [-math.inf, -math.inf]])
def test_a_row_that_nothing_can_be_drawn_from_fails_alone(row: list[float]) -> None:
    model = FunctionModel(lambda tokens: row if tokens else [0.0, 0.0], "ab")
    failed, drawn = ulam.sample(model, [[0], []], max_tokens=1, seed=1)
    assert (failed.finish_reason, type(failed.error), drawn.finish_reason) == ("error", InvalidLogits, "length")


class Broken(Exception):
    """Something of the user's own."""


def test_a_function_that_fails_is_told_with_its_reason() -> None:
    def fails(tokens: list[int]) -> list[float]:
        if len(tokens) == 2:
            raise Broken("no such row\nand more about it")
        return [0.0, 0.0]

    state, _ = FunctionModel(fails, "ab").prefill([[0]])
    with pytest.raises(ModelError, match="fails failed on a prefix of 2 tokens: Broken: no such row\n") as error:
        FunctionModel(fails, "ab").step(state, [0])
    assert isinstance(error.value.__cause__, Broken)
    for row, reason in ((["a", "b"], "ValueError"), ([[1.0], [1.0, 2.0]], "ValueError"), ({0: 1.0}, "TypeError")):
        with pytest.raises(ModelError, match=f"on a prefix of 0 tokens: {reason}"):
            load(lambda tokens, row=row: row)
    with pytest.raises(ModelError, match="int failed on a prefix of 0 tokens: TypeError"):
        load(int)


def test_ctrl_c_is_nobodys_error() -> None:
    def interrupted(tokens: list[int]) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FunctionModel(interrupted, "ab").prefill([[]])


def test_fingerprints() -> None:
    one, two = FunctionModel(after, "ab"), FunctionModel(after, "ab")
    assert one.fingerprint == one.fingerprint != two.fingerprint
    assert FunctionModel(after, "ab", fingerprint="after-1").fingerprint == "after-1"
