"""Every way a directory can be wrong is one ModelError of one sentence, and nothing in it is run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import SIZE, save_tensors, tiny_config, tiny_tensors, write_tiny
from ulam.core.errors import ModelError
from ulam.models import load
from ulam.models.builtin import Llama
from ulam.models.checkpoint import Checkpoint, Weights, is_pickle, read_config


def refused(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as error:
        load(folder, backend="builtin")
    assert error.value.what.isprintable()  # no line end, and nothing that a terminal obeys
    assert error.value.fix
    assert error.value.exit_code == 5
    return error.value


def refusal(call: Callable[[], object]) -> str:
    """What a ModelError says, or nothing if there is none; any other error is a failure."""
    try:
        call()
    except ModelError as error:
        return error.what
    return ""


# config.json


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, 'names the architectures ["GPT2LMHeadModel"]; this backend reads Llama-architecture checkpoints only'),
        ({"architectures": ["\x1b[31mred\n"]}, r'names the architectures ["\u001b[31mred\n"]'),
        ({"architectures": ["LlamaForCausalLM", "MistralForCausalLM"]}, '["LlamaForCausalLM", "MistralForCausalLM"]'),
        ({"architectures": None}, "names the architectures none"),
        ({"architectures": "LlamaForCausalLM"}, 'names the architectures "LlamaForCausalLM"'),
        ({"hidden_act": "gelu"}, 'hidden_act is "gelu", expected "silu"'),
        ({"attention_bias": True}, "attention_bias is true, expected false"),
        ({"mlp_bias": True}, "mlp_bias is true"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 1e4}}, 'rope_type of rope_parameters is "llama3", expected "default"'),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, 'rope_type of rope_scaling is "linear"'),
        ({"rope_parameters": "default"}, 'rope_parameters is "default", expected an object'),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        ({"rope_parameters": {"rope_theta": 0}}, "rope_theta is 0, expected a number from 1 to 1e+12"),
        ({"rope_parameters": {"rope_theta": float("inf")}}, "rope_theta is Infinity"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is NaN"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"rms_norm_eps": 1e300}, "rms_norm_eps is 1e+300, expected a number from 1e-12 to 1"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps is 1000000"),
        ({"rope_parameters": {"rope_theta": 10**400}}, "rope_theta is 1000000"),
        ({"num_attention_heads": 10**4000, "num_key_value_heads": 1, "head_dim": 10**4000}, "num_attention_heads is 1000000"),
        ({"tie_word_embeddings": False}, "has no tensor lm_head.weight"),
        ({"tie_word_embeddings": None}, "has no tensor lm_head.weight"),
        ({"tie_word_embeddings": "yes"}, 'tie_word_embeddings is "yes", expected true or false'),
        ({"hidden_size": None}, "hidden_size is null, expected a whole number from 1"),
        ({"hidden_size": 128.0}, "hidden_size is 128.0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_attention_heads": True}, "num_attention_heads is true"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3, expected a divisor of the 2 attention heads"),
        ({"head_dim": 63}, "head_dim is 63, expected an even number"),
        ({"max_position_embeddings": -1}, "max_position_embeddings is -1"),
        ({"eos_token_id": SIZE}, f"eos_token_id is {SIZE}, expected token ids from 0 to {SIZE - 1}"),
        ({"eos_token_id": [0, "end"]}, "eos_token_id"),
        ({"bos_token_id": -1}, "bos_token_id is -1"),
        ({"hidden_size": 256}, "model.embed_tokens.weight has the shape [320, 128], config.json says [320, 256]"),
        ({"num_hidden_layers": 3}, "no tensor model.layers.2.input_layernorm.weight"),
        ({"num_hidden_layers": 10**12}, "no tensor model.layers.2."),
        ({"num_hidden_layers": 1}, 'model.safetensors has more: the tensor "model.layers.1.'),
        ({"intermediate_size": 10**15}, "config.json says [1000000000000000, 128]"),
        ({"vocab_size": 10**15}, "model.embed_tokens.weight has the shape"),
    ],
)
def test_config(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(tiny_config() | change))
    assert words in refused(folder).what


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"vocab_size": ' + b"9" * 5000 + b"}"])
def test_config_that_is_not_json(tmp_path: Path, raw: bytes) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "config.json").write_bytes(raw)
    assert refused(folder).what == f"{folder}/config.json is not JSON"


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_json_beyond_the_limit_is_not_read(tmp_path: Path, file: str) -> None:
    folder = write_tiny(tmp_path / "m")
    os.truncate(folder / file, 2**28 + 1)  # a hole: it takes no room
    assert refused(folder).what == f"{folder}/{file} has 268,435,457 bytes; at most 268,435,456 are read"


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"LlamaForCausalLM"'])
def test_config_that_is_no_object(tmp_path: Path, raw: bytes) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "config.json").write_bytes(raw)
    assert refused(folder).what == f"{folder}/config.json is not a JSON object"


def test_config_defaults() -> None:
    """What files leave out: as many key heads as heads, hidden / heads numbers a head, base 10000, no start, no end, no tie."""
    out = ("num_key_value_heads", "head_dim", "rope_parameters", "bos_token_id", "tie_word_embeddings")
    short = {name: value for name, value in tiny_config().items() if name not in out}
    config = read_config(json.dumps(short | {"eos_token_id": None}).encode(), "config.json")
    assert (config.groups, config.head, config.theta, config.start, config.ends, config.tied) == (2, 64, 10000.0, None, (), False)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["default", "type", "rope_type", ""])
JSON = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.sampled_from(["type", "rope_type", "rope_theta", "factor"]), PLAIN)


@given(st.sampled_from(sorted(tiny_config())), JSON)
@settings(max_examples=300, deadline=None)
def test_any_value_in_any_field_is_read_or_refused(field: str, value: Any) -> None:
    assert "\n" not in refusal(lambda: read_config(json.dumps(tiny_config() | {field: value}).encode(), "config.json"))


# files that are missing or are something else


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_named(tmp_path: Path, file: str) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / file).unlink()
    assert refused(folder).what == f"there is no {folder}/{file}"
    (folder / file).mkdir()
    assert refused(folder).what == f"there is no {folder}/{file}"


def test_shards_are_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "in several files" in refused(folder).what


def explode(*_: object) -> None:
    raise AssertionError("what may not be opened was opened")


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    return out.getvalue()


PICKLES = {f"protocol {number}": pickle.dumps(Bomb(), protocol=number) for number in (2, 3, 4, 5)} | {"zip": zipped()}


@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "pytorch_model.bin", "consolidated.00.pth"])
def test_pickles_are_refused_under_any_name(tmp_path: Path, kind: str, file: str) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "kept")
    if not file.startswith(("pytorch", "consolidated")):
        (folder / "kept").rename(folder / "model.safetensors")
    (folder / file).write_bytes(PICKLES[kind])
    error = refused(folder)
    assert error.what == f"{folder}/{file} is a pickle, which can run code when opened; ulam reads safetensors only"
    assert error.fix
    assert error.fix.startswith("convert it once, in an environment you trust")


def test_a_pickle_with_a_name_for_a_terminal(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "\x1b[31mred\n.bin").write_bytes(PICKLES["zip"])
    assert r"m/\u001b[31mred\n.bin is a pickle" in refused(folder).what


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_as_the_spec_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(PICKLES[kind])
    with pytest.raises(ModelError, match=r"weights\.bin is a pickle"):
        load(str(path))


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_safetensors_header_that_begins_like_a_pickle(tmp_path: Path, length: int) -> None:
    """640 is 80 02 in little-endian bytes, the first two of a pickle of protocol 2."""
    names = {f"tensor.{i:03}": np.zeros(2, np.float32) for i in range(6)}
    save_tensors(tmp_path / "x.safetensors", names)
    raw = (tmp_path / "x.safetensors").read_bytes()
    old = int.from_bytes(raw[:8], "little")
    raw = length.to_bytes(8, "little") + raw[8 : 8 + old] + b" " * (length - old) + raw[8 + old :]
    assert raw[0] == 0x80
    assert raw[1] in (2, 3, 4, 5)
    assert not is_pickle(raw[:16])
    assert np.array_equal(Weights(raw, "x").take("tensor.003", 2), np.zeros(2))


# model.safetensors


def test_truncated_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by the header alone: the rest is not even read."""
    monkeypatch.setattr("ulam.models.checkpoint.deserialize", explode)
    folder = write_tiny(tmp_path / "m")
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    header = int.from_bytes(raw[:8], "little")
    for cut in (0, 1, 7, 8, 9, 8 + header // 2, 8 + header - 1, 8 + header, 9 + header, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        assert refused(folder).what.startswith(f"{folder}/model.safetensors is broken or cut short: ")


@pytest.mark.parametrize(
    "raw",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (2**64 - 1).to_bytes(8, "little") + b"{}",
        (10**8).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (8).to_bytes(8, "little") + b"not json",
    ],
)
def test_headers_that_lie(tmp_path: Path, raw: bytes) -> None:
    folder = write_tiny(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(raw)
    assert "model.safetensors is broken or cut short" in refused(folder).what


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "\x1b[31m", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
    ],
)
def test_entries_that_lie(entry: dict[str, Any]) -> None:
    header = json.dumps({"x": entry}).encode()
    with pytest.raises(ModelError, match="broken or cut short") as error:
        Weights(len(header).to_bytes(8, "little") + header + bytes(8), "x")
    assert error.value.what.isprintable()


