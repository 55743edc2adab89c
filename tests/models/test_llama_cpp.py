"""GGUF files by llama.cpp: the logits of the built-in forward, forks, memory that is given back, and files that are refused."""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gguf_tiny import byte_level, sentencepiece, write_gguf
from tests.tiny import TEXT, write_tiny
from ulam import sample
from ulam.core.errors import ContextOverflow, ModelError, NeedsTokenizer, StaleState, TokenOutOfRange, UsageError
from ulam.models import load
from ulam.models.builtin import Llama
from ulam.testing.check_model import check_model

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from ulam.models import llama_cpp, llama_sequences
from ulam.models.llama_cpp import LlamaCpp

TOLERANCE = 2e-4  # of a logit; logits are up to 5, and both sides round to float32


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", settings={"general.sampling.temp": 0.7})


@pytest.fixture(scope="session")
def opened(path: Path) -> LlamaCpp:
    return LlamaCpp(path, "tiny.gguf", threads=1)


@pytest.fixture
def model(opened: LlamaCpp) -> Iterator[LlamaCpp]:
    """The model, which holds nothing before a test and must hold nothing after it."""
    assert len(opened._store) == 0
    yield opened
    gc.collect()
    assert len(opened._store) == 0
    assert len(opened._store._free) == llama_sequences.NUMBERS


def prompts(model: Any) -> list[list[int]]:
    return [[0], *([0, *model.vocabulary.encode(text)] for text in TEXT)]


def near(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)


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


def test_a_long_prompt_and_a_long_extend(tiny_folder: Path, path: Path) -> None:
    """More tokens than go together, in one row and in many, with logits of all of them."""
    ours: Any = LlamaCpp(path, "tiny.gguf", threads=1)
    theirs: Any = load(tiny_folder)
    ids = np.random.default_rng(1).integers(0, 320, (6, 250))
    state, logits = ours.prefill(ids.tolist())
    near(logits, theirs.prefill(ids.tolist())[1])
    state, other = ours.prefill(ids[:, :1].tolist())[0], theirs.prefill(ids[:, :1].tolist())[0]
    near(ours.extend(state, ids[:, 1:])[1], theirs.extend(other, ids[:, 1:])[1])


def test_the_rules_of_a_model(model: LlamaCpp) -> None:
    report = check_model(model, prompts=[[0], *prompts(model)[1:2]])
    assert report.asserted["limit"] == 3


def test_the_vocabulary_is_that_of_the_checkpoint(model: LlamaCpp, tiny: Llama) -> None:
    ours, theirs = model.vocabulary, tiny.vocabulary
    assert (ours.tokens, ours.names, ours.start, ours.ends) == (theirs.tokens, theirs.names, theirs.start, theirs.ends)
    for text in [*TEXT, " two  spaces\n\n\tand a naïve 日本語 🙂", "a<|endoftext|>b", "nul\0nul", ""]:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.encode_prompt(text) == theirs.encode_prompt(text)


def test_the_vocabulary_outlives_the_model(path: Path) -> None:
    vocabulary = LlamaCpp(path, "tiny.gguf", threads=1).vocabulary
    gc.collect()
    assert vocabulary.decode(vocabulary.encode("The cat")) == "The cat"


def test_sentencepiece(tmp_path: Path) -> None:
    model = LlamaCpp(write_gguf(tmp_path / "x.gguf", tokenizer=sentencepiece), "x.gguf", threads=1)
    vocabulary = model.vocabulary
    assert (vocabulary.start, vocabulary.ends, vocabulary.names[0]) == (1, (2,), "<unk>")
    assert (vocabulary.tokens[3 + 0xE9], vocabulary.tokens[262], vocabulary.tokens[273]) == (b"\xe9", b" the", b"<tool>")
    assert vocabulary.encode_prompt("the cat") == [262, 265]
    assert vocabulary.encode("the cat") == [272, 261, 265]
    assert vocabulary.encode(" the cat") == [262, 265]
    assert vocabulary.encode("<tool>the</s>") == [273, 272, 261, 2]
    assert vocabulary.encode("é") == [3 + 0xC3, 3 + 0xA9]
    check_model(model)


def test_a_tokenizer_that_puts_no_space(tmp_path: Path) -> None:
    def spaceless(writer: Any) -> None:
        sentencepiece(writer)
        writer.add_add_space_prefix(False)

    vocabulary = LlamaCpp(write_gguf(tmp_path / "x.gguf", tokenizer=spaceless), "x.gguf", threads=1).vocabulary
    assert vocabulary.encode_prompt("the cat") == vocabulary.encode("the cat") == [272, 261, 265]


