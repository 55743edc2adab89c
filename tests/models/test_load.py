"""What stands after `-m`: the built-in names, a directory, or an error that says what this version reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ulam.core.errors import ModelError, UsageError
from ulam.models import IID, load
from ulam.models.builtin import Llama


def test_abc() -> None:
    model = load("abc")
    assert isinstance(model, IID)
    assert model.name == "abc"


def test_a_directory_by_any_of_its_names(tiny_folder: Path, tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    for spec in ("tiny", "./tiny", "tiny/", tiny_folder, str(tiny_folder)):
        model = load(spec)
        assert model.name == str(spec).rstrip("/")
        assert model.fingerprint == tiny.fingerprint


def test_a_model_is_returned_as_it_is(tiny: Llama) -> None:
    assert load(tiny) is tiny


def test_a_built_in_name_wins_over_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "abc").mkdir()
    assert isinstance(load("abc"), IID)
    with pytest.raises(ModelError, match=r"there is no \./abc/config\.json"):
        load("./abc")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("storys", r'unknown model "storys"\. Did you mean stories\?'),
        ("gpt2", r'unknown model "gpt2"\.'),
        ("", r'unknown model ""\.'),
        ("long " * 1000, "unknown model"),
        ("nul\0nul", "unknown model"),
        ("~nobody/x", "there is no ~nobody/x"),
        ("./nowhere", r"there is no \./nowhere; nothing is downloaded"),
        ("model.gguf", r"there is no model\.gguf; nothing is downloaded"),
        ("http://localhost:8000/v1", r"http://localhost:8000/v1 is a server; this version of ulam reads checkpoint directories"),
        ("https://example.org", "is a server"),
    ],
)
def test_what_cannot_be_loaded(spec: str, words: str) -> None:
    with pytest.raises(ModelError) as error:
        load(spec)
    error.match(words)
    assert error.value.fix
    assert "stories, abc" in error.value.fix
    assert error.value.exit_code == 5


def test_a_file_is_not_a_directory(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors is a file; this version of ulam reads checkpoint directories"):
        load(tiny_folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"there is no .*/config\.json"):
        load(tmp_path)


def test_things_that_are_no_model() -> None:
    with pytest.raises(ModelError, match="a model cannot be made from int"):
        load(7)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="brings its own tokenizer"):
        load("abc", tokenizer=object())


HEAVY = ("tokenizers", "safetensors", "torch", "transformers", "threadpoolctl", "llama_cpp")


def test_a_table_and_a_function(tmp_path: Path) -> None:
    path = tmp_path / "coin.json"
    path.write_text('{"schema": "ulam.table/1", "tokens": ["h", "t"], "order": 0, "rows": {"": {"h": "1/2", "t": "1/2"}}}')
    assert repr(load(path)) == repr(load(str(path))) == "Markov(coin: 2 tokens)"
    assert repr(load(lambda tokens: [0.0, 0.0], "ht")) == "FunctionModel(function: 2 tokens)"
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ModelError, match=r"there is no .*folder\.json/config\.json"):
        load(tmp_path / "folder.json")


def loaded(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has after `code`."""
    code += f"\nimport sys; print(*(m for m in {HEAVY} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_heavy_packages_wait_for_a_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text('{"schema": "ulam.table/1", "tokens": ["a"], "otherwise": {"a": 1}}')
    assert loaded(f"import ulam.models; ulam.models.load({str(path)!r})") == set()
    assert loaded("import ulam.models as m; m.CachedModel(m.load(lambda tokens: [0.0])).prefill([[]])") == set()
    assert loaded("import ulam.models; ulam.models.load('abc')") == set()
    assert loaded(f"import ulam.models; ulam.models.load({str(tiny_folder)!r})") == {"tokenizers", "safetensors", "threadpoolctl"}
