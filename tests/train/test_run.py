"""What is checked before a run begins, and what is said about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.conftest import TINY
from ulam.core.errors import UsageError
from ulam.train import run as run_module
from ulam.train.corpus import Corpus
from ulam.train.loop import train
from ulam.train.run import prepare, rows_of, token_bytes
from ulam.train.tokenizer import fit_tokenizer


@pytest.mark.parametrize(("name", "says"), [("config.json", "holds a model"), ("notes.txt", "holds other files")])
def test_a_folder_in_use_is_left_alone(corpus: Corpus, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=says) as caught:
        prepare(corpus, tmp_path, TINY)
    assert caught.value.fix == "name a folder that is new or empty"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(UsageError, match="is a file"):
        prepare(corpus, tmp_path / name, TINY)


def test_preparing_writes_nothing(corpus: Corpus, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "model", TINY)
    prepare(corpus, tmp_path, TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["none such", "cuda:99"])
def test_a_device_that_is_not_there(corpus: Corpus, tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{device}' here") as caught:
        prepare(corpus, tmp_path, TINY, device=device)
    assert caught.value.fix == "device=cpu"


def test_a_vocabulary_that_the_text_cannot_fill_is_said(corpus: Corpus, tmp_path: Path) -> None:
    run = prepare(corpus, tmp_path, replace(TINY, vocabulary=5000))
    assert 257 < run.vocabulary < 1000
    assert f"the vocabulary has {run.vocabulary} tokens, not 5000" in run.notes[0]
    assert run.network.get_input_embeddings().weight.shape == (run.vocabulary, TINY.hidden)


def test_a_run_that_goes_on_where_its_optimizer_is_slow_says_so(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "has_bfloat16", lambda device: True)
    next(train(prepare(corpus, tmp_path / "model", TINY)))
    monkeypatch.setattr(run_module, "has_bfloat16", lambda device: False)
    run = prepare(corpus, tmp_path / "model", TINY, resume=True)
    assert type(run.optimizers[0]).__name__ == "Muon"
    assert [note.startswith("Muon is slow here") for note in run.notes] == [True]


@pytest.mark.parametrize(("able", "optimizers"), [(True, ["Muon", "AdamW"]), (False, ["AdamW"])])
def test_without_bfloat16_the_optimizer_is_another_one_and_that_is_said(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool, optimizers: list[str]
) -> None:
    monkeypatch.setattr(run_module, "has_bfloat16", lambda device: able)
    run = prepare(corpus, tmp_path, TINY)
    assert [type(optimizer).__name__ for optimizer in run.optimizers] == optimizers
    assert [note.startswith("AdamW moves all weights") for note in run.notes] == [True] * (not able)
    assert run.half == able
    moved = [p for optimizer in run.optimizers for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in moved} == {id(p) for p in run.network.parameters()}
    assert len(moved) == len(list(run.network.parameters()))


def test_rows_begin_and_end_with_the_end_token_and_spell_the_text(corpus: Corpus) -> None:
    texts = [*corpus.valid, "naïve, 日本語\n\n 🙂 ", " "]
    tokenizer = fit_tokenizer(corpus.train, 280)
    assert tokenizer.get_vocab_size() == 280
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    sizes = token_bytes(tokenizer)
    for text, row in zip(texts, rows_of(texts, tokenizer), strict=True):
        assert (row[0], row[-1]) == (0, 0)
        assert (row[1:-1] > 0).all()
        assert tokenizer.decode(row[1:-1].tolist()) == text
        assert sizes[row].sum() == len(text.encode())
