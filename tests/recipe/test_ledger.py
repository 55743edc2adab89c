"""The ledger: numbers worked out by hand, and laws that hold for every recipe."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings

from ulam.core.errors import EmptySupport, TokenOutOfRange, UlamError, UsageError
from ulam.models.table import abc
from ulam.recipe import Recipe

from .strategies import TOKENS, recipes

ROW = np.log([0.5, 0.3, 0.15, 0.05])


def test_a_truncation_then_a_temperature() -> None:
    model, cut, heat = Recipe("top_k=2 temperature=0.5").ledger(ROW, watch=[0, 2]).rows
    assert (model.at, model.kept, model.removed, model.removed_prob, model.moved_prob, model.changed) == ("model", 4, 0, 0, 0, True)
    assert model.entropy_bits == pytest.approx(-sum(p * math.log2(p) for p in (0.5, 0.3, 0.15, 0.05)))
    assert (cut.at, cut.kept, cut.removed) == ("top_k=2", 2, 2)
    assert cut.removed_prob == pytest.approx(0.2)
    assert cut.moved_prob == 0  # the two that stay keep their ratio
    assert cut.tv_from_model == pytest.approx(0.2)
    assert [token for token, _ in cut.removed_tokens] == [2, 3]
    assert (cut.watched[0], cut.watched[2]) == (pytest.approx(0.625), None)
    assert heat.removed == 0
    assert heat.top == (0, pytest.approx(25 / 34))
    assert heat.moved_prob == pytest.approx(25 / 34 - 5 / 8)
    assert heat.choices == pytest.approx(2**heat.entropy_bits)


def test_who_removed_a_token() -> None:
    table = Recipe("top_p=0.75 temperature=2 min_p=0.9").ledger(ROW, watch=[0, 1, 2])
    assert [table.removed_by(token) for token in (0, 1, 2)] == [None, "min_p=0.9", "top_p=0.75"]


def test_a_stage_that_changes_nothing_says_so() -> None:
    table = Recipe("top_k=4 temperature=1 greedy").ledger(ROW)
    assert [row.changed for row in table.rows] == [True, False, False, True]
    assert table.rows[-1].kept == 1
    assert "changed nothing here" in str(table)


def test_a_coin_is_a_mixture() -> None:
    row = Recipe("xtc(0.5, threshold=0.2)").ledger(ROW).rows[1]
    assert row.kept == 4
    assert row.top[1] == pytest.approx(0.5 * 0.3 / 0.5 + 0.5 * 0.3)  # with the coin the first is gone and 0.3 of 0.5 is left


def test_history_state_and_names() -> None:
    recipe = Recipe('presence_penalty=1 ban_tokens=["c"]').bind(abc().vocabulary)
    table = recipe.ledger(np.log([0.5, 0.25, 0.25]), generated=[0], watch=[2])
    assert table.rows[1].moved_prob > 0.1
    assert table.removed_by(2) == "ban_tokens=[2]"
    assert str(table).splitlines()[0].split() == ["kept", "removed", "moved", "entropy", "most", "likely", "c"]
    carried = Recipe("dry(1, breakers=[]) presence_penalty=1 greedy")
    state = carried.init([0, 1, 2, 0, 1], [])
    assert carried.ledger(ROW, [0, 1, 2, 0, 1], state=state) == carried.ledger(ROW, [0, 1, 2, 0, 1])


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="one row"):
        Recipe("").ledger(np.zeros((2, 3)))
    with pytest.raises(TokenOutOfRange, match="token id 4"):
        Recipe("").ledger(ROW, watch=[4])
    with pytest.raises(EmptySupport):
        Recipe("ban_tokens=[0, 1, 2, 3]").ledger(ROW)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(recipe=recipes(TOKENS.filter(lambda token: isinstance(token, int)).map(lambda token: token % 4)))
def test_the_last_row_is_the_law_and_the_numbers_add_up(recipe: Recipe) -> None:
    try:
        table = recipe.ledger(ROW, [1, 2], [2, 1, 2], watch=range(4))
        law = recipe.distribution(ROW, [1, 2], [2, 1, 2])
    except UlamError:
        return
    assert [p or 0 for p in table.rows[-1].watched.values()] == pytest.approx(np.asarray(law.probs).tolist(), abs=1e-12)
    for before, row in zip(table.rows, table.rows[1:], strict=False):
        assert row.removed_prob == pytest.approx(sum(p or 0 for t, p in before.watched.items() if row.watched[t] is None), abs=1e-9)
        assert before.kept - row.removed <= row.kept
        assert 0 <= row.moved_prob <= 1 + 1e-9
        assert sum(p or 0 for p in row.watched.values()) == pytest.approx(1)
    assert json.loads(json.dumps(table.to_dict(), allow_nan=False))["rows"][0]["at"] == "model"
