"""A run that was stopped, or killed at any moment, goes on to the same bits as one that was not (CPU, one thread)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.train.conftest import TINY
from ulam.core.errors import TrainingDiverged, UsageError
from ulam.train import checkpoint, loop
from ulam.train import run as run_module
from ulam.train.corpus import Corpus
from ulam.train.loop import train
from ulam.train.run import Run, prepare

SHORT = replace(TINY, steps=6, every=3)


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "write_card", lambda run: None)


@pytest.fixture(params=[True, False], ids=["muon and bfloat16", "adamw and float32"])
def half(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(run_module, "has_bfloat16", lambda device: request.param)
    return request.param


def stop_after(run: Run, step: int) -> None:
    reports = train(run)
    for report in reports:
        if report.step == step:
            reports.close()


def left(folder: Path) -> dict[str, Any]:
    """What a run leaves behind, apart from times."""
    last = json.loads((folder / checkpoint.LOG).read_text().splitlines()[-1])["step"]
    log = [(report.step, report.tokens, report.train, report.valid, report.best) for report in checkpoint.load_log(folder, last)]
    return {"state": load_file(folder / checkpoint.STATE), "model": load_file(folder / checkpoint.WEIGHTS), "log": log}


def check_same(folder: Path, other: Path, *, extra: tuple[int, ...] = ()) -> None:
    one, two = left(folder), left(other)
    for part in ("state", "model"):
        assert one[part].keys() == two[part].keys()
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])
    assert one["log"] == [entry for entry in two["log"] if entry[0] not in extra]


def test_a_stopped_run_goes_on_to_the_same_bits(corpus: Corpus, tmp_path: Path, half: bool) -> None:
    assert list(train(prepare(corpus, tmp_path / "whole", TINY)))
    stop_after(prepare(corpus, tmp_path / "parts", TINY), 7)
    stop_after(prepare(corpus, tmp_path / "parts", TINY, resume=True), 8)
    run = prepare(corpus, tmp_path / "parts", TINY, resume=True)
    assert run.plan.muon == half
    assert (run.state.step, run.history[-1].step) == (8, 8)
    reports = list(train(run))
    assert [report.step for report in reports] == list(range(9, 21))
    check_same(tmp_path / "whole", tmp_path / "parts", extra=(7, 8))
    again = prepare(corpus, tmp_path / "parts", TINY, resume=True)
    assert list(train(again)) == []
    assert again.final == run.final


def test_a_resume_that_forgets_the_optimizer_is_rejected(corpus: Corpus, tmp_path: Path, half: bool) -> None:
    assert list(train(prepare(corpus, tmp_path / "whole", TINY)))
    stop_after(prepare(corpus, tmp_path / "parts", TINY), 7)
    run = prepare(corpus, tmp_path / "parts", TINY, resume=True)
    run.optimizers = run_module.optimizers(run.network, TINY, half)
    assert list(train(run))
    with pytest.raises(AssertionError):
        check_same(tmp_path / "whole", tmp_path / "parts", extra=(7,))


def test_a_stop_measures_where_it_stands(corpus: Corpus, tmp_path: Path) -> None:
    run = prepare(corpus, tmp_path / "model", TINY)
    stop_after(run, 3)
    assert [(report.step, report.best) for report in run.history] == [(0, True), (3, True)]
    assert run.final is None
    saved, network = load_file(tmp_path / "model" / checkpoint.WEIGHTS), run.network.model.state_dict()
    assert all(torch.equal(saved[f"model.{name}"], value.half()) for name, value in network.items())


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, torch.Tensor]]]:
    """The folder of a short run that nothing stopped, and the model that was saved at each step that was the best."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "write_card", lambda run: None)
        best = {report.step: load_file(folder / checkpoint.WEIGHTS) for report in train(prepare(corpus, folder, SHORT)) if report.best}
    assert {0, 3} <= set(best)
    return folder, best


