"""What a run says at its end, on standard error."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...core.errors import UlamError
from ...core.values import print_value
from ...decode import Run, Sample, Samples
from ...decode.engine import Shown
from ...methods import find
from ...recipe import Recipe
from ...render.receipt import counted, number, receipt
from ...render.terminal import is_terminal, width
from .recipes import Given

MOST = 2  # errors that are told one by one


def complaints(run: Run, spelled: Callable[[str], str] = str) -> list[str]:
    """The errors of single samples: a line each of the first, how many more there are, and what mends the first, as it is spelled here."""
    failed = [(sample.index, sample.error) for sample in run.samples if sample.error]
    first = [f"error: sample {index + 1} of {run.n}: {told(error)}" for index, error in failed[:MOST]]
    more = [f"error: and {counted(len(failed) - MOST, 'more sample')}"] if len(failed) > MOST else []
    return [*first, *more, *(f"  fix: {spelled(error.fix)}" for _, error in failed[:1] if error.fix)]


def told(error: UlamError) -> str:
    """An error on one line, without the row, which the line begins with."""
    return error.what if error.position is None else f"{error.what} (position {error.position})"


def summary(run: Run, given: Given, joined: bool, out: Path | None) -> str:
    """The receipt."""
    samples = run.samples
    tokens = sum(size(sample) or 0 for sample in samples)
    first = samples[0]
    parts = [titled(run.model)]
    parts += ["standard input, then the text"] if joined else []
    parts += [counted(len(samples), "sample")] if len(samples) > 1 else []
    parts += run.told
    if any(size(sample) is not None for sample in samples):
        parts += [counted(tokens, "token"), f"{number(tokens / run.seconds if run.seconds else 0)} tok/s"]
    parts += ["argmax; the seed has no effect" if is_argmax(first.recipe) else f"seed {samples.seed}"]
    parts += [f"{first.recipe if first.recipe.stages else 'categorical, the model as it is'} ({first.recipe.id})"]
    parts += [f"neutral, left out: {' '.join(map(str, given.idle))}"] if given.idle else []
    if len(samples) == 1:
        parts += [log_probs(first)]
    parts += [endings(samples, run)]
    parts += [f"saved {out}"] if out is not None else []
    return receipt(parts, width(sys.stderr) if is_terminal(sys.stderr) else None)


def titled(model: Any) -> str:
    """A model by name, with what computes it where that is not the house itself."""
    return f"{model.name} ({model.runs})" if getattr(model, "runs", "") else model.name


def notes(model: Any) -> list[str]:
    """What is to be known of a model, a line each."""
    return [f"   {model.name}: {text}" for text in getattr(model, "notes", ())]


def size(sample: Sample) -> int | None:
    """How many tokens a sample has; None where an engine does not tell."""
    return sample.size if isinstance(sample, Shown) else len(sample.tokens)


def log_probs(sample: Sample) -> str:
    """Both log-probabilities of a text; an engine need not tell them."""
    model, recipe = sample.model_log_prob, sample.recipe_log_prob
    if model != model and recipe != recipe:
        return "log-prob: not told by the server"
    known = [f"{name} {number(x)}" for name, x in (("model", model), ("recipe", recipe)) if x == x]
    unknown = [f" ({name}: not told by the server)" for name, x in (("model", model), ("recipe", recipe)) if x != x]
    return f"log-prob: {', '.join(known)} nats{''.join(unknown)}"


def endings(samples: Samples, run: Run) -> str:
    """Why the samples have no more tokens: `stopped: length`, `stopped: 3 length, 1 stop "END"`, `cancelled`."""
    counts = Counter(ending(sample, run) for sample in samples)
    if {*counts} == {"cancelled"}:
        return "cancelled"
    return "stopped: " + ", ".join(reason if len(samples) == 1 else f"{count} {reason}" for reason, count in counts.most_common())


def ending(sample: Sample, run: Run) -> str:
    """Why a sample has no more tokens."""
    if sample.finish_reason == "length" and (size(sample) or run.max_tokens) < run.max_tokens:
        return "length (the context is full)"
    if sample.finish_reason == "stop" and run.stop and sample.stopped_by is None:  # an engine need not tell by what
        return "stop"
    if sample.finish_reason == "stop":
        return f"stop {print_value(sample.stopped_by or '')}" if sample.stopped_by in run.stop else "end of text"
    return sample.finish_reason


def is_argmax(recipe: Recipe) -> bool:
    """Whether the recipe leaves nothing to chance, whatever the model says."""
    deterministic = all("deterministic" in find(stage.name).claims for stage in recipe.transforms)
    return deterministic and ("deterministic" in find(recipe.chooser.name).claims or "temperature=0" in map(str, recipe.transforms))
