"""Directories that transformers opens: shards, types, what is refused before it is opened, and models of the hub from its cache."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ulam
from tests.models.networks import network, tokenizer
from tests.tiny import SIZE, write_tiny
from ulam.core.errors import ModelError, UsageError
from ulam.models import load
from ulam.models.builtin import Llama
from ulam.models.transformers import TransformersModel

INDEX = "model.safetensors.index.json"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """GPT-2 in several files, with settings of its own for drawing."""
    made = network("gpt2")
    made.generation_config.update(do_sample=True, top_k=7, temperature=0.5)
    made.save_pretrained(tmp_path / "m", max_shard_size="40kB")
    tokenizer().save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def refused(folder: Path, **options: Any) -> ModelError:
    with pytest.raises(ModelError) as error:
        load(folder, **options)
    assert error.value.what.isprintable()
    assert error.value.fix
    assert error.value.exit_code == 5
    return error.value


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_shards(folder: Path) -> None:
    assert len(list(folder.glob("*.safetensors"))) > 1
    model = load(folder)
    assert isinstance(model, TransformersModel)
    assert model.name == str(folder)
    assert torch.equal(model.prefill([[0, 5]])[1], TransformersModel(network("gpt2"), tokenizer()).prefill([[0, 5]])[1])


def test_what_generation_config_proposes_is_shown_and_not_applied(folder: Path, tmp_path: Path) -> None:
    model: Any = load(folder)
    assert {name: model.proposed[name] for name in ("do_sample", "top_k", "temperature")} == {"do_sample": True, "top_k": 7, "temperature": 0.5}
    llama = write_tiny(tmp_path / "llama")
    (llama / "generation_config.json").write_text('{"top_p": 0.5}')
    for backend in ("builtin", "transformers"):
        model = load(llama, backend=backend)
        assert model.proposed == {"top_p": 0.5}
    (llama / "generation_config.json").write_text("[]")
    for backend in ("builtin", "transformers"):
        assert refused(llama, backend=backend).what == f"{llama}/generation_config.json is not a JSON object"


def test_types_and_devices(folder: Path) -> None:
    model = load(folder, dtype="bfloat16", device="cpu")
    assert model.prefill([[0]])[1].dtype == torch.bfloat16
    with pytest.raises(UsageError, match=r"unknown dtype bfloat\. Did you mean bfloat16"):
        load(folder, dtype="bfloat")
    for wrong in ("gpu", "cuda:99", 3.5):
        with pytest.raises(UsageError, match=r"^device "):
            load(folder, device=wrong)
    with pytest.raises(UsageError, match=r"the backend transformers has no option devise\. Did you mean device\?"):
        load(folder, devise="cpu")
    with pytest.raises(UsageError, match="the backend builtin has no option device"):
        load(folder, backend="builtin", device="cpu")
    with pytest.raises(UsageError, match=r'unknown backend "transformer"\. Did you mean transformers\?'):
        load(folder, backend="transformer")


def test_which_backend(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llama = write_tiny(tmp_path / "llama")
    assert isinstance(load(llama), Llama)
    assert isinstance(load(llama, dtype="float32"), TransformersModel)
    monkeypatch.setattr("ulam.models.checkpoint.SMALL", 10_000)
    assert isinstance(load(llama), TransformersModel)
    assert isinstance(load(llama, backend="builtin"), Llama)
    scaled = write_tiny(tmp_path / "scaled", rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4})
    assert isinstance(load(scaled), TransformersModel)


# what is refused


def explode(*_: object) -> None:
    raise AssertionError("what may not be opened was opened")


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ()


@pytest.mark.parametrize(
    "file",
    ["config.json", INDEX, "model-00001-of-00004.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "vocab.txt", "x.model"],
)
def test_pickles_are_refused_under_any_name(folder: Path, file: str) -> None:
    (folder / file).write_bytes(pickle.dumps(Bomb()))
    assert refused(folder).what == f"{folder}/{file} is a pickle, which can run code when opened; ulam reads safetensors only"


def test_a_pickle_for_weights(folder: Path) -> None:
    for path in (*folder.glob("*.safetensors"), folder / INDEX):
        path.unlink()
    assert refused(folder).what == f"there is no {folder}/model.safetensors"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert refused(folder).what.startswith(f"{folder}/pytorch_model.bin is a pickle")


@pytest.mark.parametrize("place", ["../m/x.safetensors", "/etc/passwd", "..", "a/b.safetensors", "a\\b.safetensors", "x.bin", "", "\x1b[31m/x.safetensors"])
def test_an_index_that_leads_elsewhere(folder: Path, place: str) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["transformer.wte.weight"] = place
    (folder / INDEX).write_text(json.dumps(index))
    assert "which is no .safetensors file of this directory" in refused(folder).what


@pytest.mark.parametrize("value", [None, {}, [], {"a": 1}, {"a": None}, "model.safetensors"])
def test_an_index_without_a_map(folder: Path, value: Any) -> None:
    edit(folder / INDEX, weight_map=value)
    assert refused(folder).what == f"{folder}/{INDEX} has no weight_map from tensors to files"


def test_a_shard_that_is_missing_or_cut_short(folder: Path) -> None:
    path = folder / "model-00002-of-00004.safetensors"
    raw = path.read_bytes()
    for cut in (0, 7, 20, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        assert refused(folder).what.startswith(f"{path} is broken or cut short: ")
    path.unlink()
    assert refused(folder).what == f"there is no {path}, which {INDEX} names"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_layer": 10**12}, "n_layer is 1000000000000, and the weights have"),
        ({"n_layer": 3}, 'have no tensor "transformer.h.2.attn.c_attn.bias"'),
        ({"vocab_size": 10**12}, "describes a network of 32,000,"),
        ({"vocab_size": SIZE + 1}, f"has the shape [{SIZE}, 32], config.json says [{SIZE + 1}, 32]"),
        ({"n_embd": 10**30}, "cannot be loaded"),
        ({"n_head": 5}, "cannot be loaded: "),
        ({"n_embd": "wide"}, "config.json cannot be loaded: "),
        ({"model_type": "gpt9"}, 'has no model_type "gpt9"'),
        ({"model_type": ["gpt2"]}, "has no model_type"),
        ({"model_type": "t5"}, "is a t5, which transformers has no causal language model for"),
        ({"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Model"}}, "brings Python files of its own, which nothing runs unless you ask for it"),
    ],
)
def test_config(folder: Path, change: dict[str, Any], words: str) -> None:
    edit(folder / "config.json", **change)
    assert words in refused(folder).what


def test_code_runs_only_if_it_is_asked_for_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])
    edit(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"})
    (folder / "own.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class OwnConfig(GPT2Config):\n    model_type = 'own'\n"
        "class OwnModel(GPT2LMHeadModel):\n    config_class = OwnConfig\n"
    )
    assert refused(folder).fix == "read them, then: remote_code=True"
    model: Any = load(folder, remote_code=True)
    assert type(model.network).__name__ == "OwnModel"


@pytest.mark.parametrize("spoil", [lambda raw: raw[:50], lambda raw: b"{}", lambda raw: b'{"version": "1.0", "model": {"type": "X"}}'])
def test_a_tokenizer_that_cannot_be_read(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    (folder / "tokenizer.json").write_bytes(spoil((folder / "tokenizer.json").read_bytes()))
    assert "tokenizer" in refused(folder).what


def test_without_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ulam.models.transformers_folder", "ulam.models.transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    error = refused(folder)
    assert error.what == 'the backend transformers needs the extra "transformers", which is not installed (torch is missing)'
    assert error.fix == 'pip install "ulam[transformers]"'


def test_what_is_no_directory(folder: Path) -> None:
    """Asked for by name or not, nothing is downloaded for what cannot be on the hub."""
    for spec in ("./nowhere", "gpt2", "", "a/b/c", "https://example.org/x"):
        with pytest.raises(ModelError, match=r"there is no|unknown model|is a server"):
            load(spec, backend="transformers")
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json\.x is a file"):
        load((folder / INDEX).rename(folder / f"{INDEX}.x"), backend="transformers")


def test_stories_by_both_backends() -> None:
    """The model in the package, whose weights are trained: the same tokens."""
    first, second = (ulam.load("stories", backend=backend) for backend in ("builtin", "transformers"))
    options: dict[str, Any] = {"n": 2, "max_tokens": 12, "seed": 3}
    drawn = [[sample.tokens for sample in ulam.sample(model, "Once upon a time", "temperature=0.8", **options)] for model in (first, second)]
    assert drawn[0] == drawn[1]
    with pytest.raises(UsageError, match="the backend and its device are for checkpoints"):
        load("abc", device="cpu")


# the hub


def test_a_model_of_the_hub_comes_from_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any request: the cache is laid out by hand, as the library keeps it."""
    monkeypatch.setenv("ULAM_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "hub" / "models--someone--some-model"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("a" * 40)
    (place / "snapshots").mkdir()
    with pytest.raises(ModelError, match="someone/some-model is no directory and is not in the local cache, and ULAM_OFFLINE forbids to download it"):
        load("someone/some-model")
    os.rename(folder, place / "snapshots" / ("a" * 40))
    model = load("someone/some-model")
    assert (model.name, len(model.vocabulary)) == ("someone/some-model", SIZE)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(name: str, local_files_only: bool = False, **rest: Any) -> str:
        raise OSError("no route\nto the host" if not local_files_only else "not here")

    monkeypatch.delenv("ULAM_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("ulam.models.transformers_folder.snapshot_download", unreachable)
    with pytest.raises(ModelError, match="someone/some-model is no directory, is not in the local cache, and cannot be downloaded: no route"):
        load("someone/some-model")


# what would take time or memory without end, what is told and not refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_labels": 10**9}, "num_labels is 1000000000"),
        ({"inner_config": {"deeper": {"num_hidden_layers": 10**9}}}, "num_hidden_layers is 1000000000"),
        ({"model_type": "gpt_neo", "attention_types": [[["global", "local"], 10**9]]}, "attention_types is 1000000000"),
    ],
)
def test_what_a_config_would_build_one_by_one(folder: Path, change: dict[str, Any], words: str) -> None:
    edit(folder / "config.json", **change)
    assert words in refused(folder).what


