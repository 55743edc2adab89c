"""The keyed stages against their definitions in whole numbers; their law, averaged exactly over small sets of keys; marked texts and unmarked ones."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ulam
from tests.methods import reference_keyed as reference
from tests.strategies import Rows, rows
from ulam.core.context import Context, History
from ulam.core.errors import InvalidLogits, UsageError
from ulam.core.keyed import context_hashes
from ulam.core.noise import Address, PhiloxNoise
from ulam.methods import find
from ulam.methods.choosers import gumbel_watermark, synthid
from ulam.methods.choosers.gumbel_watermark import GumbelWatermark
from ulam.methods.choosers.synthid import Synthid, tournament
from ulam.methods.transforms.green_list import GreenList
from ulam.models.table import IID
from ulam.testing.noise import ScriptedNoise

torch.set_num_threads(1)

keys = st.sampled_from([0, 42, 2**32 + 1, 2**64 - 1])
short_texts = st.lists(st.integers(0, 2), max_size=8)


@given(rows(2, 8), short_texts, short_texts, keys, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.0, 0.5, 7.0]), st.integers(1, 3))
def test_green_list(row: Rows, prompt: list[int], generated: list[int], key: int, gamma: float, delta: float, width: int) -> None:
    stage, context = GreenList(key, gamma, delta, width), Context([History(prompt, generated)])
    found = stage(row[None, :], context)[0].tolist()
    assert found == reference.green_list(row.tolist(), [*prompt, *generated], key, gamma, delta, width)
    assert stage(torch.asarray(row[None, :].copy()), context)[0].tolist() == found


def test_a_green_list_of_rows_with_numbers_of_their_own() -> None:
    """gamma by row, delta by position."""
    row, pasts = np.zeros(6), [[3], [1, 3], [1]]
    stage = GreenList(42, np.array([0.2, 0.5, 0.9]), ulam.Recipe("green_list(42, delta=linear(1, 2, over=4))").stages[0].delta)  # type: ignore[arg-type, attr-defined]
    found = stage(np.stack([row] * 3), Context([History((), past) for past in pasts]))
    for b, (gamma, delta) in enumerate([(0.2, 1.25), (0.5, 1.5), (0.9, 1.25)]):
        assert found[b].tolist() == reference.green_list(row.tolist(), pasts[b], 42, gamma, delta, 1)
    with pytest.raises(UsageError, match="one gamma"):
        stage.detect([1, 2, 3])


@given(rows(2, 8), short_texts, keys, st.integers(1, 3), st.sampled_from(["plain", "keyed"]))
def test_gumbel_watermark(row: Rows, generated: list[int], key: int, width: int, repeats: str) -> None:
    noise = ScriptedNoise([0.5])  # equal noise for all tokens: the most likely one
    (token,) = GumbelWatermark(key, width, repeats).choose(row[None, :], noise, Address([0], [0]), Context([History([1], generated)]))
    marked = reference.is_marked(generated, width, repeats)
    assert len(noise.questions) == (not marked)
    shifted = [x - max(row) for x in row.tolist()]
    assert token == (reference.gumbel_watermark(shifted, generated, key, width) if marked else int(np.argmax(row)))


@given(rows(2, 6), short_texts, keys, st.integers(1, 6), st.sampled_from(["plain", "keyed"]), st.floats(0, 1, exclude_max=True))
def test_synthid(row: Rows, generated: list[int], key: int, layers: int, repeats: str, u: float) -> None:
    (token,) = Synthid(key, layers, 2, repeats).choose(row[None, :], ScriptedNoise([u]), Address([0], [0]), Context([History([1], generated)]))
    weights = [F(math.exp(x - max(row))) for x in row.tolist()]
    q = [w / sum(weights) for w in weights]
    if reference.is_marked(generated, 2, repeats):
        q = reference.tournament(q, reference.bits(generated, key, layers, 2, len(row)))
    below = [sum(q[:i]) for i in range(len(q) + 1)]
    assert below[token] - F(1, 10**12) <= F(u) <= below[token + 1] + F(1, 10**12)
    assert row[token] > -np.inf


@pytest.mark.parametrize("stage", [GumbelWatermark(42, 1), Synthid(42, 3, 1)], ids=str)
def test_a_row_that_cannot_be_drawn_from(stage: Any) -> None:
    for bad in ([np.nan, 0.0], [-np.inf, -np.inf], [np.inf, 0.0]):
        with pytest.raises(InvalidLogits):
            stage.choose(np.array([[0.0, 0.0], bad]), PhiloxNoise(1), Address([0, 1], [1, 1]), Context([History((), [0])] * 2))


# ---- the law, averaged exactly


def test_the_tournaments_of_the_written_semantics() -> None:
    p = np.array([0.5, 0.3, 0.15, 0.05])
    g = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool)
    assert tournament(p, g[:1]) == pytest.approx([0.725, 0.135, 0.0675, 0.0725], abs=1e-15)
    assert tournament(p, g) == pytest.approx([0.5745625, 0.2419875, 0.05349375, 0.12995625], abs=1e-15)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_mean_over_all_bits_is_the_row(layers: int) -> None:
    p = np.array([0.5, 0.3, 0.15, 0.05])
    every = [np.array(bits, bool).reshape(layers, 4) for bits in itertools.product((0, 1), repeat=4 * layers)]
    assert np.mean([tournament(p, g) for g in every], axis=0) == pytest.approx(p, abs=1e-15)


def mean_law(recipe: str, probs: Sequence[F], length: int, set_keys: Sequence[Callable[[], None]]) -> dict[tuple[int, ...], float]:
    """The law of texts of independent tokens as exact mode enumerates it, averaged over keys, each set by a call."""
    total: Counter[tuple[int, ...]] = Counter()
    for set_key in set_keys:
        set_key()
        for outcome, p in ulam.law(IID(probs), recipe, max_tokens=length):
            total[tuple(outcome.tokens)] += float(p) / len(set_keys)  # type: ignore[assignment]
    return dict(total)


def products(probs: Sequence[F], length: int) -> dict[tuple[int, ...], float]:
    return {text: float(math.prod(probs[token] for token in text)) for text in itertools.product(range(len(probs)), repeat=length)}


def gap(found: dict[tuple[int, ...], float], wanted: dict[tuple[int, ...], float]) -> float:
    return max(abs(found.get(text, 0.0) - p) for text, p in wanted.items())


def places(hashes: Any, count: int) -> NDArray[np.int64]:
    """Which token a context of one token is."""
    known = context_hashes(np.arange(count)[:, None]).tolist()
    return np.array([known.index(h) for h in np.ravel(hashes).tolist()], np.int64).reshape(np.shape(hashes))


def test_the_law_of_texts_over_all_keys_of_synthid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokens, contexts of one, one layer: a key is a bit for every context and token, and all of them are tried."""
    probs = (F(2, 3), F(1, 3))

    def set_key(u: NDArray[np.float64]) -> None:
        monkeypatch.setattr(synthid, "uniforms", lambda key, hashes, tokens, domain: u[places(hashes, 2), np.asarray(tokens)][None, :])

    every = [np.where(np.array(bits).reshape(2, 2), 0.25, 0.75) for bits in itertools.product((0, 1), repeat=4)]
    sets = [lambda u=u: set_key(u) for u in every]
    wanted = products(probs, 3)
    assert gap(mean_law("synthid(1, layers=1, width=1)", probs, 3, sets), wanted) < 1e-14
    assert gap(mean_law("synthid(1, layers=1, width=1, repeats=keyed)", probs, 3, sets), wanted) > 0.005


