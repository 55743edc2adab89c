"""A training run, made ready: every check is done here, so that nothing a person typed can fail an hour later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from ..core.errors import UsageError
from .batches import Row
from .checkpoint import Plan, State, load_log, load_plan, load_state, load_tokenizer
from .corpus import Corpus
from .network import add_dropout, has_bfloat16, new_network, optimizers
from .settings import Loss, Progress, Settings
from .tokenizer import fit_tokenizer

WATCHED = 20_000  # tokens of the held-out text that are looked at while training; all of it at the end


@dataclass
class Run:
    """All that a run needs and has reached.

    plan     what must be the same for a resume: settings, text, optimizer
    rows     the training documents as token ids, start and end included
    held     the same of the held-out documents; `watched` is its beginning
    sizes    bytes of every token, [V]
    half     whether products are bfloat16 while training
    history  every report that has a `valid`, in order
    final    the loss of the saved model on all held-out text, in float32; None until the run is complete
    """

    folder: Path
    plan: Plan
    corpus: Corpus
    tokenizer: Tokenizer
    network: LlamaForCausalLM
    optimizers: list[torch.optim.Optimizer]
    dropout: torch.Generator
    device: torch.device
    half: bool
    rows: list[Row]
    held: list[Row]
    sizes: NDArray[np.int64]
    state: State = field(default_factory=State)
    history: list[Progress] = field(default_factory=list)
    final: Loss | None = None

    @property
    def settings(self) -> Settings:
        return self.plan.settings

    @property
    def watched(self) -> list[Row]:
        return beginning(self.held, WATCHED)

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.get_vocab_size()

    @property
    def uniform(self) -> float:
        """The loss of guessing every token with the same probability: ln V, nats a token."""
        return math.log(self.vocabulary)

    @property
    def weights(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    @property
    def lowest(self) -> float:
        """The lowest loss on the watched text so far, nats a token."""
        return min((report.valid.per_token for report in self.history if report.valid), default=math.inf)

    @property
    def best(self) -> Progress:
        """The report of the saved model: the earliest with the lowest loss on the watched text."""
        return next(report for report in reversed(self.history) if report.best)

    @property
    def notes(self) -> list[str]:
        """What differs from what was asked for or expected, a sentence each."""
        notes: list[str] = []
        if self.vocabulary < self.settings.vocabulary:
            why = "the text has no further pair of tokens that occurs twice"
            notes.append(f"the vocabulary has {self.vocabulary} tokens, not {self.settings.vocabulary}: {why}")
        if not self.plan.muon:
            notes.append("AdamW moves all weights: this device has no bfloat16 arithmetic, without which Muon, the better one for matrices, is slow")
        elif not self.half:
            notes.append("Muon is slow here: the run began with it, and this device has no bfloat16 arithmetic")
        return notes


def prepare(corpus: Corpus, folder: Path, settings: Settings, *, resume: bool = False, device: str = "") -> Run:
    """Check everything, fit or load the tokenizer, make the network; writes nothing.

    device   as in torch; empty takes a CUDA GPU if there is one, else the CPU
    resume   go on with the run in `folder`, which must have the same settings and text

    Raises `UsageError` for a folder that is in use, a run that is not there or is another one, and a device that is not there.
    """
    place = device_of(device)
    if resume:
        plan = load_plan(folder)
        check_same(folder, plan, settings, corpus)
        tokenizer = load_tokenizer(folder)
    else:
        check_unused(folder)
        plan = Plan(settings, corpus.sha256, has_bfloat16(place))
        tokenizer = fit_tokenizer(corpus.train, settings.vocabulary)
    network = new_network(settings, tokenizer.get_vocab_size())
    network.to(place)  # type: ignore[arg-type]
    dropout = torch.Generator(place)
    add_dropout(network, settings.dropout, dropout)
    optimise = optimizers(network, settings, plan.muon)
    rows, held = rows_of(corpus.train, tokenizer), rows_of(corpus.valid, tokenizer)
    run = Run(folder, plan, corpus, tokenizer, network, optimise, dropout, place, has_bfloat16(place), rows, held, token_bytes(tokenizer))
    if resume:
        run.state = load_state(folder, network, optimise)
        run.history = load_log(folder, run.state.step)
    return run


def rows_of(documents: Sequence[str], tokenizer: Tokenizer) -> list[Row]:
    """`[start] + tokens + [end]` of every document."""
    return [np.asarray([*encoding.ids, 0], np.int64) for encoding in tokenizer.encode_batch(list(documents))]


def token_bytes(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Bytes of every token, [V]: byte-level BPE writes one character for each byte; the end token has none."""
    return np.asarray([0, *(len(tokenizer.id_to_token(i) or "") for i in range(1, tokenizer.get_vocab_size()))], np.int64)


def beginning(rows: Sequence[Row], tokens: int) -> list[Row]:
    """The rows as far as their first `tokens` targets."""
    out: list[Row] = []
    for row in rows:
        if tokens <= 0:
            break
        out.append(row[: tokens + 1])
        tokens -= len(row) - 1
    return out


def device_of(name: str) -> torch.device:
    try:
        place = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"there is no device {name!r} here", fix="device=cpu", parameter="device") from None
    return place


def check_unused(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if (folder / "run").is_dir():
        raise UsageError(f"{folder} already holds a training run", fix="add --resume to go on with it, or name another folder")
    if folder.exists():
        kind = "a model" if (folder / "config.json").exists() else "other files" if folder.is_dir() else "a file"
        raise UsageError(f"{folder} {'is' if kind == 'a file' else 'already holds'} {kind}", fix="name a folder that is new or empty")


def check_same(folder: Path, plan: Plan, settings: Settings, corpus: Corpus) -> None:
    """A resumed run is the same run: with another text or other numbers its loss would mean nothing."""
    old, new = asdict(plan.settings), asdict(settings)
    changed = [f"{name} {old[name]}, not {new[name]}" for name in old if old[name] != new[name]]
    changed += ["another text"] if plan.text != corpus.sha256 else []
    if changed:
        raise UsageError(f"the run in {folder} has {'; '.join(changed)}", fix="resume with the text and the settings it has, or train into another folder")