@pytest.mark.parametrize("extra", [{"max_window_layers": 80}, {"vocab_size_per_layer_input": 262144}])
def test_numbers_that_are_not_numbers_of_layers(folder: Path, extra: dict[str, int]) -> None:
    """Qwen names a layer that its small models do not have, Gemma the size of a table in each."""
    edit(folder / "config.json", **extra)
    assert len(load(folder).vocabulary) == SIZE


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.json", "x.model"])
def test_a_file_that_is_too_large_is_not_read(folder: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulam.models.safe_folder.JSON_LIMIT", 200_000)
    (folder / file).write_bytes(b" " * 200_001)
    assert refused(folder).what == f"{folder}/{file} has 200,001 bytes; at most 200,000 are read"


def test_an_adapter_does_not_lead_to_another_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/other"}')
    assert refused(folder).what.startswith(f"{folder} is an adapter")


@pytest.mark.parametrize(("end", "shown"), [("x", "x"), (-1, "-1"), ([0, SIZE], str(SIZE)), ([[1]], "[1]"), (2.5, "2.5"), ("\x1b[31m", "\\u001b[31m")])
def test_an_end_token_that_is_none(folder: Path, end: Any, shown: str) -> None:
    edit(folder / "generation_config.json", eos_token_id=end)
    assert refused(folder).what == f"the end token of {folder} is {shown}, and its ids are 0 to {SIZE - 1}"


def test_a_missing_tokenizer_names_the_file(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json" in (refused(folder).fix or "")


def test_notes(folder: Path, tmp_path: Path) -> None:
    assert load(folder).notes == ()  # pyright: ignore[reportAttributeAccessIssue]
    made = network("llama", vocab_size=SIZE + 2, eos_token_id=None)
    made.save_pretrained(tmp_path / "n")
    edit(tmp_path / "n" / "config.json", num_hidden_layers=1)
    bare = tokenizer()
    bare.eos_token = None
    bare.save_pretrained(tmp_path / "n")
    model: Any = load(tmp_path / "n", backend="transformers")
    assert model.notes == (
        "no end token: a text ends at a stop string or at max_tokens",
        f"the tokenizer has no token for 2 of {SIZE + 2} entries of the logits, <unused {SIZE}> to <unused {SIZE + 1}>; they can be drawn, and have no text",
        '9 of the tensors in its files are not used: "model.layers.1.input_layernorm.weight" and others',
    )
    assert {sample.finish_reason for sample in ulam.sample(model, [[5]], n=3, max_tokens=9, seed=1)} == {"length"}
    llama = write_tiny(tmp_path / "llama", eos_token_id=None)
    assert load(llama).notes == ("no end token: a text ends at a stop string or at max_tokens",)  # pyright: ignore[reportAttributeAccessIssue]