def change(name: str, values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: np.asarray(values, np.float32)})


def poke(name: str, value: float) -> Callable[[dict[str, Any]], None]:
    def set_one(tensors: dict[str, Any]) -> None:
        tensors[name].flat[-1] = value

    return set_one


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop("model.norm.weight"), "has no tensor model.norm.weight"),
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), "has no tensor model.layers.1.mlp.up_proj.weight"),
        (change("model.norm.weight", np.ones(127)), "model.norm.weight has the shape [127], config.json says [128]"),
        (change("model.layers.0.self_attn.k_proj.weight", np.ones((128, 64))), "k_proj.weight has the shape [128, 64], config.json says [64, 128]"),
        (change("model.layers.0.self_attn.q_proj.bias", np.ones(128)), 'has the tensor "model.layers.0.self_attn.q_proj.bias", which no Llama has'),
        (change("a\x1b[31m\n", np.ones(1)), r'has the tensor "a\u001b[31m\n", which no Llama has'),
        (poke("model.layers.1.self_attn.v_proj.weight", np.nan), "model.layers.1.self_attn.v_proj.weight holds NaN or infinite weights"),
        (poke("model.embed_tokens.weight", np.inf), "model.embed_tokens.weight holds NaN or infinite weights"),
        (poke("model.norm.weight", -np.inf), "model.norm.weight holds NaN or infinite weights"),
    ],
)
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_tensors(tmp_path: Path, edit: Callable[[dict[str, Any]], Any], words: str, dtype: str) -> None:
    folder = write_tiny(tmp_path / "m")
    tensors = tiny_tensors(tiny_config())
    edit(tensors)
    save_tensors(folder / "model.safetensors", tensors, dtype)
    assert words in refused(folder).what


