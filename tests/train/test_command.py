"""`ulam train`, in this process: what it says, what it leaves, its exit codes."""

from __future__ import annotations

import io
import re
import signal
import sys
from pathlib import Path

import pytest

from ulam.apps.cli.main import main
from ulam.train import loop
from ulam.train import run as run_module

SMALL = ["--layers=1", "--hidden=32", "--heads=2", "--inner=48", "--context=32", "--vocab=280", "--steps=4"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "write_card", lambda run: None)


def test_a_run_says_what_its_numbers_mean(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "tiny")
    assert main(["train", str(text), "-o", out, *SMALL]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == ("cross-entropy: the mean surprise -ln p of the next token, in nats; guessing uniformly among 280 tokens costs ln 280 = 5.63 nat")
    facts = r"[\d.]+k tokens to learn from · [\d.]+k? held out \(the end of the text\) · [\d.]+k weights · cpu, (bfloat16|float32) products"
    assert re.fullmatch(facts, lines[1])
    reports = [line for line in lines if line.startswith("step ")]
    assert [line.split(" ")[1] for line in reports] == ["0/4", "1/4", "2/4", "3/4", "4/4"]
    measured = r"valid (\d\.\d\d) nat = (\d\.\d\d) bits/token · perplexity ([\d.]+)"
    assert re.fullmatch(rf"step 0/4 · {measured}", reports[0])
    for line in reports[1:]:
        found = re.fullmatch(rf"step ./4 · train \d\.\d\d nat · {measured} · [\d.]+k? tok/s · (0:\d\d left|measuring)", line)
        assert found, line
        nats, bits, perplexity = map(float, found.groups()[:3])
        assert bits == pytest.approx(nats / 0.6931, abs=0.02)
        assert perplexity == pytest.approx(2.71828**nats, rel=0.02)
    best = r"best at step \d: valid \d\.\d\d nat · uniform guessing would be 5\.63 nat"
    folder = re.escape(out)
    assert re.fullmatch(rf'── {folder}: [\d.]+k weights, vocabulary 280 · {best} · ulam "Once" -m {folder}', lines[-1])


def test_quiet_is_quiet(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(text), "-o", str(tmp_path / "tiny"), "-q", *SMALL]) == 0
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_keeps_the_best_and_the_run_goes_on(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "tiny")
    whole = loop.take_step

    def interrupted(run: run_module.Run, batch: loop.Batch) -> tuple[float, int]:
        if run.state.step == 1:
            signal.raise_signal(signal.SIGINT)
        return whole(run, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", interrupted)
        assert main(["train", str(text), "-o", out, *SMALL]) == 4
    said = capsys.readouterr().err
    assert "stopping at step 2" in said
    again = f'ulam train "{text}" -o {out} --resume'
    assert f"stopped at step 2 of 4, to go on: {again} · best at step 2" in said
    assert (tmp_path / "tiny" / "model.safetensors").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main(["train", str(text), "-o", out, "--resume"]) == 0
    said = capsys.readouterr().err
    assert "resumed at step 2" in said
    assert "step 4/4" in said


def test_a_second_ctrl_c_leaves_at_once(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(run: run_module.Run, batch: loop.Batch) -> tuple[float, int]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    monkeypatch.setattr(loop, "take_step", interrupted)
    assert main(["train", str(text), "-o", str(tmp_path / "tiny"), *SMALL]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert (tmp_path / "tiny" / "model.safetensors").exists()


@pytest.mark.parametrize("columns", [80, 130])
def test_a_terminal_gets_a_bar(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["train", str(text), "-o", str(tmp_path / "tiny"), *SMALL]) == 0
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    last = [line for line in re.split(r"[\r\n]+", shown) if line.startswith("step 4/4")][-1]
    assert len(last) <= columns
    assert re.search(r"step 4/4 ━+ train \d\.\d\d nat · valid \d\.\d\d nat", last)
    assert ("bits/token · perplexity" in last) == (columns == 130)
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")  # the cursor is back


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--heads", "5"], 2, "--hidden 30"),
        (["--vocab", "100"], 2, "--vocab 257"),
        (["--device", "none"], 2, "--device cpu"),
        (["--resume"], 2, "holds no training run"),
        (["--threads", "0"], 2, "threads"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_flags(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, says: str
) -> None:
    assert main(["train", str(text), "-o", str(tmp_path / "tiny"), *SMALL, *flags]) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_a_missing_package_names_the_extra(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["train", str(text), "-o", str(tmp_path / "tiny")]) == 5
    said = capsys.readouterr().err
    assert 'pip install "ulam[transformers]"' in said
    assert "no torch" in said
