"""Property tests of every constraint against its definition, token by token; what a vocabulary makes of their lists; their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ulam
from tests.methods import reference_bans as reference
from tests.strategies import Rows, histories, rows
from ulam import Recipe
from ulam.core.context import Context, History
from ulam.core.errors import EmptySupport, NeedsTokenizer, OutOfRange, TokenOutOfRange
from ulam.core.vocabulary import Vocabulary
from ulam.exact import Outcome
from ulam.methods import find
from ulam.models import IID, alphabet, words
from ulam.testing.inputs import letters

torch.set_num_threads(1)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Rows, History]:
    row = draw(rows(1, 6))
    return row, draw(histories(len(row)))


def assert_allows(name: str, question: tuple[Rows, History], allowed: set[int], ends: tuple[int, ...] = (), **parameters: Any) -> None:
    """The row with the allowed tokens and no others, bit for bit, on NumPy in both types and on torch."""
    row, past = question
    stage: Any = find(name).stage(**parameters)
    context = Context([past], letters(len(row), ends))
    mask = np.array([i in allowed for i in range(len(row))])
    for given_row in (row, row.astype(np.float32)):
        wanted = np.where(mask, given_row, -np.inf).astype(given_row.dtype)
        assert stage(given_row[None, :], context)[0].tobytes() == wanted.tobytes()
        assert stage(torch.asarray(given_row[None, :].copy()), context)[0].numpy().tobytes() == wanted.tobytes()


def tokens_of(past: History, scope: str) -> list[int]:
    return list({"prompt": past.prompt, "generated": past.generated, "all": [*past.prompt, *past.generated]}[scope])


def some(width: int, least: int = 0) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, width - 1), min_size=least, max_size=4)


scopes = st.sampled_from(["prompt", "generated", "all"])


@given(questions(), st.data())
def test_ban_tokens(question: tuple[Rows, History], data: st.DataObject) -> None:
    tokens = data.draw(some(len(question[0])))
    assert_allows("ban_tokens", question, reference.ban_tokens(len(question[0]), tokens), tokens=tokens)


@given(questions(), st.data())
def test_allow_tokens(question: tuple[Rows, History], data: st.DataObject) -> None:
    tokens = data.draw(some(len(question[0]), 1))
    assert_allows("allow_tokens", question, reference.allow_tokens(len(question[0]), tokens), tokens=tokens)


@given(questions(), scopes, st.data())
def test_ban_words(question: tuple[Rows, History], scope: str, data: st.DataObject) -> None:
    row, past = question
    banned = data.draw(st.lists(some(min(len(row), 3), 1), max_size=4))
    assert_allows("ban_words", question, reference.ban_words(len(row), tokens_of(past, scope), banned), words=banned, scope=scope)


@given(questions(), scopes, st.integers(0, 5), st.sampled_from(["all", 0, 1, 2, 3, 4, 6, 50]))
def test_no_repeat_ngram(question: tuple[Rows, History], scope: str, n: int, window: int | str) -> None:
    row, past = question
    assert_allows("no_repeat_ngram", question, reference.no_repeat_ngram(len(row), tokens_of(past, scope), n, window), n=n, window=window, scope=scope)


@given(questions(), st.integers(0, 8), st.data())
def test_suppress_at_start(question: tuple[Rows, History], until: int, data: st.DataObject) -> None:
    row, past = question
    tokens = data.draw(some(len(row)))
    assert_allows("suppress_at_start", question, reference.suppress_at_start(len(row), past.position, tokens, until), tokens=tokens, until=until)


@given(questions(), st.integers(0, 8), st.data())
def test_min_tokens(question: tuple[Rows, History], n: int, data: st.DataObject) -> None:
    row, past = question
    ends = data.draw(some(len(row)))
    assert_allows("min_tokens", question, reference.min_tokens(len(row), past.position, ends, n), ends=tuple(ends), n=n)


@given(questions(), st.integers(0, 8), st.data())
def test_force_tokens(question: tuple[Rows, History], at: int, data: st.DataObject) -> None:
    row, past = question
    tokens = data.draw(some(len(row)))
    assert_allows("force_tokens", question, reference.force_tokens(len(row), past.position, tokens, at), tokens=tokens, at=at)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("force_tokens([1], at=18446744073709551615)", {0, 1, 2}),
        ("no_repeat_ngram(2, window=18446744073709551615)", {1, 2}),
        ("suppress_at_start([1], until=9223372036854775807)", {0, 2}),
        ("min_tokens=9223372036854775807", {0, 1}),
    ],
)
def test_the_largest_numbers(text: str, allowed: set[int]) -> None:
    (stage,) = Recipe(text).transforms
    found = stage(np.zeros((1, 3)), Context([History((0,), (0,))], letters(3, (2,))))
    assert set(np.flatnonzero(found[0] == 0).tolist()) == allowed


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 4), st.sampled_from(["all", 1, 2, 3, 5, 8]), scopes, st.integers(0, 30))
def test_what_no_repeat_ngram_carries_is_its_history(text: list[int], n: int, window: int | str, scope: Any, begin: int) -> None:
    """Step by step over a long text, where n-grams come again and leave the window."""
    stage: Any = find("no_repeat_ngram").stage(n, window, scope)
    z, prompt = np.zeros((1, 3)), text[:begin]
    state = stage.init(History(prompt))
    for at in range(len(prompt), len(text) + 1):
        past = History(prompt, text[len(prompt) : at])
        allowed = reference.no_repeat_ngram(3, tokens_of(past, scope), n, window)
        assert set(np.flatnonzero(stage(z, Context([past], states=[[state]]))[0] == 0)) == allowed
        if at < len(text):
            state = stage.advance(state, text[at], z[0])


@pytest.mark.parametrize("window", ["all", 50])
def test_a_step_of_no_repeat_ngram_touches_one_ngram(window: int | str) -> None:
    """However long the text: it holds no n-gram twice, and none that has left the window."""
    stage: Any = find("no_repeat_ngram").stage(2, window)
    state, z = stage.init(History()), np.zeros(1)
    for i in range(3000):
        state = stage.advance(state, i * i % 101, z)
    assert sum(map(len, state.after.values())) == len({(i * i % 101, (i + 1) ** 2 % 101) for i in range(2999 if window == "all" else 49)})


# what a vocabulary makes of lists


TWO_ENDS = words(["a", "b", "</s>", "<eot>"], ends=(2, 3))


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("ban_tokens=[end]", "ban_tokens=[2, 3]"),
        ('ban_tokens=["b", end, 0]', "ban_tokens=[1, 2, 3, 0]"),
        ("allow_tokens=[end]", "allow_tokens=[2, 3]"),
        ('suppress_at_start([end, "a"], until=4)', "suppress_at_start([2, 3, 0], until=4)"),
        ('force_tokens=["a", "b", "<eot>"]', "force_tokens=[0, 1, 3]"),
        ('ban_words=["ab", [1]]', "ban_words=[[0, 1], [1]]"),
    ],
)
def test_end_is_every_end_token_in_a_set(text: str, bound: str) -> None:
    assert str(Recipe(text).bind(TWO_ENDS)) == bound


def test_one_token_is_forced_at_a_time() -> None:
    with pytest.raises(NeedsTokenizer, match="no single token for the word end"):
        Recipe("force_tokens=[end]").bind(TWO_ENDS)
    with pytest.raises(NeedsTokenizer, match="no single token for the word end"):
        Recipe("ban_tokens=[end]").bind(alphabet("ab"))


def test_a_word_stands_for_its_two_encodings() -> None:
    vocabulary = words(["b", "ad", " bad", " ", "bad", "$"], ends=[5])
    assert str(Recipe('ban_words=["bad", "b", "ad"]').bind(vocabulary)) == "ban_words=[[4], [2], [0], [3, 0], [1], [3, 1]]"
    assert str(Recipe('ban_words=["ab"]').bind(alphabet("ab"))) == "ban_words=[[0, 1]]"  # it cannot spell the blank


@pytest.mark.parametrize("word", ["[5]", "[[5]]"])
def test_the_end_alone_is_no_word(word: str) -> None:
    with pytest.raises(OutOfRange, match=r"ban_words: \[5\] is an end token alone\n  fix: ban_tokens=\[end\]"):
        Recipe(f"ban_words={word}").bind(alphabet("abcde", end="$"))
    assert Recipe("ban_words=[[0, 5]]").bind(alphabet("abcde", end="$"))


def test_a_word_that_is_no_token_cannot_be_banned() -> None:
    silent = Vocabulary([b"a", b"b"], encode=lambda text: [])
    with pytest.raises(OutOfRange, match='"a" is no token of this vocabulary'):
        Recipe('ban_words=["a"]').bind(silent)


# errors

Z = np.zeros(4)


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("ban_tokens=[4]", TokenOutOfRange, r"ban_tokens: token id 4 is outside 0 to 3 \(V = 4\)"),
        ("allow_tokens=[0, 9]", TokenOutOfRange, "allow_tokens: token id 9 is outside"),
        ("suppress_at_start=[4]", TokenOutOfRange, "suppress_at_start: token id 4 is outside"),
        ("force_tokens=[0, 4]", TokenOutOfRange, "force_tokens: token id 4 is outside"),
        ("ban_words=[[0, 4]]", TokenOutOfRange, "ban_words: token id 4 is outside"),
        ('ban_tokens=["a"]', NeedsTokenizer, 'ban_tokens: "a" is no id, and no vocabulary is bound'),
        ("allow_tokens=[end]", NeedsTokenizer, "allow_tokens: end is no id"),
        ('ban_words=["as an AI"]', NeedsTokenizer, 'ban_words: "as an AI" is no id'),
        ("min_tokens=3", NeedsTokenizer, "which tokens end a text is not known here"),
    ],
)
def test_what_a_row_cannot_have(text: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        Recipe(text).distribution(Z)


def test_a_history_of_another_model_is_told() -> None:
    with pytest.raises(TokenOutOfRange, match="no_repeat_ngram: token id 8 of the history is outside 0 to 3"):
        Recipe("no_repeat_ngram=2").distribution(Z, generated=[1, 8, 1])


def test_nothing_allowed_is_no_constraint() -> None:
    with pytest.raises(OutOfRange, match=r"allow_tokens=\[\] allows nothing"):
        Recipe("allow_tokens=[]")


@pytest.mark.parametrize("text", ["ban_tokens=[0]", "allow_tokens=[0] ban_tokens=[0]"])
def test_one_token_may_be_banned_too(text: str) -> None:
    with pytest.raises(EmptySupport, match="ban_tokens left no token of 1: mass 1 removed"):
        Recipe(text).distribution([0.5])


def test_the_case_of_the_definition() -> None:
    """(0.6, 0.4, 0, 0) with tokens 2 and 3 allowed: two tokens are removed, and their mass is 1."""
    with pytest.raises(EmptySupport, match="allow_tokens left no token of 2: mass 1 removed") as caught:
        Recipe("allow_tokens=[2, 3]").distribution([np.log(0.6), np.log(0.4), -np.inf, -np.inf], generated=[1, 0, 1])
    assert (caught.value.stage, caught.value.position, caught.value.constraint) == ("allow_tokens", 3, True)


# whole texts


def test_the_law_of_texts_under_constraints() -> None:
    """x 1/2, y 1/4, $ 1/4. No token twice: with a token before the end, and without an end, where the third position is empty."""
    model = IID({"x": 0.5, "y": 0.25, "$": 0.25}, alphabet("xy", end="$"))
    law = ulam.law(model, "min_tokens=1 no_repeat_ngram=1", "", 3)
    wanted = {(0, 2): 2 / 3 * 1 / 2, (0, 1, 2): 2 / 3 * 1 / 2, (1, 2): 1 / 3 * 1 / 3, (1, 0, 2): 1 / 3 * 2 / 3}
    assert dict(law) == pytest.approx({Outcome(tokens, "stop"): p for tokens, p in wanted.items()})
    law = ulam.law(model, "ban_tokens=[end] no_repeat_ngram=1", "", 3)
    assert dict(law) == pytest.approx({Outcome((0, 1), "constraint"): 2 / 3, Outcome((1, 0), "constraint"): 1 / 3})
    (sample,) = ulam.sample(model, "", "ban_tokens=[end] no_repeat_ngram=1", seed=5)
    assert (sample.finish_reason, len(sample.tokens)) == ("constraint", 2)


def test_forced_tokens_meet_a_ban() -> None:
    model = IID({"x": 0.5, "y": 0.5}, alphabet("xy"))
    assert [*ulam.law(model, 'force_tokens(["y", "y"], at=1)', "", 3).outcomes] == [Outcome((0, 1, 1), "length"), Outcome((1, 1, 1), "length")]
    assert dict(ulam.law(model, 'force_tokens=["x", "y"] no_repeat_ngram=1', "", 2)) == {Outcome((0, 1), "length"): 1}
    assert dict(ulam.law(model, 'force_tokens=["x", "x"] no_repeat_ngram=1', "", 2)) == {Outcome((0,), "constraint"): 1}
