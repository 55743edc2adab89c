"""Table models: exact logits, prefixes as rows, and rows that are no distribution refused."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import product
from math import log
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import ModelError, StaleState, TokenOutOfRange, UsageError
from ulam.models import IID, LanguageModel, Table, abc, alphabet

# tokens x, y and the end: x .5, y .4, end .1; after x: y .5, end .5; after anything else the end
X, Y, END = 0, 1, 2
VOCABULARY = alphabet("xy", end="$")


def drafts() -> Table:
    return Table({(): (0.5, 0.4, 0.1), (X,): (0, F(1, 2), F(1, 2))}, VOCABULARY, otherwise=lambda prefix: (0, 0, 1), name="D")


def text_probability(model: LanguageModel, text: tuple[int, ...]) -> float:
    """Probability of a text, step by step."""
    state, logits = model.prefill([()])
    total = 0.0
    for token in text:
        total += logits[0, token]
        state, logits = model.step(state, [token])
    return float(np.exp(total))


def test_abc() -> None:
    model = abc()
    assert isinstance(model, LanguageModel)
    assert (model.name, model.context_limit, model.vocabulary.start, model.vocabulary.ends) == ("abc", None, None, ())
    assert model.vocabulary.tokens == (b"a", b"b", b"c")
    for prompt in ([], [0], [2, 1, 0]):
        _, logits = model.prefill([prompt])
        assert logits.dtype == np.float64
        assert logits.tolist() == [[log(1 / 2), log(1 / 4), log(1 / 4)]]
    assert text_probability(model, (0, 0, 0)) == pytest.approx(1 / 8, rel=1e-15)  # three roundings of a logarithm
    assert model.vocabulary.encode("abca") == [0, 1, 2, 0]
    assert model.vocabulary.decode([2, 1]) == "cb"
    with pytest.raises(UsageError, match="'x' is not in the alphabet of this model: a, b, c"):
        model.vocabulary.encode("abx")


def test_leaves_of_a_table_add_to_one() -> None:
    """The five leaves worked out by hand, and every other text of three tokens impossible."""
    leaves = {(END,): 0.1, (X, END): 0.25, (X, Y, END): 0.25, (Y, END): 0.4}
    for text, probability in leaves.items():
        assert text_probability(drafts(), text) == pytest.approx(probability, rel=1e-15)
    for text in product((X, Y), repeat=3):
        assert text_probability(drafts(), text) == 0
    assert VOCABULARY.names == {END: "$"}
    assert VOCABULARY.ends == (END,)
    assert drafts().vocabulary.decode([X, Y, END]) == "xy"


def test_an_impossible_token_is_minus_infinity() -> None:
    _, logits = drafts().prefill([(X,)])
    assert logits.tolist() == [[-np.inf, log(1 / 2), log(1 / 2)]]


def test_a_prefix_is_the_whole_row() -> None:
    """Steps after a prompt and the same tokens prefilled ask for the same prefix."""
    asked: list[tuple[int, ...]] = []

    def after(prefix: tuple[int, ...]) -> tuple[float, float]:
        asked.append(prefix)
        return (0.5, 0.5)

    model = Table({}, alphabet("ab"), otherwise=after)
    state, _ = model.prefill([[0, 1], []])
    state, _ = model.step(state, np.array([1, 0]))
    model.prefill([[0, 1, 1]])
    assert asked == [(0, 1), (), (0, 1, 1), (0,), (0, 1, 1)]


def test_rows_fork_drop_and_change_places() -> None:
    model = drafts()
    root, _ = model.prefill([(X,), ()])
    forks = model.select(root, np.array([1, 0, 0]))
    forks, logits = model.step(forks, [X, Y, END])
    assert np.exp(logits).tolist() == [[0, 0.5, 0.5], [0, 0, 1], [0, 0, 1]]
    _, logits = model.step(root, [Y, Y])  # select left its argument alone
    assert np.exp(logits).tolist() == [[0, 0, 1], [0, 0, 1]]
    none, logits = model.prefill([])
    assert logits.shape == (0, 3)
    assert model.step(model.select(none, []), [])[1].shape == (0, 3)


def test_a_state_is_used_once() -> None:
    model = abc()
    state, _ = model.prefill([()])
    after, _ = model.step(state, [0])
    with pytest.raises(StaleState):
        model.step(state, [0])
    with pytest.raises(StaleState):
        model.select(state, [0])
    model.release(after)
    model.release(after)
    with pytest.raises(StaleState):
        model.step(after, [0])


def test_wrong_tokens_leave_the_state() -> None:
    model = abc()
    state, _ = model.prefill([()])
    for tokens in ([3], [-1], [0.5]):
        with pytest.raises(TokenOutOfRange):
            model.step(state, tokens)
    with pytest.raises(UsageError, match="1 token ids, one a row"):
        model.step(state, [0, 0])
    with pytest.raises(TokenOutOfRange):
        model.prefill([[3]])
    assert model.step(state, [0])[1].shape == (1, 3)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0.5, 0.5), "are 2 numbers for 3 tokens"),
        ((0.5, 0.25, 0.25, 0), "are 4 numbers for 3 tokens"),
        ((), "are 0 numbers"),
        ((0.5, 0.75, -0.25), "hold -0.25"),
        ((0.5, 0.5, float("nan")), "hold nan"),
        ((0.5, float("inf"), 0), "add to inf"),
        ((0.5, 0.25, 0.25 + 2e-9), "add to 1.000000002"),
        ((0, 0, 0), "add to 0"),
    ],
)
def test_rows_that_are_no_distribution(row: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Table({(1,): row}, alphabet("abc"))
    with pytest.raises(ModelError, match=words):
        Table({}, alphabet("abc"), otherwise=lambda prefix: row).prefill([(0, 1)])
    with pytest.raises(ModelError):
        IID(row, alphabet("abc"))


def test_rounding_of_a_row_is_forgiven() -> None:
    _, logits = IID((0.1,) * 10).prefill([()])
    assert logits.tolist() == [[log(0.1)] * 10]
    IID((0.5, 0.25, 0.25 + 5e-10))


def test_a_prefix_without_a_row_is_named() -> None:
    model = Table({(): (1, 0)}, alphabet("ab"), name="short")
    with pytest.raises(ModelError, match=r"short has no probabilities after the prefix \(0,\)"):
        model.prefill([(0,)])
    with pytest.raises(TokenOutOfRange):
        Table({(2,): (1, 0)}, alphabet("ab"))


def test_a_failed_step_leaves_the_state() -> None:
    model = Table({(): (0.5, 0.5), (0,): (1, 0)}, alphabet("ab"))
    state, _ = model.prefill([()])
    with pytest.raises(ModelError):
        model.step(state, [1])
    assert model.step(state, [0])[1].shape == (1, 2)


def test_letters_for_a_vocabulary_that_was_not_given() -> None:
    assert IID((F(1, 2), F(1, 2))).vocabulary.tokens == (b"a", b"b")
    with pytest.raises(ModelError, match="52 letters for 53 tokens"):
        IID((F(1, 53),) * 53)


def test_fingerprints_follow_the_probabilities() -> None:
    models = [abc(), IID((0.25, 0.5, 0.25)), IID((0.5, 0.25, 0.25), alphabet("abd")), drafts(), Table({(): (1, 0)}, alphabet("ab"))]
    assert len({model.fingerprint for model in models}) == len(models)
    assert abc().fingerprint == IID((0.5, 0.25, 0.25)).fingerprint == IID((F(1, 2), F(1, 4), F(1, 4))).fingerprint
    assert Table({(): (1, 0)}, alphabet("ab")).fingerprint == models[-1].fingerprint


def test_a_function_is_never_hashed_and_never_called_for_a_fingerprint() -> None:
    """A Markov chain has no row after the empty prefix, and two of them may differ after any prefix."""

    def chain(stay: float, **more: Any) -> Table:
        rows = ((stay, 1 - stay), (1 - stay, stay))
        return Table({(): (0.5, 0.5)}, alphabet("ab"), otherwise=lambda prefix: rows[prefix[-1]], **more)

    one, two = chain(0.25), chain(0.75)
    assert one.fingerprint == one.fingerprint != two.fingerprint
    assert chain(0.25, fingerprint="quarter").fingerprint == "quarter"
    rootless = Table({}, alphabet("ab"), otherwise=lambda prefix: ((1, 0), (0, 1))[prefix[-1]])
    assert isinstance(rootless, LanguageModel)
    assert ulam.sample(rootless, [1], max_tokens=3).meta["model"]["id"] == rootless.fingerprint
