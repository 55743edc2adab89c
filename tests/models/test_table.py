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
from ulam.models import IID, LanguageModel, Markov, Table, Tree, abc, alphabet, words

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
        ((0.5, 0.5), "has 2 numbers for 3 tokens"),
        ((0.5, 0.25, 0.25, 0), "has 4 numbers for 3 tokens"),
        ((), "has 0 numbers"),
        ((0.5, 0.75, -0.25), 'the row .* holds -0.25 for "c"'),
        ((0.5, 0.5, float("nan")), 'holds nan for "c"'),
        ((0.5, float("inf"), 0), "adds to inf, not to 1"),
        ((0.5, 0.25, 0.25 + 2e-9), "adds to 1.000000002"),
        ((0, 0, 0), "adds to 0"),
        ((F(1, 2), F(1, 4), F(3, 10)), "adds to 21/20, not to 1"),
        ((F(1, 2), F(3, 4), F(-1, 4)), 'holds -1/4 for "c"'),
        ((F(1, 2), F(1, 2), F(1, 10**30)), r"adds to 1 \+ 1e-30, not to 1"),
        ((F(1, 2), F(1, 2), F(10**400)), r"adds to 1\.0000e\+400, not to 1"),
        ((0.5, 0.5, F(10**400)), 'holds .* for "c"'),
        ((0.5, 0.5, None), 'holds None for "c"'),
        (("0.5", 0.5, 0), """holds '0.5' for "a\""""),
    ],
)
def test_rows_that_are_no_distribution(row: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Table({(1,): row}, alphabet("abc"))
    with pytest.raises(ModelError, match=words):
        Table({}, alphabet("abc"), otherwise=lambda prefix: row).prefill([(0, 1)])
    with pytest.raises(ModelError):
        IID(row, alphabet("abc"))


def test_a_table_of_fractions_keeps_them() -> None:
    """The running example of the design: the law of its leaves in rational numbers, by hand."""
    model = Tree({"": {"x": F(1, 2), "y": F(2, 5), "$": F(1, 10)}, "x": {"y": F(1, 2), "$": F(1, 2)}}, VOCABULARY, otherwise={"$": 1}, name="D")
    law: dict[tuple[int, ...], F] = {}
    inner: list[tuple[tuple[int, ...], F]] = [((), F(1))]
    while inner:
        prefix, mass = inner.pop()
        for token, p in enumerate(model.probs(prefix)):
            assert isinstance(p, F)
            if p:
                (law.__setitem__ if token in VOCABULARY.ends else lambda text, mass: inner.append((text, mass)))((*prefix, token), mass * p)
    assert law == {(END,): F(1, 10), (X, END): F(1, 4), (X, Y, END): F(1, 4), (Y, END): F(2, 5)}
    _, logits = model.prefill([(), (X,), (Y, Y)])
    assert np.array_equal(logits, drafts().prefill([(), (X,), (Y, Y)])[1])


def test_probabilities_come_back_as_they_were_given() -> None:
    model = Table({(): (0.1, 0.9), (0,): (F(1, 3), F(2, 3)), (1,): (0, 1), (1, 1): (0, 1.0)}, alphabet("ab"), otherwise=lambda prefix: (F(1, 7), F(6, 7)))
    given = [model.probs(prefix) for prefix in ([], [0], (1,), np.array([1, 1]), [0, 0, 0])]
    assert given == [(0.1, 0.9), (F(1, 3), F(2, 3)), (F(0), F(1)), (0.0, 1.0), (F(1, 7), F(6, 7))]
    assert [{type(p) for p in row} for row in given] == [{float}, {F}, {F}, {float}, {F}]
    assert abc().probs([2, 1]) == (F(1, 2), F(1, 4), F(1, 4))
    with pytest.raises(TokenOutOfRange):
        model.probs([2])


def test_a_row_of_numpy_integers_is_exact() -> None:
    assert IID(np.array([0, 1])).probs([]) == (F(0), F(1))  # type: ignore[arg-type]


def test_a_probability_too_small_for_a_float_is_possible() -> None:
    tiny = F(1, 10**400)
    _, logits = IID((1 - tiny, tiny, 0)).prefill([()])
    assert logits.tolist() == [[0.0, pytest.approx(-400 * log(10), rel=1e-15), -np.inf]]


def test_rows_by_name() -> None:
    """Texts, names and shown forms; what is left out is impossible."""
    vocabulary = words(["the", " cat", "\n", "<end>"], ends=[3])
    model = Tree({"the": {" cat": 0.75, "⏎": 0.25}, "the ␣cat": {"\n": 1}, "the ␣cat ⏎": {"<end>": 1}}, vocabulary, otherwise={"the": 1})
    rows = [model.probs(prefix) for prefix in ([], [0], [0, 1], [0, 1, 2], [1])]
    assert rows == [(1, 0, 0, 0), (0, 0.75, 0.25, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)]
    joined = Table({"": {"a": 1}, "ab": {"b": 1}, "a b a": {"a": 1}}, alphabet("ab"))
    assert [joined.probs(prefix) for prefix in ([], [0, 1], [0, 1, 0])] == [(1, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"": {"q": 1}}, r'the row "" of table names "q", which is not a token'),
        ({"ac": {"a": 1}}, r'a row of table names "c", which is not a token'),
        ({"": {"A": 1}}, r'names "A", which is not a token'),
        ({"": {0: 1}}, r"names 0, which is not a token"),
        ({"a": {"a": 1}, (0,): {"b": 1}}, r'the row "a" of table stands twice'),
        ({"aa": {"a": 1}, "a a": {"a": 1}}, r'the row "aa" of table stands twice'),
        ({"": {"a": F(1, 2), "b": F(1, 3)}}, r'the row "" of table adds to 5/6, not to 1'),
        ({"": "ab"}, r"""the row "" of table holds 'a' for "a\""""),
    ],
)
def test_rows_by_name_that_cannot_be_read(rows: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        Table(rows, alphabet("ab"))
    assert error.value.fix


def test_names_that_mean_two_tokens_are_refused() -> None:
    vocabulary = ulam.Vocabulary([b"a", b"a", b"\xff"])
    with pytest.raises(ModelError, match='names "a", which is the text of several tokens'):
        Table({"": {"a": 1}}, vocabulary)
    assert Table({(0,): {"⟨FF⟩": 1}}, vocabulary).probs([0]) == (0, 0, 1)


def test_a_row_named_twice_is_refused() -> None:
    with pytest.raises(ModelError, match='names "␣" twice'):
        Table({"": {" ": 0.5, "␣": 0.5}}, words(["a", " "]))


def test_long_prefixes_are_shown_by_their_end() -> None:
    with pytest.raises(ModelError, match=r'no probabilities after "… abababababab"'):
        Table({}, alphabet("ab")).prefill([[0, 1] * 500])


def test_markov() -> None:
    """The weather: after sun 9/10 sun, after rain 1/2; P(sun, rain, rain) = 2/3 1/10 1/2 = 1/30."""
    rows = {"": {"s": F(2, 3), "r": F(1, 3)}, "s": {"s": F(9, 10), "r": F(1, 10)}, "r": {"s": F(1, 2), "r": F(1, 2)}}
    model = Markov(1, rows, alphabet("sr"), name="weather")
    assert text_probability(model, (0, 1, 1)) == pytest.approx(1 / 30, rel=1e-15)
    assert model.probs([1, 1, 1, 0]) == model.probs([0]) == (F(9, 10), F(1, 10))
    assert isinstance(model, LanguageModel)
    second = Markov(2, {"sr": (0, 1)}, alphabet("sr"), otherwise=(F(1, 2), F(1, 2)))
    assert [second.probs(prefix) for prefix in ([], [0], [0, 1], [1, 0, 1], [0, 1, 1])] == [(F(1, 2),) * 2, (F(1, 2),) * 2, (0, 1), (0, 1), (F(1, 2),) * 2]
    assert Markov(0, {"": (0.25, 0.75)}, alphabet("sr")).probs([1, 1]) == (0.25, 0.75)


def test_a_markov_model_names_the_row_that_is_missing() -> None:
    model = Markov(2, {"": (1, 0), "ab": (1, 0)}, alphabet("ab"), name="pairs")
    assert model.prefill([[0, 0, 1]])[1].tolist() == [[0.0, -np.inf]]
    with pytest.raises(ModelError, match='pairs has no probabilities after "b"') as error:
        model.prefill([[1]])
    assert error.value.fix == 'add a row "b", or one for all others: otherwise'
    with pytest.raises(ModelError, match='pairs has no probabilities after "ba"'):
        model.prefill([[0, 1, 0, 1, 0]])
    with pytest.raises(ModelError, match='the row "aba" of pairs has 3 tokens, and only the last 2 matter'):
        Markov(2, {"aba": (1, 0)}, alphabet("ab"), name="pairs")
    for order in (-1, 1.5, True, None):
        with pytest.raises(ModelError, match="the order of pairs is"):
            Markov(order, {}, alphabet("ab"), name="pairs")  # type: ignore[arg-type]


def test_rounding_of_a_row_is_forgiven() -> None:
    _, logits = IID((0.1,) * 10).prefill([()])
    assert logits.tolist() == [[log(0.1)] * 10]
    IID((0.5, 0.25, 0.25 + 5e-10))


def test_a_prefix_without_a_row_is_named() -> None:
    model = Table({(): (1, 0)}, alphabet("ab"), name="short")
    with pytest.raises(ModelError, match=r'short has no probabilities after "a"'):
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


def test_fingerprints_of_rows_that_are_known() -> None:
    """The same rows, however they are written; another order or another rest is another model."""
    rows = {"": (F(1, 2), F(1, 2)), "a": (0, 1)}
    models = [
        Table(rows, alphabet("ab")),
        Tree(rows, alphabet("ab"), otherwise=(1, 0)),
        Tree(rows, alphabet("ab"), otherwise=(0, 1)),
        Markov(1, rows, alphabet("ab")),
    ]
    models += [Markov(2, rows, alphabet("ab")), Tree(rows, alphabet("a", end="b"))]
    assert len({model.fingerprint for model in models}) == len(models)
    same = Tree({(0,): {"b": 1.0}, (): {"a": 0.5, "b": 0.5}}, alphabet("ab"), otherwise={"a": 1}, name="another name")
    assert same.fingerprint == models[1].fingerprint
    assert all(model.fingerprint.startswith("sha256:") for model in models)


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
