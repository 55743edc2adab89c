"""What is learnt: a text without structure is learnt down to its entropy and no further; a text with structure, beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.conftest import TINY
from ulam.train import batches, loop
from ulam.train.batches import IGNORE, Batch, Row, padded
from ulam.train.corpus import Corpus
from ulam.train.loop import train
from ulam.train.run import Run, prepare
from ulam.train.settings import Progress, Settings

LAW = {"a": 1 / 2, "b": 1 / 4, "c": 1 / 4}
LETTERS = Settings(vocabulary=257, context=32, layers=1, hidden=32, heads=2, inner=32, steps=80, batch=512, warm_up=5, every=40, dropout=0.0)


def letters(count: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LAW), count, p=list(LAW.values())))


def check_entropy(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings = LETTERS) -> None:
    """Train on letters that are independent; the loss on others is compared with what the true law loses on the same ones.

    Below   for any model that has not seen the held-out text, q(text)/p(text) has mean at most 1 under p. So by Markov a
            total that is ln(1e9) nats below that of p has probability at most 1e-9, for each of the 3 models looked at.
            The end token is left out of p, which makes p's total smaller, and the bound only harder to pass.
    Above   seen: 0.015 nats a token after 80 steps, of which 0.003 are the end token. 0.03 is half of what a model
            loses that knows the letters but not their frequencies: ln 3 - 1.5 ln 2 = 0.059.
    """
    monkeypatch.setattr(loop, "write_card", lambda run: None)
    held = letters(4000, seed=6)
    run = prepare(Corpus([letters(20_000, seed=5)], [held]), folder, settings)
    losses = [report.valid for report in train(run) if report.valid]
    assert run.final is not None
    assert run.final.tokens == 4001
    true = -sum(math.log(LAW[letter]) for letter in held)
    for loss in (*losses, run.final):
        assert loss.nats > true - math.log(1e9)
    assert run.final.nats / 4000 < true / 4000 + 0.03


def test_independent_letters_are_learnt_down_to_their_entropy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_entropy(tmp_path / "model", monkeypatch)


def test_a_model_that_sees_its_target_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_shifted(group: Sequence[Row]) -> Batch:
        inputs, targets = padded(group)
        return inputs, np.where(targets == IGNORE, IGNORE, inputs)

    monkeypatch.setattr(batches, "padded", not_shifted)
    monkeypatch.setattr(loop, "padded", not_shifted)
    with pytest.raises(AssertionError):
        check_entropy(tmp_path / "model", monkeypatch, replace(LETTERS, steps=30, every=30))


def test_a_model_that_is_not_trained_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "rate_factor", lambda step, settings: 0.0)
    with pytest.raises(AssertionError):
        check_entropy(tmp_path / "model", monkeypatch, replace(LETTERS, steps=5))


def test_a_run_begins_at_uniform_guessing_and_goes_below(trained: tuple[Run, list[Progress]]) -> None:
    run, reports = trained
    assert [report.step for report in reports] == list(range(21))
    measured = [report for report in reports if report.valid]
    assert [report.step for report in measured] == [0, 5, 10, 15, 20]
    assert [report.valid for report in measured] == [report.valid for report in run.history]
    first = measured[0].valid
    assert first is not None
    assert abs(first.per_token - run.uniform) < 0.1  # small first weights: nearly even logits
    assert reports[0].train is None
    assert run.uniform == math.log(run.vocabulary)
    assert run.final is not None
    assert run.final.per_token < run.uniform - 1


def test_the_best_is_kept_and_the_final_loss_is_of_the_saved_file(trained: tuple[Run, list[Progress]]) -> None:
    run, _ = trained
    losses = [report.valid.per_token for report in run.history if report.valid]
    assert run.lowest == min(losses)
    assert run.best.valid is not None
    assert run.best.valid.per_token == min(losses)
    assert [report.best for report in run.history] == [loss < min(losses[:i], default=math.inf) for i, loss in enumerate(losses)]
    assert run.final is not None
    assert run.final.tokens == sum(len(row) - 1 for row in run.held)
    assert run.final.per_token == pytest.approx(run.lowest, abs=0.02)  # the same tokens; float16 weights, other arithmetic


def test_training_leaves_the_process_as_it_was(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "write_card", lambda run: None)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads(), torch.get_default_dtype()
    reports = train(prepare(corpus, tmp_path / "model", TINY))
    for report in reports:
        if report.step == 2:
            reports.close()
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads(), torch.get_default_dtype()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
