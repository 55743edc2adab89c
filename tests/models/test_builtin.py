"""The bits of a row depend on that row alone, states are used once, and every wrong call says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from tests.tiny import SIZE, open_llama, save_tensors, tiny_config, tiny_tensors, write_tiny
from ulam.core.errors import ContextOverflow, EmptyPrompt, StaleState, TokenOutOfRange, UsageError
from ulam.models import LanguageModel, builtin
from ulam.models.builtin import BLOCK, Llama

Logits = NDArray[np.float32]
TEXT = np.random.default_rng(1).integers(0, SIZE, 200).tolist()  # longer than three blocks of attention


def step_by_step(model: LanguageModel, text: Sequence[int], read: int = 1) -> Logits:
    """Logits after each token from the one at `read` on: the first `read` at once, the rest one by one."""
    state, logits = model.prefill([text[:read]])
    out = [logits[0]]
    for token in text[read:]:
        state, logits = model.step(state, [token])
        out.append(logits[0])
    return np.stack(out)


@pytest.fixture(scope="module")
def alone(tiny: Llama) -> Logits:
    return step_by_step(tiny, TEXT)


def test_it_is_a_language_model(tiny: Llama, tiny_folder: Path) -> None:
    assert isinstance(tiny, LanguageModel)
    assert (tiny.name, tiny.context_limit, len(tiny.vocabulary)) == (str(tiny_folder), 256, SIZE)
    assert (tiny.vocabulary.start, tiny.vocabulary.ends) == (0, (0,))
    assert tiny.capabilities == {"batch_invariant", "extend", "layer_logits"}
    state, logits = tiny.prefill([[0], [0, 5]])
    assert logits.dtype == np.float32
    assert logits.shape == (2, SIZE)
    assert tiny.step(state, [1, 2])[1].shape == (2, SIZE)


@pytest.mark.parametrize("read", [2, 63, 64, 65, 128, 130, 199, 200])
def test_prefill_is_steps_bit_for_bit(tiny: Llama, alone: Logits, read: int) -> None:
    assert np.array_equal(step_by_step(tiny, TEXT, read), alone[read - 1 :])


@pytest.mark.parametrize(("chunk", "block"), [(1, 64), (7, 64), (200, 64)])
def test_prefill_in_any_chunks_gives_the_same_bits(tiny: Llama, alone: Logits, monkeypatch: pytest.MonkeyPatch, chunk: int, block: int) -> None:
    monkeypatch.setattr(builtin, "CHUNK", chunk)
    assert np.array_equal(tiny.prefill([TEXT])[1][0], alone[-1])


@pytest.mark.parametrize("rows", [2, 7, 64])
def test_a_row_does_not_depend_on_its_batch(tiny: Llama, alone: Logits, rows: int) -> None:
    """Row `at` holds TEXT from `begin` tokens on; its mates hold other texts of other lengths, some many blocks longer."""
    draw = np.random.default_rng(rows)
    for at in {0, rows // 2, rows - 1}:
        begin = int(draw.integers(1, 100))
        prompts = [draw.integers(0, SIZE, draw.integers(1, 200)).tolist() for _ in range(rows)]
        prompts[at] = TEXT[:begin]
        state, logits = tiny.prefill(prompts)
        seen = [logits[at]]
        for token in TEXT[begin : begin + 40]:
            tokens = draw.integers(0, SIZE, rows)
            tokens[at] = token
            state, logits = tiny.step(state, tokens)
            seen.append(logits[at])
        assert np.array_equal(np.stack(seen), alone[begin - 1 : begin + 40])


@pytest.mark.parametrize(("read", "more"), [(1, 199), (1, 1), (1, 64), (63, 65), (64, 1), (130, 70), (200, 0)])
def test_extend_is_steps_bit_for_bit(tiny: Llama, alone: Logits, read: int, more: int) -> None:
    state, _ = tiny.prefill([TEXT[:read]])
    state, logits = tiny.extend(state, [TEXT[read : read + more]])
    assert logits.dtype == np.float32
    assert np.array_equal(logits, alone[None, read : read + more])
    if read + more < len(TEXT):  # and goes on from there
        assert np.array_equal(tiny.step(state, [TEXT[read + more]])[1][0], alone[read + more])


def test_rows_of_unequal_length_are_extended_together(tiny: Llama, alone: Logits) -> None:
    """The same five tokens of TEXT reach each row at its own position; the cache has to grow by more than double."""
    state, _ = tiny.prefill([TEXT[:3], TEXT[:20], TEXT[:1]])
    assert state.cache.shape[3] == 1
    ends = (3, 20, 1)
    state, logits = tiny.extend(state, np.array([TEXT[end : end + 150] for end in ends]))
    for row, end in enumerate(ends):
        assert np.array_equal(logits[row], alone[end : end + 150])
    assert state.cache.shape[3] == 3
    assert np.array_equal(tiny.step(tiny.select(state, [2]), [TEXT[151]])[1][0], alone[151])


def test_extend_up_to_the_limit_and_not_beyond(tiny: Llama) -> None:
    text = [*TEXT, *TEXT[:56]]
    state, _ = tiny.prefill([text[:1], text[:2]])
    with pytest.raises(ContextOverflow, match=r"a row has 2 tokens .* holds 256, which leaves no room for 255 more"):
        tiny.extend(state, [text[:255]] * 2)
    state = tiny.select(state, [0])
    state, logits = tiny.extend(state, [text[1:]])
    assert np.array_equal(logits[0, -1], tiny.prefill([text])[1][0])
    with pytest.raises(ContextOverflow):
        tiny.extend(state, [[1]])
    assert tiny.extend(state, np.zeros((1, 0), np.int64))[1].shape == (1, 0, SIZE)
    with pytest.raises(StaleState):
        tiny.extend(state, [[1]])


def test_permuted_dropped_and_forked_rows_keep_their_bits(tiny: Llama) -> None:
    draw = np.random.default_rng(3)
    texts = [draw.integers(0, SIZE, length + 30).tolist() for length in (1, 40, 63, 64, 100)]
    expected = [step_by_step(tiny, text, len(text) - 30)[1:] for text in texts]
    state, _ = tiny.prefill([text[:-30] for text in texts])
    rows = [0, 1, 2, 3, 4]
    for t in range(30):
        if t in (0, 5, 11, 23):
            choice = {0: [4, 3, 2, 1, 0], 5: [1, 1, 0, 4, 2, 3, 1], 11: [6, 2, 0], 23: [2, 0, 1, 1, 2, 0, 0]}[t]
            state, rows = tiny.select(state, choice), [rows[i] for i in choice]
        state, logits = tiny.step(state, [texts[row][t - 30] for row in rows])
        for place, row in enumerate(rows):
            assert np.array_equal(logits[place], expected[row][t]), (t, place, row)


def test_forks_never_meet(tiny: Llama) -> None:
    root, _ = tiny.prefill([TEXT[:70]])
    forks = tiny.select(root, [0] * 8)
    for t in range(70, 80):  # every fork but the last goes its own way
        forks, logits = tiny.step(forks, [*range(1, 8), TEXT[t]])
    kept, after = tiny.step(root, [TEXT[70]])  # the argument of select is still valid
    assert np.array_equal(logits[7], step_by_step(tiny, TEXT[:80], 80)[0])
    assert np.array_equal(after[0], step_by_step(tiny, TEXT[:71], 71)[0])
    tiny.release(forks)
    assert np.array_equal(tiny.step(kept, [TEXT[71]])[1][0], step_by_step(tiny, TEXT[:72], 72)[0])


def test_the_cache_grows_and_a_small_model_is_a_row_of_its_own(tmp_path: Path) -> None:
    """Heads that do not share keys, a head size that is not hidden / heads, sizes that are no powers of two."""
    model = open_llama(write_tiny(tmp_path, 5, hidden_size=90, intermediate_size=70, num_attention_heads=3, num_key_value_heads=3, head_dim=22))
    whole = step_by_step(model, TEXT)
    state, _ = model.prefill([TEXT[:3], [5] * 100])
    sizes = set()
    for t in range(3, 150):
        sizes.add(state.cache.shape[3])
        state, logits = model.step(state, [TEXT[t], 7])
        assert np.array_equal(logits[0], whole[t])
    assert sizes == {2, 4}
    assert state.cache.shape[3] * BLOCK == model.context_limit


def test_a_state_is_used_once(tiny: Llama) -> None:
    state, _ = tiny.prefill([[0, 1], [0, 2]])
    after, _ = tiny.step(state, [3, 4])
    for use in (lambda: tiny.step(state, [3, 4]), lambda: tiny.select(state, [0])):
        with pytest.raises(StaleState, match="fork"):
            use()
    tiny.release(after)
    tiny.release(after)
    with pytest.raises(StaleState):
        tiny.step(after, [3, 4])
    tiny.release(state)


def test_no_rows_are_no_trouble(tiny: Llama) -> None:
    state, logits = tiny.prefill([])
    assert logits.shape == (0, SIZE)
    state, logits = tiny.step(tiny.select(state, []), [])
    assert logits.shape == (0, SIZE)


def test_the_context_limit(tiny: Llama) -> None:
    full = [1] * 256
    with pytest.raises(ContextOverflow, match="257 tokens"):
        tiny.prefill([[1], [*full, 1]])
    state, _ = tiny.prefill([full[:-1], [1]])
    state, logits = tiny.step(state, [1, 1])
    assert np.array_equal(logits[0], tiny.prefill([full])[1][0])
    with pytest.raises(ContextOverflow, match="256 tokens"):
        tiny.step(state, [1, 1])
    assert tiny.step(tiny.select(state, [1]), [1])[1].shape == (1, SIZE)  # the state lived on, and the short row has room


def test_an_empty_prompt_names_the_start_token(tiny: Llama, tmp_path: Path) -> None:
    with pytest.raises(EmptyPrompt) as error:
        tiny.prefill([[3], []])
    assert error.value.row == 1
    assert error.value.fix == "begin with the start token: [0]"
    with pytest.raises(EmptyPrompt) as error:
        open_llama(write_tiny(tmp_path, bos_token_id=None)).prefill([()])
    assert error.value.fix == "give at least one token"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, s: m.prefill([[3, SIZE]]), TokenOutOfRange, f"token id {SIZE} is outside 0 to {SIZE - 1}"),
        (lambda m, s: m.prefill([[-1]]), TokenOutOfRange, "token id -1"),
        (lambda m, s: m.prefill([[2**70]]), TokenOutOfRange, "whole numbers"),
        (lambda m, s: m.prefill([[0.5]]), TokenOutOfRange, "whole numbers"),
        (lambda m, s: m.prefill(["Once"]), UsageError, "list of token ids"),
        (lambda m, s: m.step(s, [3, SIZE]), TokenOutOfRange, f"token id {SIZE}"),
        (lambda m, s: m.step(s, [-1, 3]), TokenOutOfRange, "token id -1"),
        (lambda m, s: m.step(s, [True, False]), TokenOutOfRange, "whole numbers"),
        (lambda m, s: m.step(s, [3]), UsageError, "2 token ids, one a row"),
        (lambda m, s: m.step(s, [[3, 4]]), UsageError, "2 token ids, one a row"),
        (lambda m, s: m.extend(s, [[3, 4], [5, SIZE]]), TokenOutOfRange, f"token id {SIZE}"),
        (lambda m, s: m.extend(s, [[3, 4]]), UsageError, "2 rows of token ids, all of one length"),
        (lambda m, s: m.extend(s, [[3, 4], [5]]), UsageError, "2 rows of token ids, all of one length"),
        (lambda m, s: m.extend(s, [3, 4]), UsageError, "2 rows of token ids"),
        (lambda m, s: m.select(s, [2]), UsageError, "no row 2 in a state of 2 rows"),
        (lambda m, s: m.select(s, [-1]), UsageError, "no row -1"),
    ],
)
def test_wrong_calls_say_so_and_leave_the_state(tiny: Llama, call: Callable[[Llama, object], object], error: type[Exception], words: str) -> None:
    state, _ = tiny.prefill([[0, 1], [0, 2]])
    with pytest.raises(error, match=words):
        call(tiny, state)
    assert tiny.step(state, [3, 4])[1].shape == (2, SIZE)


def test_a_gate_far_below_zero_is_closed_and_warns_nobody(tmp_path: Path) -> None:
    """exp(1000) is inf in float32: silu(-1000) = 0, so with such gates the second half of a layer adds nothing."""
    folder, config = write_tiny(tmp_path), tiny_config()
    tensors = tiny_tensors(config)
    tensors["model.layers.0.input_layernorm.weight"][:] = 0
    for number in range(2):  # no attention, and an embedding that every gate turns into -1000 or less
        tensors[f"model.layers.{number}.self_attn.o_proj.weight"][:] = 0
        tensors[f"model.layers.{number}.mlp.gate_proj.weight"][:] = -1000
        tensors[f"model.layers.{number}.post_attention_layernorm.weight"][:] = 1
    tensors["model.embed_tokens.weight"] = np.abs(tensors["model.embed_tokens.weight"]) + np.float32(0.1)
    save_tensors(folder / "model.safetensors", tensors)
    embedding = tensors["model.embed_tokens.weight"].astype(np.float64)
    x = embedding[7]
    expected = embedding @ (x / np.sqrt((x * x).mean() + 1e-5) * tensors["model.norm.weight"])
    _, logits = open_llama(folder).prefill([[7]])
    assert np.abs(logits[0] - expected).max() < 1e-4  # float32 sums of 128 terms of size one


def threads() -> list[int]:
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


def test_thread_counts_are_as_before(tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    """One BLAS thread inside a forward, the caller's number outside, also when forwards overlap."""
    inside: list[list[int]] = []
    forward = Llama._forward
    monkeypatch.setattr(Llama, "_forward", lambda *args: (inside.append(threads()), forward(*args))[1])
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = threads()
        tiny.prefill([[0, 1]])
        assert threads() == before
    before = threads()
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda _: step_by_step(tiny, TEXT[:20]), range(8)))
    assert threads() == before
    assert all(number == 1 for each in inside for number in each)
    assert all(np.array_equal(text, texts[0]) for text in texts)


