"""Rows in a batch that somebody else keeps: moved, mixed, asked twice, failing; against `Recipe.choose`, one row and one step at a time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.adapters.rows import Row, RowLost, Rows, RowsNoise, read_asked
from ulam.core.errors import EmptySupport, OutOfRange, RecipeError, UnknownMethod, UsageError
from ulam.core.noise import Address, PhiloxNoise
from ulam.models.alphabet import alphabet

V = 12
RECIPES = (
    "temperature=0.7 top_p=0.9",
    "temperature=1.4 top_p=0.8",
    "repetition_penalty=1.3 min_p=0.02",
    "xtc=0.6 temperature=1.2",
    "mirostat_v2=2.5",
    "gumbel_max",
    "no_repeat_ngram=2",
)
VOCABULARY = alphabet("abcdefghijkl")


def logits(row: int, position: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng((row, position)).normal(0, 2, V)


def alone(recipe: ulam.Recipe, row: int, seed: int, sequence: int, prompt: tuple[int, ...], length: int) -> list[ulam.Choice]:
    """The draws of one row by itself."""
    state, tokens, choices = recipe.init(prompt), [], []
    for position in range(length):
        choices.append(recipe.choose(logits(row, position), seed, sequence, position, prompt, tokens, state))
        tokens.append(choices[-1].token)
    return choices


def test_rows_that_come_and_go_and_change_places_draw_as_they_do_alone() -> None:
    shuffle = np.random.default_rng(0)
    rows = [Row(ulam.Recipe(RECIPES[i % 7]).bind(VOCABULARY), 7 + i % 4, 2**63 + i, (i % V, 3)) for i in range(21)]
    batch = Rows()
    while any(len(row.tokens) < 9 for row in rows):
        now = [i for i in shuffle.permutation(21)[: shuffle.integers(1, 22)].tolist() if len(rows[i].tokens) < 9]
        if now:
            batch.draw([rows[i] for i in now], np.stack([logits(i, len(rows[i].tokens)) for i in now]))
    for i, row in enumerate(rows):
        expected = alone(row.recipe, i, row.seed, row.sequence, (i % V, 3), 9)
        assert row.tokens == [choice.token for choice in expected]
        assert row.recipe_log_probs == [choice.recipe_log_prob for choice in expected]
        assert row.model_log_probs == [choice.model_log_prob for choice in expected]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_token_that_the_engine_threw_away_leaves_no_trace(recipe: str) -> None:
    bound = ulam.Recipe(recipe).bind(VOCABULARY)
    row, batch = Row(bound, 7, 0, (1, 2)), Rows()
    for position in range(6):
        for _ in range(2):  # other logits, whose tokens are thrown away
            row.settle(position)
            batch.draw([row], np.random.default_rng((99, position)).normal(0, 2, (1, V)))
        row.settle(position)
        batch.draw([row], logits(0, position)[None, :])
    expected = alone(bound, 0, 7, 0, (1, 2), 6)
    assert (row.tokens, row.recipe_log_probs) == ([c.token for c in expected], [c.recipe_log_prob for c in expected])


def test_a_row_that_fails_draws_no_more_and_its_mates_do_not_notice() -> None:
    good = ulam.Recipe("temperature=0.7").bind(VOCABULARY)
    dead = ulam.Recipe("allow_tokens=[1] suppress_at_start=[1]").bind(VOCABULARY)
    rows, batch = [Row(good, 7, 0, ()), Row(dead, 7, 1, ()), Row(good, 7, 2, ())], Rows()
    for position in range(3):
        batch.draw(rows, np.stack([logits(i, position) for i in range(3)]))
    assert isinstance(rows[1].error, EmptySupport)
    assert rows[1].error.constraint
    assert (rows[1].failed_at, rows[1].tokens) == (0, [])
    for i in (0, 2):
        assert rows[i].tokens == [c.token for c in alone(good, i, 7, i, (), 3)]
        assert rows[i].failed_at is None
    batch.draw([rows[1]], logits(0, 0)[None, :])
    assert rows[1].tokens == []


def test_a_row_known_late_goes_on_if_its_history_tells_its_state() -> None:
    for recipe in RECIPES:
        bound = ulam.Recipe(recipe).bind(VOCABULARY)
        expected = [c.token for c in alone(bound, 0, 7, 0, (1, 2), 8)]
        row, batch = Row(bound, 7, 0, (1, 2), expected[:5]), Rows()
        for position in range(5, 8):
            batch.draw([row], logits(0, position)[None, :])
        if recipe.startswith("mirostat"):
            assert isinstance(row.error, RowLost)
            assert row.failed_at == 5
        else:
            assert row.tokens == expected
            assert np.isnan(row.recipe_log_probs[:5]).all()
            assert not np.isnan(row.recipe_log_probs[5:]).any()
    assert isinstance(Row(bound, 7, 0, (1, 2), [3, -1]).error, RowLost)


def test_an_engine_with_other_tokens_than_the_drawn_ones_is_told() -> None:
    bound = ulam.Recipe("").bind(VOCABULARY)
    for settle in ({"count": 2}, {"count": 1, "newest": -5}):
        row = Row(bound, 7, 0, ())
        Rows().draw([row], logits(0, 0)[None, :])
        row.settle(1, row.tokens[0])
        assert row.error is None
        row.settle(**settle)
        assert isinstance(row.error, RowLost)


def test_the_noise_of_rows_is_that_of_their_seeds_and_numbers() -> None:
    seeds, numbers, positions = [7, 2**64 - 1, 7, 0], [0, 5, 2**64 - 1, 1 << 32], np.array([0, 3, 2**32 - 1, 9])
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(V), 4))
    place = Address(np.arange(4, dtype=np.uint64), positions)
    noise = RowsNoise(seeds, numbers)
    for coupling in ("inverse_cdf", "gumbel"):
        found = noise.categorical(log_probs, place, coupling)
        for i in range(4):
            assert found[i] == PhiloxNoise(seeds[i]).categorical(log_probs[i : i + 1], Address([numbers[i]], positions[i : i + 1]), coupling)[0]
    tossed = noise.bernoulli(np.full(4, 0.5), Address([3, 1, 0, 2], positions, 1, np.arange(4)))
    for i, row in enumerate((3, 1, 0, 2)):
        assert tossed[i] == PhiloxNoise(seeds[row]).bernoulli(0.5, Address(numbers[row], positions[i], 1, i))


def test_what_a_request_says_is_read_or_refused() -> None:
    words = {"recipe": "temperature=0.8 top_p=0.95", "seed": 7, "sequence": 2**64 - 1}
    assert read_asked(words) == read_asked(json.dumps(words))
    assert (read_asked(words).recipe, read_asked(words).seed, read_asked(words).sequence) == (ulam.Recipe("temperature=0.8 top_p=0.95"), 7, 2**64 - 1)
    assert read_asked({"recipe": "", "seed": 0}).sequence == 0
    for wrong, error in (
        ({"recipe": "temprature=1", "seed": 7}, UnknownMethod),
        ({"recipe": "temperature=-1", "seed": 7}, OutOfRange),
        ({"recipe": "", "seed": 2**64}, OutOfRange),
        ({"recipe": "", "seed": 7, "sequence": -1}, OutOfRange),
        ({"recipe": " ".join(["xtc=0.5"] * 5), "seed": 7}, RecipeError),
        ({"recipe": ""}, UsageError),
        ({"seed": 7}, UsageError),
        ({"recipe": "", "seed": 7, "seeds": 7}, UsageError),
        ({"recipe": "", "seed": 7, "row": 3}, UsageError),
        ("temperature=0.8", UsageError),
        (["temperature=0.8"], UsageError),
    ):
        with pytest.raises(error):
            read_asked(wrong)
