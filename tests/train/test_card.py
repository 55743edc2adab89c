"""What lies beside the weights: the card, the pictures, and a model that other programs load."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

import ulam
from tests.train.conftest import TINY
from ulam.train.card import card, table
from ulam.train.corpus import Corpus
from ulam.train.loop import train
from ulam.train.picture import loss_chart, png_and_svg
from ulam.train.run import Run, prepare
from ulam.train.settings import Loss, Progress

Trained = tuple[Run, list[Progress]]


def test_the_card_states_what_was_measured_on_what(trained: Trained, text: Path) -> None:
    run, _ = trained
    written = (run.folder / "README.md").read_text()
    assert written == card(run)
    loss = run.final
    assert loss is not None
    nats = loss.nats / loss.tokens
    numbers = f"| this model | {nats:.3f} | {np.log2(np.e) * nats:.3f} | {loss.nats / loss.bytes / np.log(2):.3f} | {np.exp(nats):.2f} |"
    digest = hashlib.sha256(text.read_bytes()).hexdigest()
    for part in (
        "---\nlibrary_name: transformers\n",
        "# tiny\n",
        "![Loss against tokens learnt from](loss.png)",
        "|  | nats/token | bits/token | bits/byte | perplexity |",
        numbers,
        f"| uniform guessing | {np.log(280):.3f} | {np.log2(280):.3f} |",
        f"Measured on all {loss.tokens:,} held-out tokens ({loss.bytes:,} bytes)",
        f"| training | little stories.txt | {text.stat().st_size:,} | `{digest[:12]}` |",
        "| layers | 1 |",
        f"| weights | {run.weights:,}, stored as float16 |",
        "| steps | 20 |",
        "| seed | 0 |",
        f"torch {torch.__version__}",
        'ulam "Once" -m tiny',
        'AutoModelForCausalLM.from_pretrained("tiny"',
        "## Licence\n\nNot stated.",
    ):
        assert part in written, part
    assert str(run.folder.parent) not in written  # names of files, no places


def test_the_card_of_a_stopped_run_says_so(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulam.train.run.WATCHED", 100)
    monkeypatch.setattr("ulam.train.run.has_bfloat16", lambda device: False)
    run = prepare(corpus, tmp_path / "model", TINY)
    reports = train(run)
    for report in reports:
        if report.step == 3:
            reports.close()
    written = (tmp_path / "model" / "README.md").read_text()
    assert "The run reached step 3 of 20, where it was stopped; the weights are those of step 3." in written
    assert f"Measured on the first 100 of {sum(len(row) - 1 for row in run.held):,} held-out tokens" in written
    assert "AdamW on all weights" in written
    assert "Note: AdamW moves all weights" in written


def test_a_table_keeps_its_columns() -> None:
    assert table(["a", "b"], [["x|y", 1]]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"


def test_the_pictures_are_pictures(trained: Trained) -> None:
    run, _ = trained
    raw = (run.folder / "loss.png").read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", raw[16:24])
    assert width > 1000
    assert height > 500
    at, data = 8, b""
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        if raw[at + 4 : at + 8] == b"IDAT":
            data += raw[at + 8 : at + 8 + size]
        at += 12 + size
    assert len(set(zlib.decompress(data))) > 50  # drawn on
    svg = (run.folder / "loss.svg").read_text()
    for words in ("cross-entropy, nats per token", "tokens learnt from", "held-out text", "training text, dropout on"):
        assert words in svg
    assert f"uniform guessing {run.uniform:.2f} nat" in svg
    assert f"best {run.lowest:.2f} nat, step {run.best.step}" in svg


def test_the_curves_stand_where_they_were_measured() -> None:
    history = [Progress(0, 9, 0, 0, None, Loss(8, 2, 5), True), Progress(3, 9, 300, 1, 3.5, Loss(6, 2, 5), True), Progress(6, 9, 600, 2, 2.5, Loss(7, 2, 5))]
    drawn = loss_chart(history, 4.2).to_dict()
    points = {(point["text"], point["tokens"], point["loss"]) for point in drawn["layer"][0]["data"]["values"]}
    train, valid = "training text, dropout on", "held-out text"
    assert points == {(valid, 0, 4), (valid, 300, 3), (valid, 600, 3.5), (train, 150, 3.5), (train, 450, 2.5)}
    labels = [value["label"] for layer in drawn["layer"][1:] for value in layer["data"]["values"]]
    assert set(labels) == {"uniform guessing 4.20 nat", "best 3.00 nat, step 3"}
    assert png_and_svg(loss_chart(history[:1], 4.2))[0].startswith(b"\x89PNG")


def test_transformers_loads_the_model(trained: Trained) -> None:
    run, _ = trained
    with safe_open(run.folder / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert json.loads((run.folder / "config.json").read_text())["dtype"] == "float16"
    assert AutoModelForCausalLM.from_pretrained(run.folder).dtype == torch.float16
    model, loading = AutoModelForCausalLM.from_pretrained(run.folder, dtype="float32", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(run.folder)
    prompt = tokenizer("the fox asked", return_tensors="pt")
    assert prompt["input_ids"][0].tolist() == run.tokenizer.encode("the fox asked").ids
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.model_max_length) == (0, 0, TINY.context)
    with torch.no_grad():
        assert torch.equal(model(**prompt).logits, run.network.eval()(prompt["input_ids"]).logits)
    out = model.generate(**prompt, do_sample=True, top_k=0, max_new_tokens=5)  # as the card shows it
    assert prompt["input_ids"].shape[1] < out.shape[1] <= prompt["input_ids"].shape[1] + 5


def test_ulam_loads_the_model(trained: Trained) -> None:
    run, _ = trained
    model = ulam.load(run.folder)
    ids = [0, *model.vocabulary.encode("the fox asked")]
    _, logits = model.prefill([ids])
    with torch.no_grad():
        want = run.network.eval()(torch.tensor([ids])).logits[0, -1].numpy()
    np.testing.assert_allclose(np.asarray(logits)[0], want, atol=1e-4)
    assert model.vocabulary.ends == (0,)
