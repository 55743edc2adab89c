"""GGUF files by llama.cpp: the logits of the built-in forward, forks, and memory that is given back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gguf_tiny import write_gguf
from tests.models.nearly import TOLERANCE, near
from tests.tiny import TEXT, write_tiny
from ulam import sample
from ulam.core.errors import ContextOverflow, ModelError, StaleState, TokenOutOfRange, UsageError
from ulam.models import load
from ulam.models.builtin import Llama
from ulam.testing.check_model import check_model

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from ulam.models import llama_cpp, llama_sequences
from ulam.models.llama_cpp import LlamaCpp


@pytest.fixture
def model(tiny_llama_cpp: LlamaCpp) -> Iterator[LlamaCpp]:
    """The model, which holds nothing before a test and must hold nothing after it."""
    assert len(tiny_llama_cpp._store) == 0
    yield tiny_llama_cpp
    gc.collect()
    assert len(tiny_llama_cpp._store) == 0
    assert len(tiny_llama_cpp._store._free) == llama_sequences.NUMBERS


def prompts(model: Any) -> list[list[int]]:
    return [[0], *([0, *model.vocabulary.encode(text)] for text in TEXT)]


def test_logits_of_prompts(model: LlamaCpp, tiny: Llama) -> None:
    _, ours = model.prefill(prompts(tiny))
    _, theirs = tiny.prefill(prompts(tiny))
    assert ours.dtype == np.float32
    near(ours, theirs)
    near(model.prefill([list(range(256))])[1], tiny.prefill([list(range(256))])[1])


@pytest.mark.parametrize("changes", [{"tie_word_embeddings": False}, {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 500.0}}])
def test_logits_of_other_shapes(tmp_path: Path, changes: dict[str, Any]) -> None:
    ours = LlamaCpp(write_gguf(tmp_path / "x.gguf", 3, **changes), "x.gguf", threads=1)
    theirs: Any = load(write_tiny(tmp_path / "x", 3, **changes), backend="builtin")
    near(ours.prefill(prompts(theirs))[1], theirs.prefill(prompts(theirs))[1])


def test_a_wrong_order_of_rotary_positions_is_seen(tmp_path: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gguf_tiny.in_pairs", lambda matrix, heads: matrix)
    model = LlamaCpp(write_gguf(tmp_path / "x.gguf"), "x.gguf", threads=1)
    assert np.abs(model.prefill([[0, 1, 2]])[1] - tiny.prefill([[0, 1, 2]])[1]).max() > 100 * TOLERANCE


def test_forks_go_their_own_ways(model: LlamaCpp, tiny: Llama) -> None:
    ours, theirs = model.prefill(prompts(tiny))[0], tiny.prefill(prompts(tiny))[0]
    rows = [0, 1, 1, 3, 1, 0]
    fork, other = model.select(ours, rows), tiny.select(theirs, rows)
    for turn in range(12):
        ids = [(41 * turn + 7 * row) % 320 for row in range(len(rows))]
        fork, logits = model.step(fork, ids)
        other, expected = tiny.step(other, ids)
        near(logits, expected)
    near(model.step(ours, [9] * 4)[1], tiny.step(theirs, [9] * 4)[1])
    more = [[5, 6, 7]] * len(rows)
    near(model.extend(fork, more)[1], tiny.extend(other, more)[1])


def test_a_long_prompt_and_a_long_extend(tiny_folder: Path, tiny_gguf: Path) -> None:
    """More tokens than go together, in one row and in many, with logits of all of them."""
    ours: Any = LlamaCpp(tiny_gguf, "tiny.gguf", threads=1)
    theirs: Any = load(tiny_folder)
    ids = np.random.default_rng(1).integers(0, 320, (6, 250))
    state, logits = ours.prefill(ids.tolist())
    near(logits, theirs.prefill(ids.tolist())[1])
    state, other = ours.prefill(ids[:, :1].tolist())[0], theirs.prefill(ids[:, :1].tolist())[0]
    near(ours.extend(state, ids[:, 1:])[1], theirs.extend(other, ids[:, 1:])[1])


def test_the_rules_of_a_model(model: LlamaCpp) -> None:
    report = check_model(model, prompts=[[0], *prompts(model)[1:2]])
    assert report.asserted["limit"] == 3


def test_the_same_dice_fall_alike(model: LlamaCpp, tiny: Llama) -> None:
    """Where they do not, both have the same logits up to rounding, which the draw must lie within of a boundary."""
    recipe = "temperature=0.9 top_k=50 top_p=0.95"
    ours = sample(model, list(TEXT), recipe, n=40, max_tokens=16, seed=5)
    theirs = sample(tiny, list(TEXT), recipe, n=40, max_tokens=16, seed=5)
    apart = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.tokens != b.tokens]
    for a, b in apart:
        common = next(i for i, pair in enumerate(zip(a.tokens, b.tokens, strict=False)) if pair[0] != pair[1])
        prefix = [(*a.prompt_tokens, *a.tokens[:common])]
        near(model.prefill(prefix)[1], tiny.prefill(prefix)[1])
    assert sum(len(each.tokens) for each in ours) > 1000
    assert len(apart) <= 2


def test_more_rows_than_llama_cpp_has_numbers(model: LlamaCpp, tiny: Llama) -> None:
    count = llama_sequences.NUMBERS + 50
    state, logits = model.prefill([[0, i % 320, 3] for i in range(count)])
    other, expected = tiny.prefill([[0, i % 320, 3] for i in range(count)])
    near(logits, expected)
    assert len(model._store) <= llama_sequences.NUMBERS
    for _ in range(2):
        state, logits = model.step(state, [8] * count)
        other, expected = tiny.step(other, [8] * count)
        near(logits, expected)


def test_states_that_die_give_back_what_they_held(model: LlamaCpp) -> None:
    state, _ = model.prefill([[0, 1], [0, 2]])
    fork = model.select(state, [0, 0, 1])
    assert len(model._store) == 2
    fork, _ = model.step(fork, [4, 5, 6])
    assert len(model._store) == 5
    model.release(state)
    model.release(state)
    assert len(model._store) == 3
    fork, _ = model.step(model.select(fork, [2]), [7])
    assert len(model._store) == 1
    del fork
    assert len(model._store) == 0


def test_a_row_alone_grows_in_place(model: LlamaCpp) -> None:
    state, _ = model.prefill([[0]])
    number = state.strands[0].number
    for token in range(5):
        before = state
        state, _ = model.step(state, [token])
        assert state.strands[0].number == number
        with pytest.raises(StaleState):
            model.step(before, [1])


def small(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, cells: int) -> LlamaCpp:
    """The model with memory for at most so many tokens: one has 1 KiB of keys and values, 2 layers * 2 * 64 * 4 bytes."""
    monkeypatch.setattr(llama_cpp, "FIRST", llama_sequences.TOKENS)
    return LlamaCpp(tiny_gguf, "tiny.gguf", threads=1, cache=cells * 2**10 / 2**30)


def test_memory_grows_with_what_is_held(tiny_gguf: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(tiny_gguf, monkeypatch, 4096)
    store = model._store
    assert (store.cells, store.most) == (512, 4096)
    ids = [[(31 * row + 7 * i) % 320 for i in range(30)] for row in range(64)]
    state, logits = model.prefill(ids)
    other, expected = tiny.prefill(ids)
    near(logits, expected)
    assert store.cells == 2048
    for turn in range(3):
        state, logits = model.step(state, [turn] * 64)
        other, expected = tiny.step(other, [turn] * 64)
        near(logits, expected)
    assert store.cells == 4096


def test_what_has_not_been_used_for_longest_is_read_again(tiny_gguf: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(tiny_gguf, monkeypatch, 512)
    ids = [[(31 * row + 7 * i) % 320 for i in range(200)] for row in range(6)]
    states = [model.prefill([row])[0] for row in ids]
    assert model._store.most == 512
    assert len(model._store) == 2
    for row, state in zip(ids, states, strict=True):
        near(model.step(model.select(state, [0, 0]), [4, 5])[1], tiny.prefill([[*row, 4], [*row, 5]])[1])


def test_rows_that_need_too_much_together_are_refused(tiny_gguf: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(tiny_gguf, monkeypatch, 512)
    ids = [[(31 * row + 7 * i) % 320 for i in range(170)] for row in range(3)]
    state, _ = model.prefill(ids)
    with pytest.raises(ContextOverflow, match=r"3 rows of 513 tokens are more than the 512 that tiny\.gguf holds") as error:
        model.step(state, [1] * 3)
    assert "cache=" in str(error.value.fix)
    fork = model.select(state, [2])
    near(model.step(fork, [3])[1], tiny.prefill([[*ids[2], 3]])[1])
    with pytest.raises(ContextOverflow):
        model.step(state, [3] * 3)
    near(model.step(model.select(state, [1]), [3])[1], tiny.prefill([[*ids[1], 3]])[1])


@pytest.mark.parametrize("code", [-1, -3, 2])
def test_a_failure_of_llama_cpp_leaves_the_state(model: LlamaCpp, tiny: Llama, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    ids = prompts(tiny)
    state, _ = model.prefill(ids)
    kept = model.select(state, [1])
    with monkeypatch.context() as patch:
        patch.setattr(llama_sequences.api, "llama_decode", lambda *_: code)
        with pytest.raises(ModelError, match=f"llama_decode returned {code}"):
            model.step(state, [3] * 4)
        with pytest.raises(ModelError, match="llama_decode returned"):
            model.prefill(ids)
    expected = tiny.prefill([[*row, 3] for row in ids])[1]
    near(model.step(state, [3] * 4)[1], expected)
    near(model.step(kept, [3])[1], expected[1:2])


def test_an_interruption_leaves_the_state(model: LlamaCpp, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    state, _ = model.prefill([[0, 1]])
    decode = llama_sequences.api.llama_decode

    def interrupted(*given: Any) -> int:
        decode(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(llama_sequences.api, "llama_decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.step(state, [3])
    near(model.step(state, [3])[1], tiny.prefill([[0, 1, 3]])[1])


def test_what_is_refused_before_any_work(model: LlamaCpp) -> None:
    state, _ = model.prefill([[0] * 256, [0]])
    with pytest.raises(ContextOverflow, match=r"a row has 256 tokens and tiny\.gguf holds 256, which leaves no room for 1 more"):
        model.step(state, [1, 1])
    with pytest.raises(ContextOverflow, match=r"a prompt of 257 tokens; tiny\.gguf holds 256"):
        model.prefill([[0] * 257])
    with pytest.raises(TokenOutOfRange):
        model.step(state, [1, 320])
    with pytest.raises(UsageError):
        model.step(state, [1])
    model.step(model.select(state, [1]), [1])


def test_no_rows_and_no_tokens(model: LlamaCpp, tiny: Llama) -> None:
    state, logits = model.prefill([])
    assert logits.shape == (0, 320)
    assert model.step(state, [])[1].shape == (0, 320)
    state, _ = model.prefill([[0, 1]])
    state, logits = model.extend(state, np.zeros((1, 0), np.int64))
    assert logits.shape == (1, 0, 320)
    near(model.step(state, [2])[1], tiny.prefill([[0, 1, 2]])[1])


def test_the_memory_of_a_model_goes_with_it(tiny_gguf: Path) -> None:
    """Without waiting for a collection of cycles, in which nobody says what is given back first."""
    model = LlamaCpp(tiny_gguf, "tiny.gguf", threads=1)
    state, _ = model.prefill([[0]])
    ends = [weakref.ref(each) for each in (model, model._store)]
    gc.disable()
    try:
        del model, state
        assert [end() for end in ends] == [None, None]
    finally:
        gc.enable()
