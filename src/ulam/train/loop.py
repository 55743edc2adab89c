"""Training by cross-entropy: make the model give each next token of the text more probability.

The loss of a token is `-ln p(token | text so far)`, its surprise in nats. Its mean over the text is the
cross-entropy, H(data) + KL(data || model): the first term is what the text itself does not determine, the
second is what the model has still to learn. `train` is a generator; whoever consumes it shows the progress
and may stop it at any step, and the best model so far is on disk.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer

from .batches import IGNORE, Batch, epoch, padded, pieces
from .checkpoint import RUN, load_run, save_model, save_run, save_settings
from .network import add_dropout, has_bfloat16, new_network, optimizers, rate_factor
from .settings import Progress, Settings
from .tokenizer import fit_tokenizer

VALIDATED = 250_000  # tokens of the held-out text that are looked at while training; all of it at the end


def rows_of(documents: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    return [np.asarray([*encoding.ids, 0], np.int64) for encoding in tokenizer.encode_batch(list(documents))]


def loss_of(network: torch.nn.Module, batch: Batch, device: torch.device, half: bool, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy of the next token, in nats."""
    inputs, targets = (torch.from_numpy(part).to(device) for part in batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = network(inputs).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction=reduction)


@torch.no_grad()
def validate(network: torch.nn.Module, rows: Sequence[np.ndarray], context: int, device: torch.device, half: bool) -> tuple[float, int]:
    """Total loss in nats and the number of tokens, every document from its start, long ones in pieces."""
    network.eval()
    cut = sorted(pieces(rows, context, np.random.default_rng(0)), key=len)
    total = count = 0.0
    for at in range(0, len(cut), 16):
        group = cut[at : at + 16]
        total += loss_of(network, padded(group), device, half, "sum").item()
        count += sum(len(row) - 1 for row in group)
    network.train()
    return total, int(count)


def train(documents: Sequence[str], valid: Sequence[str], folder: Path, settings: Settings, resume: bool = False, device: str = "") -> Iterator[Progress]:
    """Train a tokenizer and a small Llama on `documents`; yields a `Progress` a step, saves into `folder`.

    The model with the lowest validation loss is kept in `folder`, in the format of `transformers`; `folder/run`
    holds what a resume needs. Raises `TrainingTextError`.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    half = has_bfloat16(place)
    save_settings(folder, settings)
    file = folder / RUN / "tokenizer.json"
    if resume:
        tokenizer = Tokenizer.from_file(str(file))
    else:
        tokenizer = fit_tokenizer(documents, settings.vocabulary)
        tokenizer.save(str(file))
    rows, held = rows_of(documents, tokenizer), rows_of(valid, tokenizer)
    sizes = np.cumsum([len(row) for row in held])
    watched = held[: int(np.searchsorted(sizes, VALIDATED)) + 1]
    bits = sum(map(len, held)) - len(held), sum(len(text.encode()) for text in valid)  # tokens (ends included), bytes
    network = new_network(settings, tokenizer.get_vocab_size()).to(place)
    add_dropout(network, settings.dropout)
    optimise = optimizers(network, settings, muon=half)
    peaks = [[group["lr"] for group in each.param_groups] for each in optimise]
    state = {"step": 0, "epoch": 0, "batch": 0, "tokens": 0, "seconds": 0.0, "best": math.inf}
    if resume:
        state = load_run(folder, network, optimise)
    began = time.monotonic() - state["seconds"]
    network.train()
    recent: list[float] = []
    while state["step"] < settings.steps:
        batches = epoch(rows, settings.context, settings.batch, np.random.default_rng([settings.seed, state["epoch"]]))
        for number, batch in enumerate(batches):
            if number < state["batch"]:
                continue
            torch.manual_seed(hash((settings.seed, state["step"])) % 2**63)  # dropout repeats after a resume
            factor = rate_factor(state["step"], settings)
            for each, tops in zip(optimise, peaks, strict=True):
                for group, top in zip(each.param_groups, tops, strict=True):
                    group["lr"] = top * factor
            loss = loss_of(network, batch, place, half)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for each in optimise:
                each.step()
                each.zero_grad()
            recent.append(loss.item())
            state["step"] += 1
            state["batch"] = number + 1
            state["tokens"] += int((batch[1] != IGNORE).sum())
            state["seconds"] = time.monotonic() - began
            last = state["step"] == settings.steps
            if state["step"] % settings.every and not last:
                yield Progress(state["step"], settings.steps, state["tokens"], state["seconds"], recent[-1])
                continue
            total, count = validate(network, held if last else watched, settings.context, place, half and not last)
            better = total / count < state["best"]
            if better:
                state["best"] = total / count
                save_model(folder, network, tokenizer, settings)
            report = Progress(state["step"], settings.steps, state["tokens"], state["seconds"], float(np.mean(recent)), total / count, total / count * bits[0] / bits[1] / math.log(2), better)
            with (folder / RUN / "log.jsonl").open("a") as log:
                log.write(json.dumps(asdict(report)) + "\n")
            save_run(folder, network, optimise, state)
            recent = []
            yield report
            if last:
                return
        state["epoch"], state["batch"] = state["epoch"] + 1, 0
