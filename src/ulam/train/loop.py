"""Training by cross-entropy: make the model give each next token of the text more probability.

The loss of a token is `-ln p(token | text so far)`, its surprise in nats. Its mean over the text is the
cross-entropy, H(data) + KL(data || model): the first term is what the text itself does not determine, the
second is what the model has still to learn. `train` is a generator; whoever consumes it shows the progress
and may stop it at any step, and the best model so far is on disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import TrainingDiverged
from .batches import IGNORE, Batch, Row, epoch, grouped, padded, pieces
from .card import write_card
from .checkpoint import load_weights, save_log, save_start, save_state, save_weights
from .network import rate_factor, step_seed
from .run import Run
from .settings import Loss, Progress


def train(run: Run) -> Generator[Progress, None, None]:
    """Train a prepared run; a `Progress` before the first step and after each one.

    In `run.folder`: the model with the lowest loss on the watched text, in the format of `transformers`, and in `run/` what
    a resume needs. At the end that model is measured on all held-out text (`run.final`), and its card and the
    picture of the loss are written. Closing the generator measures and saves the step it has reached, and writes both too.

    Raises `TrainingDiverged` when the loss is no number any more.
    """
    state, settings = run.state, run.settings
    last = time.monotonic()
    try:
        if not run.history:
            save_start(run.folder, run.network, run.tokenizer, run.plan)
            yield measure(run)
        elif run.best.step == state.step:
            save_weights(run.folder, run.network)  # a kill may have come between the state and them
        for batch in islice(batches(run), settings.steps - state.step):
            nats, tokens = take_step(run, batch)
            now = time.monotonic()
            state.step, state.batch = state.step + 1, state.batch + 1
            state.tokens, state.seconds, last = state.tokens + tokens, state.seconds + now - last, now
            state.nats, state.counted = state.nats + nats, state.counted + tokens
            due = state.step % settings.every == 0 or state.step == settings.steps
            yield measure(run) if due else Progress(state.step, settings.steps, state.tokens, state.seconds, nats / tokens)
    except GeneratorExit:
        if run.history[-1].step < state.step:
            measure(run, scheduled=False)
        write_card(run)
        raise
    load_weights(run.folder, run.network)
    run.final = validate(run.network, run.held, run.sizes, settings.context, run.device, half=False)
    write_card(run)


def batches(run: Run) -> Iterator[Batch]:
    """Batches from where the run stands, without end; a function of the seed and the epoch."""
    state, settings = run.state, run.settings
    while True:
        whole = epoch(run.rows, settings.context, settings.batch, np.random.default_rng([settings.seed, state.epoch]))
        yield from islice(whole, state.batch, None)
        state.epoch, state.batch = state.epoch + 1, 0


def take_step(run: Run, batch: Batch) -> tuple[float, int]:
    """One step of gradient descent; the total loss of the batch in nats, and its tokens."""
    step = run.state.step
    run.network.train()
    run.dropout.manual_seed(step_seed(run.settings.seed, step))
    loss = loss_of(run.network, batch, run.device, run.half, "mean")
    value, tokens = loss.item(), int((batch[1] != IGNORE).sum())
    if not math.isfinite(value):
        raise diverged(run, value)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    factor = rate_factor(step, run.settings)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step()
        optimizer.zero_grad()
    return value * tokens, tokens


def loss_of(network: torch.nn.Module, batch: Batch, device: torch.device, half: bool, reduction: str) -> torch.Tensor:
    """Cross-entropy of the next token, in nats: the mean or the sum over the targets."""
    inputs, targets = (torch.from_numpy(part).to(device) for part in batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = network(inputs).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction=reduction)


@torch.no_grad()
def validate(network: torch.nn.Module, rows: Sequence[Row], sizes: NDArray[np.int64], context: int, device: torch.device, half: bool) -> Loss:
    """The loss on whole documents, dropout off; one longer than the context is read in pieces, each from nothing.

    rows   token ids, start and end included
    sizes  bytes of every token, [V]
    """
    network.eval()
    nats = 0.0
    for group in grouped(sorted(pieces(rows, context), key=len), 16 * context):
        nats += loss_of(network, padded(group), device, half, "sum").item()
    return Loss(nats, sum(len(row) - 1 for row in rows), int(sum(sizes[row[1:]].sum() for row in rows)))


def measure(run: Run, scheduled: bool = True) -> Progress:
    """Validate, keep the model if it is the best so far, save the state.

    A measurement outside the schedule leaves the sums alone, so that a resumed run reports what an uninterrupted one does.
    """
    state = run.state
    valid = validate(run.network, run.watched, run.sizes, run.settings.context, run.device, run.half)
    if not math.isfinite(valid.nats):
        raise diverged(run, valid.nats)
    best = valid.per_token < run.lowest
    mean = state.nats / state.counted if state.counted else None
    report = Progress(state.step, run.settings.steps, state.tokens, state.seconds, mean, valid, best)
    if scheduled:
        state.nats, state.counted = 0.0, 0
    run.history.append(report)
    save_log(run.folder, run.history)
    save_state(run.folder, run.network, run.optimizers, state)
    if best:
        save_weights(run.folder, run.network)
    return report


def diverged(run: Run, value: float) -> TrainingDiverged:
    kept = f"; the best model, of step {run.best.step}, is kept in {run.folder}" if run.history else ""
    mend = "train into another folder with another seed, or from Python with a smaller Settings.rate"
    return TrainingDiverged(f"the loss became {value} at step {run.state.step}{kept}", fix=mend)