def layers_of(model: Llama, text: Sequence[int], read: int) -> NDArray[np.float32]:
    """What all layers but the last say after a text of which the first `read` tokens are one prompt."""
    state, _ = model.prefill([text[:read]])
    for token in text[read:]:
        state, _ = model.step(state, [token])
    return model.layer_logits(state, [0, 1])[:, 0]


def test_what_a_layer_says_depends_on_the_row_alone(tiny: Llama) -> None:
    text, mate = TEXT[:70], TEXT[100:103]
    expected = layers_of(tiny, text, 1)
    assert expected.shape == (2, SIZE)
    assert not np.array_equal(expected[0], expected[1])
    for read in (63, 64, 65, 70):
        assert np.array_equal(layers_of(tiny, text, read), expected)
    state, _ = tiny.prefill([mate, text[:69]])
    state, _ = tiny.step(state, [5, text[69]])
    assert np.array_equal(tiny.layer_logits(state, [0, 1])[:, 1], expected)
    forks = tiny.select(state, [1, 0, 1])
    tiny.step(state, [7, 7])
    for row in (0, 2):
        assert np.array_equal(tiny.layer_logits(forks, [1, 0])[::-1, row], expected)
    with pytest.raises(StaleState):
        tiny.layer_logits(state, [0])


def test_what_a_layer_says_after_extend(tiny: Llama) -> None:
    text = TEXT[:70]
    state, _ = tiny.prefill([text[:3], text[:4]])
    state, _ = tiny.extend(state, [text[3:69], text[4:70]])
    assert np.array_equal(tiny.layer_logits(state, [0, 1])[:, 1], layers_of(tiny, text, 1))
    state, _ = tiny.extend(state, np.zeros((2, 0), np.int64))
    assert np.array_equal(tiny.layer_logits(state, [0, 1])[:, 1], layers_of(tiny, text, 1))


def test_layer_0_is_the_embedding_of_the_last_token(tiny: Llama) -> None:
    """Without a layer nothing but the last token can matter."""
    (one, other), _ = (tiny.layer_logits(tiny.prefill([[0, 9], [3, 4, 9]])[0], [layer])[0] for layer in (0, 1))
    assert np.array_equal(one, other)