def test_the_law_of_texts_over_all_keys_of_gumbel_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three equal tokens and contexts of one: a key is a token with the largest u for every context, and all of them are tried."""
    probs = (F(1, 3),) * 3

    def set_key(best: tuple[int, ...]) -> None:
        def row_uniforms(key: int, hashes: Any, size: int, domain: int) -> NDArray[np.float64]:
            return np.where(np.arange(size) == np.array(best)[places(hashes, 3)][:, None], 0.75, 0.25)

        monkeypatch.setattr(gumbel_watermark, "row_uniforms", row_uniforms)

    sets = [lambda best=best: set_key(best) for best in itertools.product(range(3), repeat=3)]
    wanted = products(probs, 3)
    assert gap(mean_law("gumbel_watermark(1, width=1)", probs, 3, sets), wanted) < 1e-14
    assert gap(mean_law("gumbel_watermark(1, width=1, repeats=keyed)", probs, 3, sets), wanted) > 0.02


# ---- texts of a model


TEXT = "Once upon a time, there was a little"
RECIPES = ("green_list(42, delta=4)", "gumbel_watermark=42", "top_p=0.95 synthid=42")


@pytest.fixture(scope="module")
def stories() -> ulam.LanguageModel:
    return ulam.load()


@pytest.fixture(scope="module")
def marked(stories: ulam.LanguageModel) -> dict[str, ulam.Samples]:
    return {recipe: ulam.sample(stories, TEXT, recipe, n=2, max_tokens=100, seed=5) for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_mark_is_found_by_its_key_alone(recipe: str, marked: dict[str, ulam.Samples]) -> None:
    stage: Any = ulam.Recipe(recipe).stages[-1]
    kind: Any = find(stage.name).stage
    other = kind(43)
    for sample in marked[recipe]:
        found, nothing = stage.detect(sample.tokens), other.detect(sample.tokens)
        assert found.p_value < 1e-6
        assert found.n == len(reference.scored(sample.tokens, stage.width))
        assert nothing.p_value > 1e-3
        assert nothing.score < found.score


@pytest.mark.parametrize("recipe", RECIPES[1:])
def test_the_recipe_log_prob_is_that_of_the_row(recipe: str, marked: dict[str, ulam.Samples], stories: ulam.LanguageModel) -> None:
    without = " ".join(recipe.split()[:-1])
    for sample in marked[recipe]:
        of_the_row = ulam.score(stories, sample.tokens, without, prompt=TEXT).recipe_log_probs
        assert of_the_row is not None
        assert np.allclose(sample.recipe_log_probs, of_the_row, rtol=0, atol=1e-9)


def test_a_marked_text_is_the_same_alone_and_with_others(marked: dict[str, ulam.Samples], stories: ulam.LanguageModel) -> None:
    for recipe, samples in marked.items():
        alone = ulam.sample(stories, TEXT, recipe, max_tokens=30, seed=5, sequence=1)[0]
        assert alone.tokens == samples[1].tokens[:30]
        assert np.array_equal(alone.recipe_log_probs, samples[1].recipe_log_probs[:30])