def test_a_text_that_has_no_tokens(tmp_path: Path) -> None:
    """The byte-level tokenizer without a token for the byte of `!`."""

    def holed(writer: Any) -> None:
        byte_level(writer)
        tokens = writer.kv_data[0]["tokenizer.ggml.tokens"].value
        tokens[tokens.index("!")] = "!!!!"

    vocabulary = LlamaCpp(write_gguf(tmp_path / "x.gguf", tokenizer=holed), "x.gguf", threads=1).vocabulary
    with pytest.raises(NeedsTokenizer, match="exactly the text"):
        vocabulary.encode("a!b")


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


def small(path: Path, monkeypatch: pytest.MonkeyPatch, cells: int) -> LlamaCpp:
    """The model with memory for at most so many tokens: one has 1 KiB of keys and values, 2 layers * 2 * 64 * 4 bytes."""
    monkeypatch.setattr(llama_cpp, "FIRST", llama_sequences.TOKENS)
    return LlamaCpp(path, "tiny.gguf", threads=1, cache=cells * 2**10 / 2**30)


def test_memory_grows_with_what_is_held(path: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(path, monkeypatch, 4096)
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


def test_what_has_not_been_used_for_longest_is_read_again(path: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(path, monkeypatch, 512)
    ids = [[(31 * row + 7 * i) % 320 for i in range(200)] for row in range(6)]
    states = [model.prefill([row])[0] for row in ids]
    assert model._store.most == 512
    assert len(model._store) == 2
    for row, state in zip(ids, states, strict=True):
        near(model.step(model.select(state, [0, 0]), [4, 5])[1], tiny.prefill([[*row, 4], [*row, 5]])[1])


def test_rows_that_need_too_much_together_are_refused(path: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(path, monkeypatch, 512)
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": 257}, "context=257 is not a whole number from 1 to 256"),
        ({"context": 0}, "context=0 is not"),
        ({"context": True}, "context=True is not"),
        ({"threads": 0}, "threads=0 is not"),
        ({"cache": -1}, "cache=-1 is not a number of GiB"),
        ({"cache": "4"}, "cache='4' is not"),
        ({"cache": float("nan")}, "cache=nan is not"),
        ({"contex": 3}, r"the backend llama_cpp has no option contex\. Did you mean context\?"),
    ],
)
def test_options_out_of_range(path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        load(path, **options)
    assert error.value.fix


def test_a_smaller_context(path: Path, tiny: Llama) -> None:
    model: Any = load(path, context=3, threads=1)
    assert model.context_limit == 3
    near(model.prefill([[0, 1, 2]])[1], tiny.prefill([[0, 1, 2]])[1])
    with pytest.raises(ContextOverflow):
        model.prefill([[0, 1, 2, 3]])


def test_what_the_file_proposes_is_not_applied(model: LlamaCpp, tiny: Llama) -> None:
    assert model.proposed == {"general.sampling.temp": 0.7}
    ours, theirs = (sample(each, "The", n=4, max_tokens=8, seed=1) for each in (model, tiny))
    assert [each.tokens for each in ours] == [each.tokens for each in theirs]


def test_the_fingerprint_is_of_the_file(path: Path, tmp_path: Path, opened: LlamaCpp, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    assert LlamaCpp(copy, "copy.gguf", threads=1).fingerprint == opened.fingerprint
    other = LlamaCpp(write_gguf(copy, 1), "copy.gguf", threads=1)
    assert other.fingerprint != opened.fingerprint
    monkeypatch.setattr(llama_cpp, "WHOLE", 1000)
    part = LlamaCpp(path, "tiny.gguf", threads=1).fingerprint
    assert part == LlamaCpp(path, "other name", threads=1).fingerprint
    assert part != LlamaCpp(copy, "copy.gguf", threads=1).fingerprint
    assert part.startswith("sha256-part:")


def test_a_model_in_several_files(tmp_path: Path, tiny: Llama) -> None:
    write_gguf(tmp_path / "x.gguf", split=9)
    first, second, third = sorted(tmp_path.iterdir())
    assert first.name == "x-00001-of-00003.gguf"
    model = LlamaCpp(first, first.name, threads=1)
    near(model.prefill([[0, 1, 2]])[1], tiny.prefill([[0, 1, 2]])[1])
    raw = bytearray(third.read_bytes())
    raw[-3] ^= 1
    third.write_bytes(raw)
    assert LlamaCpp(first, first.name, threads=1).fingerprint != model.fingerprint
    with pytest.raises(ModelError, match=r"x-00002-of-00003\.gguf is one of 3 files"):
        LlamaCpp(second, second.name, threads=1)
    third.write_bytes(raw[:-1])
    with pytest.raises(ModelError, match=r"^x-00003-of-00003\.gguf is broken or cut short"):
        LlamaCpp(first, first.name, threads=1)
    second.unlink()
    with pytest.raises(ModelError, match=r"there is no x-00002-of-00003\.gguf"):
        LlamaCpp(first, first.name, threads=1)


def test_the_memory_of_a_model_goes_with_it(path: Path) -> None:
    """Without waiting for a collection of cycles, in which nobody says what is given back first."""
    model = LlamaCpp(path, "tiny.gguf", threads=1)
    state, _ = model.prefill([[0]])
    ends = [weakref.ref(each) for each in (model, model._store)]
    gc.disable()
    try:
        del model, state
        assert [end() for end in ends] == [None, None]
    finally:
        gc.enable()


def without(*keys: str) -> Any:
    def tokenizer(writer: Any) -> None:
        byte_level(writer)
        for key in keys:
            del writer.kv_data[0][f"tokenizer.ggml.{key}"]

    return tokenizer


def numbered(**ids: int) -> Any:
    def tokenizer(writer: Any) -> None:
        byte_level(writer)
        for key, value in ids.items():
            writer.kv_data[0][f"tokenizer.ggml.{key}"].value = value

    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (without("eos_token_id"), r"x\.gguf names no end token, so no text would end \(tokenizer\.ggml\.eos_token_id\)"),
        (numbered(eos_token_id=320), r"x\.gguf: tokenizer\.ggml\.eos_token_id is 320, which is no token id from 0 to 319"),
        (numbered(bos_token_id=320), r"x\.gguf: tokenizer\.ggml\.bos_token_id is 320, which is no token id"),
        (without("bos_token_id"), r"x\.gguf names no start token, with which its texts begin \(tokenizer\.ggml\.bos_token_id\)"),
        (without("model"), r"llama\.cpp cannot open x\.gguf: .*tokenizer\.ggml\.model"),
        (without("merges"), r"llama\.cpp cannot open x\.gguf: "),
    ],
)
def test_files_without_what_a_model_needs(tmp_path: Path, capfd: pytest.CaptureFixture[str], tokenizer: Any, words: str) -> None:
    path = write_gguf(tmp_path / "x.gguf", tokenizer=tokenizer)
    with pytest.raises(ModelError, match=words) as error:
        LlamaCpp(path, "x.gguf", threads=1)
    assert error.value.fix
    assert error.value.what.isprintable()
    assert str(tmp_path) not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_broken_files(path: Path, tmp_path: Path) -> None:
    raw, broken = path.read_bytes(), tmp_path / "broken.gguf"
    for cut in (0, 3, 100, 5000, len(raw) // 2, len(raw) - 1):
        broken.write_bytes(raw[:cut])
        with pytest.raises(ModelError, match=r"is broken or cut short|is not a GGUF file"):
            load(broken)
    broken.write_bytes(raw.replace(b"blk.1.attn_v.weight", b"blk.1.attn_w.weight"))
    with pytest.raises(ModelError, match=r"blk\.1\.attn_v\.weight"):
        load(broken)
    broken.write_bytes(raw.replace(b"llama", b"mamma"))
    with pytest.raises(ModelError, match="unknown model architecture: 'mamma'"):
        load(broken)


def test_nothing_is_printed(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = LlamaCpp(path, "tiny.gguf", threads=1)
    sample(model, "The", n=2, max_tokens=3, seed=1)
    del model
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_without_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("llama_cpp", "ulam.models.llama_"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(ModelError) as error:
        load(path)
    assert error.value.what == 'the backend llama_cpp needs the extra "gguf", which is not installed (llama_cpp is missing)'
    assert error.value.fix == 'pip install "ulam[gguf]"'
    assert error.value.exit_code == 5


def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise RuntimeError("Failed to load shared library\nbecause")

    load_module = importlib.import_module
    monkeypatch.delitem(sys.modules, "ulam.models.llama_api")
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ModelError, match=r"is installed and cannot be loaded: Failed to load") as error:
        load_module("ulam.models.llama_api")
    assert error.value.what.endswith("Failed to load shared library")
    assert "--force-reinstall" in str(error.value.fix)


@pytest.mark.parametrize(
    ("call", "answer", "words"),
    [
        ("llama_model_has_encoder", True, "does not go on a text token by token"),
        ("llama_model_has_decoder", False, "does not go on a text token by token"),
        ("llama_model_is_diffusion", True, "does not go on a text token by token"),
        ("llama_model_is_recurrent", True, "is recurrent"),
        ("llama_model_is_hybrid", True, "is recurrent"),
        ("llama_init_from_model", None, "there is no memory for 512 tokens"),
    ],
)
def test_models_of_other_kinds(path: Path, monkeypatch: pytest.MonkeyPatch, call: str, answer: Any, words: str) -> None:
    """What llama.cpp would say of them, put into its mouth."""
    monkeypatch.setattr(llama_cpp.api, call, lambda *_: answer)
    with pytest.raises(ModelError, match=words):
        LlamaCpp(path, "tiny.gguf", threads=1)


def test_the_command_line(path: Path) -> None:
    words = ["The cat", "-m", str(path), "--seed", "1", "--max-tokens", "5", "--json"]
    done = subprocess.run([sys.executable, "-m", "ulam", *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["model"]["backend"] == "llama_cpp"
    assert "llama" not in done.stderr.replace(str(path), "")
