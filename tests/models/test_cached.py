"""The cache: every prefix once, the same bits for good, few calls, bounded memory, states given back."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ulam
from tests.models.counted import Counted, irregular
from ulam.core.errors import ContextOverflow, EmptyPrompt, ModelError, StaleState, TokenOutOfRange, UsageError
from ulam.models import CachedModel, LanguageModel, Table, abc, alphabet, cached
from ulam.models.builtin import Llama


def test_it_is_the_model_it_remembers() -> None:
    inner = Counted(limit=9)
    model = CachedModel(inner)
    assert isinstance(model, LanguageModel)
    assert (model.name, model.vocabulary, model.context_limit, model.fingerprint) == ("table", inner.vocabulary, 9, inner.fingerprint)
    assert model.capabilities == {"batch_invariant"}
    assert "table" in repr(model)
    assert CachedModel(abc()).probs([0, 1]) == (F(1, 2), F(1, 4), F(1, 4))


def test_a_model_without_exact_probabilities_has_none(tiny: Llama) -> None:
    assert not hasattr(CachedModel(tiny), "probs")


def test_every_prefix_once_in_as_few_calls_as_they_need() -> None:
    inner = Counted()
    model = CachedModel(inner)
    state, logits = model.prefill([(0,), (1, 1), (0,)])
    assert logits.tolist() == [np.log(irregular(prefix)).tolist() for prefix in ((0,), (1, 1), (0,))]
    state, logits = model.step(state, [2, 2, 1])
    assert logits.tolist() == [np.log(irregular(prefix)).tolist() for prefix in ((0, 2), (1, 1, 2), (0, 1))]
    again = model.prefill([(0, 2), (0,), (1, 1, 2)])[1]
    assert again.tolist() == [np.log(irregular(prefix)).tolist() for prefix in ((0, 2), (0,), (1, 1, 2))]
    assert inner.calls == [("prefill", [(0,), (1, 1)]), ("step", [(0, 2), (1, 1, 2), (0, 1)])]
    assert model.misses == 5
    assert model.prefill([])[1].shape == (0, 3)


def test_a_walk_over_the_tree_evaluates_every_node_once() -> None:
    """Depth first, every path from the root anew, as the enumeration of a law does."""
    inner = Counted()
    model = CachedModel(inner)
    for path in product(range(3), repeat=4):
        state, _ = model.prefill([()])
        for token in path:
            state, _ = model.step(state, [token])
        model.release(state)
    nodes = [prefix for length in range(5) for prefix in product(range(3), repeat=length)]
    assert sorted(inner.evaluated) == sorted(nodes)
    assert model.misses == len(nodes) == 121
    assert [kind for kind, _ in inner.calls].count("prefill") == 1
    assert inner.live <= cached.STATES


def test_a_model_that_is_not_deterministic_becomes_so() -> None:
    inner = Counted(noisy=True)
    assert not np.array_equal(inner.prefill([(0,)])[1], inner.prefill([(0,)])[1])
    model = CachedModel(inner)
    first = {prefix: model.prefill([prefix])[1][0] for prefix in product(range(3), repeat=2)}
    state, _ = model.prefill([(0,), (1,), (2,)])
    state, logits = model.step(model.select(state, [2, 0, 0, 1]), [1, 1, 2, 0])
    assert np.array_equal(logits, [first[prefix] for prefix in ((2, 1), (0, 1), (0, 2), (1, 0))])


def test_what_is_remembered_is_nobodys_to_change() -> None:
    model = CachedModel(Counted())
    model.prefill([(0,)])[1][:] = 7
    assert model.prefill([(0,)])[1].tolist() == [np.log(irregular((0,))).tolist()]


def test_the_least_recently_used_rows_go_first() -> None:
    model = CachedModel(Counted(), max_entries=2)
    for prefix, misses in (((0,), 1), ((1,), 2), ((0,), 2), ((2,), 3), ((0,), 3), ((1,), 4)):
        model.prefill([prefix])
        assert model.misses == misses, prefix
    assert model.prefill([(0,), (1,), (2,), (2, 2)])[1].tolist() == [np.log(irregular(prefix)).tolist() for prefix in ((0,), (1,), (2,), (2, 2))]


def test_the_default_holds_a_quarter_of_a_gigabyte() -> None:
    assert CachedModel(abc()).max_entries == 2**28 // 24
    assert CachedModel(Table({}, ulam.Vocabulary([b"x"] * 2**17))).max_entries == 2**8
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="is not a number of rows"):
            CachedModel(abc(), wrong)  # type: ignore[arg-type]


def test_inner_states_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 5 rows are kept, or one call's if they are more; whoever has no state is read again from the start."""
    monkeypatch.setattr(cached, "STATES", 5)
    inner = Counted()
    model = CachedModel(inner)
    state, _ = model.prefill([(0,), (1,), (2,)])
    assert inner.live == 3
    state, _ = model.step(state, [0, 0, 0])
    assert inner.live == 3  # the first three are gone
    state, _ = model.step(model.select(state, [0] * 3), [0, 1, 2])
    assert inner.live == 3
    model.prefill([(2, 2), (1, 2)])
    assert inner.live == 5
    inner.calls.clear()
    model.prefill([(0, 1), (0, 0, 0, 0)])  # (0,) has no state any more, (0, 0, 0) has
    assert inner.calls == [("prefill", [(0, 1)]), ("step", [(0, 0, 0, 0)])]
    model.prefill([(a, b, c) for a in range(3) for b in range(3) for c in range(3)])
    assert inner.live <= 27