def test_other_number_types_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "m")
    raw = (folder / "model.safetensors").read_bytes().replace(b'"dtype": "F32"', b'"dtype": "I32"')
    (folder / "model.safetensors").write_bytes(raw)
    assert "is of the type I32; ulam reads F32, F16 and BF16" in refused(folder).what


def test_rotary_frequencies_of_old_files_are_known(tmp_path: Path, tiny: Llama) -> None:
    folder = write_tiny(tmp_path / "m")
    save_tensors(folder / "model.safetensors", tiny_tensors(tiny_config()) | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(32, np.float32)})
    assert np.array_equal(load(folder).prefill([[0, 1]])[1], tiny.prefill([[0, 1]])[1])


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_noise_in_the_header_is_read_or_refused(noise: bytes, at: int) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    raw = len(header).to_bytes(8, "little") + header + bytes(8)
    assert "\n" not in refusal(lambda: Weights(raw[:at] + noise + raw[at + len(noise) :], "x"))


# the fingerprint


def test_the_fingerprint_follows_every_file(tmp_path: Path) -> None:
    first = load(write_tiny(tmp_path / "a")).fingerprint
    assert len(first) == len("sha256:") + 16
    assert load(write_tiny(tmp_path / "b")).fingerprint == first
    assert load(write_tiny(tmp_path / "c", seed=1)).fingerprint != first
    assert load(write_tiny(tmp_path / "d", rms_norm_eps=1e-4)).fingerprint != first
    assert load(write_tiny(tmp_path / "f", dtype="BF16")).fingerprint != first
    other = write_tiny(tmp_path / "e")
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + "\n")
    assert load(other).fingerprint != first


def test_the_fingerprint_can_be_worked_out_from_the_files(tiny_folder: Path, tiny: Llama) -> None:
    files = b"".join((tiny_folder / name).read_bytes() for name in ("model.safetensors", "config.json", "tokenizer.json"))
    assert tiny.fingerprint == f"sha256:{hashlib.sha256(files).hexdigest()[:16]}"


def test_the_fingerprint_is_of_what_was_loaded(tmp_path: Path, tiny: Llama) -> None:
    """Also when another training has written over the files since."""
    folder = write_tiny(tmp_path / "m")
    model = load(folder)
    write_tiny(folder, seed=1, rms_norm_eps=1e-4)
    assert model.fingerprint == tiny.fingerprint != load(folder).fingerprint


def test_nothing_but_the_config_is_read_at_first(tmp_path: Path) -> None:
    """What `ulam models` shows of a directory costs no weights."""
    folder = write_tiny(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    checkpoint = Checkpoint(folder, "m")
    assert (checkpoint.config.context, len(checkpoint.vocabulary)) == (256, SIZE)
    with pytest.raises(ModelError, match=r"there is no m/model\.safetensors"):
        checkpoint.weights()
