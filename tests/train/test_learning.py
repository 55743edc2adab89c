"""What is learnt: a text without structure is learnt down to its entropy and no further; a text with structure, beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tests.false_alarms import Statistical
from tests.train.conftest import TINY
from ulam.testing import Tally
from ulam.testing.statistics import Part
from ulam.train import batches, loop
from ulam.train.batches import IGNORE, Batch, Row, padded
from ulam.train.corpus import Corpus
from ulam.train.loop import train
from ulam.train.run import Run, prepare
from ulam.train.settings import Progress, Settings

HELD, TOO_FAR = 4000, 0.03
LAW = {"a": 1 / 2, "b": 1 / 4, "c": 1 / 4}
LETTERS = Settings(vocabulary=257, context=32, layers=1, hidden=32, heads=2, inner=32, steps=80, batch=512, warm_up=5, every=40, dropout=0.0)


def letters(count: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LAW), count, p=list(LAW.values())))


def learn(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings = LETTERS) -> tuple[Tally, float]:
    """Train on letters that are independent; the loss on others is compared with what the true law loses on the same ones.

    Below   is told by the tally. For any model that has not seen the held-out text, q(text)/p(text) has mean at most 1 under p. So by
            Markov a total that is x nats below that of p has probability at most exp(-x), for each model looked at.
            The end token is left out of p, which makes p's total smaller, and the bound only harder to pass.
    Above   is returned, in nats a letter. Seen: 0.015 nats a token after 80 steps, of which 0.003 are the end token. 0.03 is half of
            what a model loses that knows the letters but not their frequencies: ln 3 - 1.5 ln 2 = 0.059.
    """
    monkeypatch.setattr(loop, "write_card", lambda run: None)
    held = letters(HELD, seed=6)
    run = prepare(Corpus([letters(20_000, seed=5)], [held]), folder, settings)
    losses = [report.valid.nats for report in train(run) if report.valid]
    assert run.final is not None
    assert run.final.tokens == HELD + 1
    losses.append(run.final.nats)
    true = -sum(math.log(LAW[letter]) for letter in held)
    below = true - min(losses)
    part = Part("held-out text", below, min(1.0, len(losses) * math.exp(-max(below, 0.0))), f"{below:.1f} nats below the true law")
    return Tally(HELD, len(losses), 1e-9, (part,)), (run.final.nats - true) / HELD


def test_independent_letters_are_learnt_down_to_their_entropy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statistical: Statistical) -> None:
    """Seen: a model that has the law and was told one letter in twenty, each worth ln 2 or more, in a text that must not give 22.1 nats."""
    tally, above = learn(tmp_path / "model", monkeypatch)
    assert above < TOO_FAR
    told = math.floor(math.log(tally.cells / tally.alpha) / math.log(2))
    statistical.tally("train.letters", tally, float(stats.binom.cdf(told, HELD, 1 / 20)))


def test_a_model_that_sees_its_target_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_shifted(group: Sequence[Row]) -> Batch:
        inputs, targets = padded(group)
        return inputs, np.where(targets == IGNORE, IGNORE, inputs)

    monkeypatch.setattr(batches, "padded", not_shifted)
    monkeypatch.setattr(loop, "padded", not_shifted)
    tally, _ = learn(tmp_path / "model", monkeypatch)
    assert not tally.ok


def test_a_model_that_is_not_trained_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "rate_factor", lambda step, settings: 0.0)
    tally, above = learn(tmp_path / "model", monkeypatch, replace(LETTERS, steps=5))
    assert tally.ok
    assert above > TOO_FAR


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