def test_a_state_that_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "STATES", 3)
    inner = Counted()
    model = CachedModel(inner)
    model.prefill([(0,)])
    for token in (1, 2):
        model.prefill([(token,)])
        model.prefill([(0, token)])
    assert [kind for kind, _ in inner.calls] == ["prefill", "prefill", "step", "prefill", "step"]


def test_the_empty_prefix_is_nobodys_child() -> None:
    model = CachedModel(Counted(), max_entries=1)
    for _ in range(2):
        model.prefill([()])
        model.prefill([(0,)])
    assert model.misses == 4


def test_errors_are_those_of_the_model() -> None:
    inner = Counted(limit=3, start=True)
    model = CachedModel(inner)
    model.prefill([(0,), (1,)])
    with pytest.raises(EmptyPrompt) as empty:
        model.prefill([(0,), (2,), ()])
    assert empty.value.row == 2
    with pytest.raises(ContextOverflow) as long:
        model.prefill([(0,), (1,), (0, 0, 0, 0)])
    assert long.value.row == 2
    state, _ = model.prefill([(0, 1, 2)])
    for _ in range(2):
        with pytest.raises(ContextOverflow):
            model.step(state, [0])
    with pytest.raises(TokenOutOfRange):
        model.step(state, [3])
    forks = model.select(state, [0])
    model.release(state)
    model.release(state)
    with pytest.raises(StaleState):
        model.step(state, [0])
    assert model.select(forks, [0, 0]).rows == ((0, 1, 2),) * 2
    assert inner.live <= cached.STATES


def test_a_failed_step_leaves_nothing_behind() -> None:
    inner = Table({(): (0.5, 0.5), (0,): (1, 0)}, alphabet("ab"))
    model = CachedModel(inner)
    state, _ = model.prefill([()])
    with pytest.raises(ModelError, match='no probabilities after "b"'):
        model.step(state, [1])
    assert model.misses == 1
    assert model.step(state, [0])[1].tolist() == [[0.0, -np.inf]]


def test_rows_of_torch_stay_torch() -> None:
    torch = pytest.importorskip("torch")

    class Torch(Counted):
        def read(self, kind: str, state: Any, logits: Any) -> Any:
            return state, torch.asarray(logits).to(torch.bfloat16)

    model = CachedModel(Torch())
    _, logits = model.prefill([(0,), (1,), (0,)])
    assert logits.dtype == torch.float32  # the numbers of bfloat16, in the type they are worked with
    assert torch.equal(logits, torch.asarray(np.log([irregular((0,)), irregular((1,)), irregular((0,))])).to(torch.bfloat16).float())


def test_a_run_on_the_cache_is_the_run(tiny: Llama) -> None:
    """The built-in model's bits depend on nothing but the row, so neither do the cache's."""
    model = CachedModel(tiny)
    for _ in range(2):
        for recipe in ("top_p=0.8", "temperature=0.5"):
            one, two = (ulam.sample(each, ["The", "a fox in"], recipe, n=3, max_tokens=12, seed=3) for each in (tiny, model))
            assert [sample.tokens for sample in one] == [sample.tokens for sample in two]
            for a, b in zip(one, two, strict=True):
                assert np.array_equal(a.model_log_probs, b.model_log_probs)
    assert model.misses == len(model._logits)


@given(st.lists(st.lists(st.integers(0, 2), max_size=5).map(tuple), min_size=1, max_size=5), st.integers(1, 6), st.integers(1, 6), st.data())
def test_any_calls_in_any_order(prompts: list[tuple[int, ...]], entries: int, states: int, data: st.DataObject) -> None:
    inner = Counted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cached, "STATES", states)
        model = CachedModel(inner, entries)
        state, logits = model.prefill(prompts)
        texts = list(prompts)
        for _ in range(data.draw(st.integers(0, 5))):
            rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=6))
            tokens = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
            texts = [(*texts[row], token) for row, token in zip(rows, tokens, strict=True)]
            state, logits = model.step(model.select(state, rows), tokens)
            assert logits.tolist() == [np.log(irregular(text)).tolist() for text in texts]
        assert model.misses == len(inner.evaluated)
        assert len(model._logits) <= entries
        assert inner.live <= max(states, *(len(prefixes) for _, prefixes in inner.calls))
