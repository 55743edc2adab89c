"""The loss of a known table against NumPy in float64, and of a real network against its own library's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ulam.train import loop
from ulam.train.batches import IGNORE, Batch, Row, padded
from ulam.train.corpus import Corpus
from ulam.train.loop import validate
from ulam.train.network import add_dropout, new_network
from ulam.train.run import beginning, rows_of, token_bytes
from ulam.train.settings import Loss, Settings
from ulam.train.tokenizer import fit_tokenizer

V, CONTEXT = 7, 10
SIZES = np.array([0, 1, 1, 2, 3, 5, 1])
CPU = torch.device("cpu")


class Bigrams(torch.nn.Module):
    """A model whose logits depend on the last token only, so that cutting a document changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (V, V)).astype(np.float32))

    def forward(self, ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[ids])


class Uniform(torch.nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.zeros(*ids.shape, self.size))


def documents() -> list[Row]:
    draw = np.random.default_rng(1)
    return [np.array([0, *draw.integers(1, V, length), 0]) for length in (1, 2, 9, 10, 11, 37, 64)]


def by_numpy(table: NDArray[np.float64], rows: Sequence[Row]) -> Loss:
    """Token by token, with no batches and no pieces."""
    law = np.exp(table) / np.exp(table).sum(1, keepdims=True)
    pairs = [(a, b) for row in rows for a, b in pairwise(row)]
    return Loss(-sum(np.log(law[a, b]) for a, b in pairs), len(pairs), sum(int(SIZES[b]) for _, b in pairs))


def check_validate() -> None:
    network, rows = Bigrams(), documents()
    got, want = validate(network, rows, SIZES, CONTEXT, CPU, half=False), by_numpy(network.table.double().numpy(), rows)
    assert (got.tokens, got.bytes) == (want.tokens, want.bytes)
    assert got.nats == pytest.approx(want.nats, rel=1e-6)  # float32 logits of a few hundred tokens


def test_the_loss_of_a_table() -> None:
    check_validate()


def not_shifted(group: Sequence[Row]) -> Batch:
    inputs, targets = padded(group)
    return inputs, np.where(targets == IGNORE, IGNORE, inputs)


def padding_counted(group: Sequence[Row]) -> Batch:
    inputs, targets = padded(group)
    return inputs, np.where(targets == IGNORE, 0, targets)


def no_ends(group: Sequence[Row]) -> Batch:
    inputs, targets = padded(group)
    return inputs, np.where(targets == 0, IGNORE, targets)


@pytest.mark.parametrize("wrong", [not_shifted, padding_counted, no_ends])
def test_wrong_targets_are_rejected(wrong: Callable[[Sequence[Row]], Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "padded", wrong)
    with pytest.raises(AssertionError):
        check_validate()


def test_a_mean_of_means_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.loss_of

    def mean_times_size(network: torch.nn.Module, batch: Batch, device: torch.device, half: bool, _reduction: str) -> torch.Tensor:
        return whole(network, batch, device, half, "mean") * batch[1].size

    monkeypatch.setattr(loop, "loss_of", mean_times_size)
    with pytest.raises(AssertionError):
        check_validate()


def test_bits_per_byte_counts_the_ends_and_the_bytes_of_the_documents(corpus: Corpus) -> None:
    """Uniform over V: every token costs ln V, the end too, and nothing stands between documents."""
    texts = [*corpus.valid, "naïve 日本語 🙂", "a"]
    tokenizer = fit_tokenizer(corpus.train, 280)
    rows, size = rows_of(texts, tokenizer), tokenizer.get_vocab_size()
    loss = validate(Uniform(size), rows, token_bytes(tokenizer), 16, CPU, half=False)
    tokens = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) + 1 for text in texts)
    assert loss.tokens == tokens
    assert loss.bytes == sum(len(text.encode()) for text in texts)
    assert loss.bits_per_byte == pytest.approx(tokens * np.log2(size) / loss.bytes, rel=1e-6)


def test_a_network_against_the_loss_of_its_library() -> None:
    """`transformers` computes the loss of a row by itself from `labels`; dropout must be off here as there."""
    network = new_network(Settings(vocabulary=257, context=24, hidden=32, heads=2, layers=2, inner=32), 257)
    add_dropout(network, 0.5, torch.Generator())
    rows = [np.array([0, *np.random.default_rng(n).integers(1, 257, n), 0]) for n in (1, 5, 20, 22)]
    network.train()
    got = validate(network, rows, np.ones(257, np.int64), 24, CPU, half=False)
    network.eval()
    with torch.no_grad():
        ids = [torch.from_numpy(row)[None] for row in rows]
        want = sum(network(input_ids=row, labels=row).loss.item() * (row.shape[1] - 1) for row in ids)
    assert got.nats == pytest.approx(want, rel=1e-5)


def test_dropout_is_on_in_training_and_a_seed_repeats_it() -> None:
    settings = Settings(vocabulary=257, context=24, hidden=32, heads=2, layers=1, inner=32)
    plain, network, generator = new_network(settings, 257), new_network(settings, 257), torch.Generator()
    add_dropout(network, 0.5, generator)
    ids = torch.arange(20)[None]

    def logits(model: torch.nn.Module, seed: int) -> torch.Tensor:
        generator.manual_seed(seed)
        return model(ids).logits.detach()

    assert torch.equal(logits(network.eval(), 1), logits(plain.eval(), 1))
    network.train()
    assert torch.equal(logits(network, 1), logits(network, 1))
    assert not torch.equal(logits(network, 1), logits(network, 2))
    assert not torch.equal(logits(network, 1), logits(plain, 1))


def test_the_beginning_of_a_text_is_its_first_targets() -> None:
    rows = [np.arange(4), np.arange(10, 15), np.arange(20, 22)]
    assert [row.tolist() for row in beginning(rows, 5)] == [[0, 1, 2, 3], [10, 11, 12]]
    assert [row.tolist() for row in beginning(rows, 3)] == [[0, 1, 2, 3]]
    assert [row.tolist() for row in beginning(rows, 99)] == [row.tolist() for row in rows]
