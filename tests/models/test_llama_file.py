"""GGUF files as models: their vocabulary, the options, and what is refused with one line."""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_tiny import byte_level, sentencepiece, write_gguf
from tests.models.nearly import near
from tests.tiny import TEXT
from ulam import sample
from ulam.core.errors import ContextOverflow, ModelError, NeedsTokenizer, UsageError
from ulam.models import load
from ulam.models.builtin import Llama
from ulam.testing.check_model import check_model

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from ulam.models import llama_cpp
from ulam.models.llama_cpp import LlamaCpp


def test_the_vocabulary_is_that_of_the_checkpoint(tiny_llama_cpp: LlamaCpp, tiny: Llama) -> None:
    ours, theirs = tiny_llama_cpp.vocabulary, tiny.vocabulary
    assert (ours.tokens, ours.names, ours.start, ours.ends) == (theirs.tokens, theirs.names, theirs.start, theirs.ends)
    for text in [*TEXT, " two  spaces\n\n\tand a naïve 日本語 🙂", "a<|endoftext|>b", "nul\0nul", ""]:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.encode_prompt(text) == theirs.encode_prompt(text)


def test_the_vocabulary_outlives_the_model(tiny_gguf: Path) -> None:
    vocabulary = LlamaCpp(tiny_gguf, "tiny.gguf", threads=1).vocabulary
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
def test_options_out_of_range(tiny_gguf: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        load(tiny_gguf, **options)
    assert error.value.fix


def test_a_smaller_context(tiny_gguf: Path, tiny: Llama) -> None:
    model: Any = load(tiny_gguf, context=3, threads=1)
    assert model.context_limit == 3
    near(model.prefill([[0, 1, 2]])[1], tiny.prefill([[0, 1, 2]])[1])
    with pytest.raises(ContextOverflow):
        model.prefill([[0, 1, 2, 3]])


def test_what_the_file_proposes_is_not_applied(tiny_llama_cpp: LlamaCpp, tiny: Llama) -> None:
    assert tiny_llama_cpp.proposed == {"general.sampling.temp": 0.7}
    ours, theirs = (sample(each, "The", n=4, max_tokens=8, seed=1) for each in (tiny_llama_cpp, tiny))
    assert [each.tokens for each in ours] == [each.tokens for each in theirs]


def test_the_fingerprint_is_of_the_file(tiny_gguf: Path, tmp_path: Path, tiny_llama_cpp: LlamaCpp, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny_gguf.read_bytes())
    assert LlamaCpp(copy, "copy.gguf", threads=1).fingerprint == tiny_llama_cpp.fingerprint
    other = LlamaCpp(write_gguf(copy, 1), "copy.gguf", threads=1)
    assert other.fingerprint != tiny_llama_cpp.fingerprint
    monkeypatch.setattr(llama_cpp, "WHOLE", 1000)
    part = LlamaCpp(tiny_gguf, "tiny.gguf", threads=1).fingerprint
    assert part == LlamaCpp(tiny_gguf, "other name", threads=1).fingerprint
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


def test_broken_files(tiny_gguf: Path, tmp_path: Path) -> None:
    raw, broken = tiny_gguf.read_bytes(), tmp_path / "broken.gguf"
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


def test_nothing_is_printed(tiny_gguf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = LlamaCpp(tiny_gguf, "tiny.gguf", threads=1)
    sample(model, "The", n=2, max_tokens=3, seed=1)
    del model
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_without_the_extra(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("llama_cpp", "ulam.models.llama_"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(ModelError) as error:
        load(tiny_gguf)
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
def test_models_of_other_kinds(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, call: str, answer: Any, words: str) -> None:
    """What llama.cpp would say of them, put into its mouth."""
    monkeypatch.setattr(llama_cpp.api, call, lambda *_: answer)
    with pytest.raises(ModelError, match=words):
        LlamaCpp(tiny_gguf, "tiny.gguf", threads=1)


def test_the_command_line(tiny_gguf: Path) -> None:
    words = ["The cat", "-m", str(tiny_gguf), "--seed", "1", "--max-tokens", "5", "--json"]
    done = subprocess.run([sys.executable, "-m", "ulam", *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["model"]["backend"] == "llama_cpp"
    (receipt,) = [line for line in done.stderr.splitlines() if not line.startswith("loading ")]  # and nothing that llama.cpp says
    assert receipt.startswith(f"── {tiny_gguf} (llama.cpp) · ")
