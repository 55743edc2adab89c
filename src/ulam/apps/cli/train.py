"""`ulam train TEXT... -o DIR`: a small model from your own text, by cross-entropy."""

from __future__ import annotations

import math
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import ModelError, UsageError
from ...render.receipt import number, receipt
from ...render.terminal import is_terminal, width
from .flags import QuietFlag
from .talk import say
from .words import quote

if TYPE_CHECKING:
    from ...train.run import Run
    from ...train.settings import Progress, Settings

EXTRA = {"torch", "transformers", "altair", "vl_convert"}
STOPPED = 4  # the exit code of a run that can be resumed
WIDE = 110  # columns from which on the bar says all it knows


def train(
    text: Annotated[list[Path], typer.Argument(metavar="TEXT...")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="a new folder for the model")],
    valid: Annotated[list[Path] | None, typer.Option("--valid", metavar="FILE", help="held-out text; may be repeated (the last twentieth of TEXT)")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="steps of about 4096 tokens (1000)")] = None,
    vocab: Annotated[int | None, typer.Option("--vocab", metavar="N", help="tokens of the vocabulary (1024)")] = None,
    context: Annotated[int | None, typer.Option("--context", metavar="N", help="the most tokens the model sees at once (256)")] = None,
    layers: Annotated[int | None, typer.Option("--layers", metavar="N", help="layers of the network (4)")] = None,
    hidden: Annotated[int | None, typer.Option("--hidden", metavar="N", help="numbers that stand for a token inside (192)")] = None,
    heads: Annotated[int | None, typer.Option("--heads", metavar="N", help="attention heads (3)")] = None,
    kv_heads: Annotated[int | None, typer.Option("--kv-heads", metavar="N", help="heads that keys and values have (1)")] = None,
    inner: Annotated[int | None, typer.Option("--inner", metavar="N", help="width of the feed-forward part (512)")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="of the first weights, the order of the text, the dropout (0)")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in DIR, with its settings")] = False,
    threads: Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="CPU threads (torch's choice)")] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="as in torch (a CUDA GPU if there is one, else cpu)")] = "",
    quiet: QuietFlag = False,
) -> int:
    """A tokenizer and a small Llama from your own text. Ctrl-C keeps the best model so far.

      ulam train stories.txt -o tiny                 minutes on a laptop; then: ulam "Once" -m tiny
      ulam train stories.txt -o tiny --resume        go on after a stop
      ulam train a.txt b.txt --valid c.txt -o tiny   measured on a text of its own

    TEXT is UTF-8; a line <|endoftext|> stands between documents. DIR gets the weights (safetensors,
    also for transformers), the tokenizer, a model card, and a picture of the loss.
    """
    given = {"vocabulary": vocab, "context": context, "layers": layers, "hidden": hidden, "heads": heads}
    given |= {"kv_heads": kv_heads, "inner": inner, "steps": steps, "seed": seed}
    with the_extra(), fixes_as_flags(), waiting(quiet):
        import torch

        from ...train.corpus import read_corpus
        from ...train.loop import train as reports_of
        from ...train.run import prepare

        if threads:
            torch.set_num_threads(threads)
        corpus = read_corpus(text, valid or [])
        run = prepare(corpus, out, settings(out, given, resume), resume=resume, device=device)
    if not quiet:
        say("\n".join(opening(run)))
    reports = reports_of(run)
    with interruption() as stop, shown(run, quiet) as show:
        for report in reports:
            show(report)
            if stop and report.step < report.steps:
                if not quiet:
                    say(f"stopping at step {report.step}: the model is measured and saved; Ctrl-C again leaves at once")
                reports.close()
    if not quiet:
        again = " ".join(["ulam train", *(quote(str(path)) for path in text), *(f"--valid {quote(str(path))}" for path in valid or [])])
        again += f" -o {quote(str(out))} --resume"
        say(receipt(closing(run, again), width(sys.stderr) if is_terminal(sys.stderr) else None))
    return 0 if run.final else STOPPED