@pytest.mark.parametrize("fatal", range(4, 10))
def test_a_run_killed_while_it_saves_goes_on_to_the_same_bits(corpus: Corpus, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int) -> None:
    """Replaced in turn: tokenizer, its configuration, the plan; then at steps 0 and 3 the log, the state, the weights.

    Wherever the resumed run is stopped, the model on disk is of the step that it calls the best.
    """
    folder, best = whole
    done: list[Path] = []

    def until_killed(new: Path, path: Path) -> None:
        if len(done) == fatal - 1:
            raise Killed(path)
        done.append(path)
        os.rename(new, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", until_killed)
        with pytest.raises(Killed):
            list(train(prepare(corpus, tmp_path / "killed", SHORT)))
    if fatal > 6:
        assert load_file(tmp_path / "killed" / checkpoint.WEIGHTS)  # whole
    run = prepare(corpus, tmp_path / "killed", SHORT, resume=True)
    for _ in train(run):
        saved = load_file(tmp_path / "killed" / checkpoint.WEIGHTS)
        assert all(torch.equal(saved[name], value) for name, value in best[run.best.step].items())
    check_same(folder, tmp_path / "killed")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_best(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepare(corpus, tmp_path / "model", TINY)
    reports = train(run)
    for report in reports:
        if report.step == 6:
            break
    right = loop.loss_of
    monkeypatch.setattr(loop, "loss_of", lambda *given: right(*given) * float("nan"))
    kept = load_file(tmp_path / "model" / checkpoint.WEIGHTS)
    with pytest.raises(TrainingDiverged, match=r"became nan at step 6; the best model, of step 5, is kept in .*model"):
        next(reports)
    after = load_file(tmp_path / "model" / checkpoint.WEIGHTS)
    assert all(torch.equal(kept[name], after[name]) for name in kept)
    assert checkpoint.load_log(tmp_path / "model", 5)[-1].step == 5


def test_a_resume_is_of_the_same_run(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(UsageError, match="holds no training run to resume"):
        prepare(corpus, folder, TINY, resume=True)
    stop_after(prepare(corpus, folder, TINY), 1)
    with pytest.raises(UsageError, match="has steps 20, not 30; seed 0, not 1\n"):
        prepare(corpus, folder, replace(TINY, steps=30, seed=1), resume=True)
    with pytest.raises(UsageError, match="has another text\n"):
        prepare(Corpus(corpus.valid, corpus.train), folder, TINY, resume=True)
    with pytest.raises(UsageError, match="already holds a training run") as caught:
        prepare(corpus, folder, TINY)
    assert "--resume" in (caught.value.fix or "")
    (folder / checkpoint.PLAN).write_text('{"vocabulary": 280}')
    with pytest.raises(UsageError, match="not written by this version"):
        prepare(corpus, folder, TINY, resume=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def lines(choose: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    return lambda path: path.write_text("".join(choose(path.read_text().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (checkpoint.LOG, cut),
        (checkpoint.LOG, Path.unlink),
        (checkpoint.LOG, lambda path: path.write_bytes(b"\xff\xfe")),
        (checkpoint.LOG, lambda path: path.write_text("[" * 100_000)),
        (checkpoint.LOG, lines(lambda all: [])),
        (checkpoint.LOG, lines(lambda all: all[1:])),
        (checkpoint.LOG, lines(lambda all: all[:-1])),
        (checkpoint.LOG, lines(lambda all: [line.replace("true", "false") for line in all])),
        (checkpoint.LOG, lines(lambda all: [*all, "7\n"])),
        (checkpoint.LOG, lines(lambda all: [*all, '{"step": 1, "valid": null}\n'])),
        (checkpoint.LOG, lines(lambda all: [line.replace('"tokens": ', '"tokens": 0, "was": ') for line in all])),
        (checkpoint.STATE, cut),
        (checkpoint.STATE, lambda path: path.write_bytes(b"")),
    ],
)
def test_a_damaged_run_is_not_resumed(corpus: Corpus, whole: Any, tmp_path: Path, file: str, damage: Callable[[Path], object]) -> None:
    shutil.copytree(whole[0], tmp_path / "model")
    assert prepare(corpus, tmp_path / "model", SHORT, resume=True).state.step == 6
    damage(tmp_path / "model" / file)
    with pytest.raises(UsageError, match="is damaged, so the run cannot be resumed") as caught:
        prepare(corpus, tmp_path / "model", SHORT, resume=True)
    assert f"model/{file}" in caught.value.what