def settings(folder: Path, given: dict[str, Any], resume: bool) -> Settings:
    """The settings of a run: the defaults, or those of the run that is resumed, with what was given on the command line."""
    from ...train.checkpoint import load_plan
    from ...train.settings import Settings

    named = {name: value for name, value in given.items() if value is not None}
    if resume:
        return replace(load_plan(folder).settings, **named)
    steps = named.get("steps", Settings.steps)
    return Settings(every=min(Settings.every, max(1, steps // 10)), **named)


@contextmanager
def the_extra() -> Iterator[None]:
    """A package that is missing is named with the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as fault:
        if fault.name not in EXTRA:
            raise
        raise ModelError(f'training needs the extra "transformers", which is not installed (no {fault.name})', fix='pip install "ulam[transformers]"') from None


@contextmanager
def fixes_as_flags() -> Iterator[None]:
    """The library's `kv_heads=1` is `--kv-heads 1` here."""
    try:
        yield
    except UsageError as fault:
        if fault.fix and fault.parameter:
            named = re.sub(r"(\w+)=(\S+)", lambda found: f"--{found[1].replace('_', '-')} {found[2]}", fault.fix)
            fault.fix = named.replace("--vocabulary", "--vocab")
        raise


def waiting(quiet: bool) -> Any:
    """A sign of life on a terminal while packages are loaded and the tokenizer is fitted."""
    if quiet or not is_terminal(sys.stderr):
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("reading the text, fitting the tokenizer")


@contextmanager
def interruption() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C or SIGTERM; the second Ctrl-C works as ever."""
    asked: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():  # signals are handled in the main thread only
        yield asked
        return

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, ask)
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def shown(run: Run, quiet: bool) -> Iterator[Callable[[Progress], object]]:
    """What is done with each report: a bar on a terminal, elsewhere a line for every validation, or nothing."""
    line = Line(run)
    if quiet:
        yield lambda report: None
    elif not is_terminal(sys.stderr):
        yield lambda report: say(f"step {report.step}/{report.steps} · {line(report)}") if report.valid else line(report)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("step {task.completed}/{task.total}"), BarColumn(bar_width=None), TextColumn("{task.fields[line]}", markup=False))
        with Bar(*columns, console=console, expand=True, transient=True) as bar:
            task = bar.add_task("", total=run.settings.steps, completed=run.state.step, line="")
            yield lambda report: bar.update(task, completed=report.step, line=line(report, console.width >= WIDE))


class Line:
    """A report in words: the latest losses, the speed since the start or the resume, and the time left."""

    def __init__(self, run: Run):
        self.step, self.tokens, self.seconds = run.state.step, run.state.tokens, run.state.seconds
        self.valid = run.history[-1].valid if run.history else None

    def __call__(self, report: Progress, all_of_it: bool = True) -> str:
        self.valid = report.valid or self.valid
        parts = [f"train {report.train:.2f} nat"] if report.train is not None else []
        if self.valid:
            parts += [f"valid {self.valid.per_token:.2f} nat" + (f" = {self.valid.bits_per_token:.2f} bits/token" if all_of_it else "")]
            parts += [f"perplexity {number(self.valid.perplexity)}"] if all_of_it else []
        steps, seconds = report.step - self.step, report.seconds - self.seconds
        if steps and seconds:
            parts.append(f"{short((report.tokens - self.tokens) / seconds)} tok/s")
            parts.append(f"{clock((report.steps - report.step) * seconds / steps)} left" if report.step < report.steps else "measuring")
        return " · ".join(parts)


def opening(run: Run) -> list[str]:
    """What the numbers mean, and what is trained on what."""
    learnt, held, watched = (sum(len(row) - 1 for row in rows) for rows in (run.rows, run.held, run.watched))
    source = "own text" if run.corpus.valid_sources else "the end of the text"
    source += f"; on the way the first {short(watched)} are measured" if watched < held else ""
    facts = [f"{short(learnt)} tokens to learn from", f"{short(held)} held out ({source})", f"{short(run.weights)} weights"]
    facts.append(f"{run.device.type}, {'bfloat16' if run.half else 'float32'} products")
    resumed = [f"resumed at step {run.state.step}, best so far {run.lowest:.2f} nat (step {run.best.step})"] if run.history else []
    uniform = f"guessing uniformly among {run.vocabulary} tokens costs ln {run.vocabulary} = {run.uniform:.2f} nat"
    meaning = f"cross-entropy: the mean surprise -ln p of the next token, in nats; {uniform}"
    return [meaning, " · ".join(facts), *(f"note: {note}" for note in run.notes), *resumed]


def closing(run: Run, again: str) -> list[str]:
    """The receipt, in parts."""
    loss = run.final.per_token if run.final else run.lowest
    what = [f"{run.folder}: {short(run.weights)} weights, vocabulary {run.vocabulary}"]
    if not run.final:
        what.append(f"stopped at step {run.state.step} of {run.settings.steps}, to go on: {again}")
    what.append(f"best at step {run.best.step}: valid {loss:.2f} nat")
    return [*what, f"uniform guessing would be {run.uniform:.2f} nat", f'ulam "Once" -m {quote(str(run.folder))}']


def short(x: float) -> str:
    """Three digits and a unit: `512`, `38.2k`, `1.97M`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{number(x / size)}{unit}"
    return number(x)


def clock(seconds: float) -> str:
    """`0:52`, `1:02:09`."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
