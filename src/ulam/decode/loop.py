"""The one loop: logits, recipe, token, text, again. A generator of events.

Streaming, cancelling and tracing are ways to consume it. Every prompt is read once, however many samples
it has; rows go through the model in batches, and leave when they have finished; a row's draws depend on its seed, its sequence number and its
position, never on its place or its mates.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..core.arrays import Array, as_logits, is_numpy_array, take_rows
from ..core.context import Context, History
from ..core.errors import InvalidLogits, UlamError, UsageError
from ..core.noise import Noise
from ..models.protocol import LanguageModel, State
from ..recipe import Recipe
from .plan import Plan
from .request import Prompt, read_count, read_noise, read_prompts, read_recipes, read_sequences, read_stop
from .samples import FinishReason, Sample, Samples, failing, model_entry
from .text import TextStream

if TYPE_CHECKING:
    from .engine import Engine

BATCH = 64
"""Rows that go through the model together: bounds memory, and how long a step takes that a cancelled run still finishes."""


@dataclass(frozen=True)
class TokenEvent:
    """A token was drawn for a row. `text` is what became certain by it: whole characters, no part of a stop string."""

    row: int
    position: int
    token: int
    text: str
    model_log_prob: float
    recipe_log_prob: float


@dataclass(frozen=True)
class SampleEvent:
    """A row has finished. `text` is the rest of its text; `sample` is the whole of it."""

    row: int
    text: str
    sample: Sample


Event: TypeAlias = TokenEvent | SampleEvent


class Row:
    """One sample in the making."""

    def __init__(self, index: int, sequence: int, prompt: str, tokens: tuple[int, ...], recipe: Recipe, stop: tuple[str, ...], states: list[Any]):
        self.index, self.sequence, self.prompt, self.recipe, self.states = index, sequence, prompt, recipe, states
        self.history = History(tokens, [])
        self.prompt_size: int | None = len(tokens)  # None where an engine does not tell
        self.tokens: list[int] = self.history.generated  # type: ignore[assignment]
        self.model_log_probs: list[float] = []
        self.recipe_log_probs: list[float] = []
        self.stream = TextStream(stop)
        self.pieces: list[str] = []

    def add(self, token: int, model: float, recipe: float, raw: bytes) -> TokenEvent:
        self.tokens.append(token)
        self.model_log_probs.append(model)
        self.recipe_log_probs.append(recipe)
        self.pieces.append(self.stream.feed(raw))
        return TokenEvent(self.index, len(self.tokens) - 1, token, self.pieces[-1], model, recipe)

    def finish(self, reason: FinishReason, stopped_by: str | None = None, error: UlamError | None = None) -> SampleEvent:
        rest = self.stream.finish()
        if self.stream.stopped_by is not None and error is None:  # its last bytes may be those of the broken character at the end
            reason, stopped_by = "stop", self.stream.stopped_by
        sample = Sample(
            prompt=self.prompt,
            prompt_tokens=tuple(self.history.prompt),
            text="".join(self.pieces) + rest,
            tokens=tuple(self.tokens),
            model_log_probs=np.asarray(self.model_log_probs),
            recipe_log_probs=np.asarray(self.recipe_log_probs),
            finish_reason=reason,
            stopped_by=stopped_by,
            index=self.index,
            sequence=self.sequence,
            recipe=self.recipe,
            error=error,
        )
        return SampleEvent(self.index, rest, sample)


class Run(Iterator[Event]):
    """A run that can be watched, cancelled, and asked for its samples. Iterating it does the work.

    See `stream` for the arguments; what is wrong with them is raised when the run is made. `told` is what a summary has to add.
    """

    told: tuple[str, ...] = ()

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompt | Sequence[Prompt],
        recipe: str | Recipe | Sequence[str | Recipe],
        *,
        n: int,
        max_tokens: int,
        seed: int | None,
        stop: str | Sequence[str],
        sequence: int | Sequence[int] | None,
        noise: Noise | None,
    ):
        texts, self.prompts = read_prompts(model, prompts)
        recipes = read_recipes(recipe, len(texts))
        bound = [each.bind(model.vocabulary) for each in recipes]
        self.model, self.n, self.max_tokens, self.stop = model, read_count(n, "n", 1), read_count(max_tokens, "max_tokens", 0), read_stop(stop)
        self.seed, self.noise = read_noise(seed, noise)
        firsts = read_sequences(sequence, len(texts), self.n)
        begun = [each.init(prompt) for each, prompt in zip(bound, self.prompts, strict=True)]
        self.rows = [
            Row(i * self.n + j, firsts[i] + j, texts[i], self.prompts[i], recipes[i], self.stop, bound[i].fork(begun[i]))
            for i in range(len(texts))
            for j in range(self.n)
        ]
        self.plan = Plan([each for each in bound for _ in range(self.n)])
        self.finished: dict[int, Sample] = {}
        self.cancelled = False
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.events = self.loop()

    def __repr__(self) -> str:
        source = self.noise if self.seed is None else f"seed {self.seed}"
        return f"Run({len(self.finished)} of {len(self.rows)} samples drawn from {self.model.name}, {source})"

    def __next__(self) -> Event:
        return next(self.events)

    def cancel(self) -> None:
        """Finish after the current step: rows that are not done end as `cancelled`, with what they have."""
        self.cancelled = True

    def close(self) -> None:
        """Stop at once and give the model's memory back; rows that are not done end as `cancelled`, with what they have."""
        self.events.close()
        for row in self.rows:
            if row.index not in self.finished:
                self.done(row.finish("cancelled"))

    @property
    def samples(self) -> Samples:
        """What has finished so far, in order."""
        return Samples(tuple(self.finished[i] for i in sorted(self.finished)), self.seed, self.model.vocabulary, self.meta())

    def meta(self) -> dict[str, Any]:
        """What a record says besides the samples."""
        return {
            "model": model_entry(self.model),
            "batch_invariant": "batch_invariant" in self.model.capabilities,
            "limits": {"max_tokens": self.max_tokens, "stop": list(self.stop), "context": getattr(self.model, "context_limit", None)},
            "versions": {"ulam": __version__, "numpy": np.__version__},
            "seconds": round(self.seconds, 3),
        }

    def done(self, event: SampleEvent) -> SampleEvent:
        self.finished[event.row] = event.sample
        self.seconds = time.perf_counter() - self.started
        return event

    def loop(self) -> Generator[Event, None, None]:
        if self.max_tokens == 0 and not self.cancelled:
            yield from (self.done(row.finish("length")) for row in self.rows)
        together = max(1, BATCH // self.n)
        for first in range(0, len(self.prompts), together):
            if len(self.finished) < len(self.rows) and not self.cancelled:
                yield from self.samples_of(first, self.prompts[first : first + together])
        yield from (self.done(row.finish("cancelled")) for row in self.rows if row.index not in self.finished)

    def samples_of(self, first: int, prompts: Sequence[tuple[int, ...]]) -> Generator[Event, None, None]:
        """All samples of some prompts, the number of the first one given; each prompt is read once, then forked."""
        state, logits = self.model.prefill(prompts)
        try:
            logits = reference(logits, len(prompts), len(self.model.vocabulary))
            fork = np.repeat(np.arange(len(prompts)), self.n)
            for at in range(0, len(fork), BATCH):
                if not self.cancelled:
                    part = fork[at : at + BATCH]
                    yield from self.steps(first * self.n + at + np.arange(len(part)), self.model.select(state, part), take_rows(logits, part))
        finally:
            self.model.release(state)

    def steps(self, live: NDArray[np.int64], state: State, logits: Array) -> Generator[Event, None, None]:
        """Token by token until every row of the batch has finished; `live` are their numbers in the run."""
        model, rows, noise = self.model, self.rows, self.noise
        ends = {end: model.vocabulary.names.get(end, "end") for end in model.vocabulary.ends}
        try:
            while True:
                now = [rows[i] for i in live]
                positions = np.asarray([len(row.tokens) for row in now])
                sequences = np.asarray([row.sequence for row in now], dtype=np.uint64)
                carried = [row.states for row in now] if any(row.states for row in now) else ()
                context = Context([row.history for row in now], model.vocabulary, carried)
                drawn = self.plan.draw(live, logits, context, noise, sequences, positions)
                stay: list[int] = []
                for place, row in enumerate(now):
                    if place in drawn.failures:
                        error = drawn.failures[place]
                        yield self.done(row.finish(failing(error), error=error))
                        continue
                    token = int(drawn.tokens[place])
                    raw = b"" if token in ends else model.vocabulary.tokens[token]
                    yield row.add(token, float(drawn.model_log_probs[place]), float(drawn.recipe_log_probs[place]), raw)
                    if token in ends:
                        yield self.done(row.finish("stop", ends[token]))
                    elif row.stream.stopped_by is not None:
                        yield self.done(row.finish("stop"))
                    elif len(row.tokens) == self.max_tokens or full(model, row):
                        yield self.done(row.finish("length"))
                    else:
                        stay.append(place)
                if self.cancelled:
                    yield from (self.done(now[place].finish("cancelled")) for place in stay)
                    return
                if not stay:
                    return
                if len(stay) < len(now):
                    before, state = state, model.select(state, stay)
                    model.release(before)
                live = live[stay]
                state, logits = model.step(state, drawn.tokens[stay])
                logits = reference(logits, len(live), len(model.vocabulary))
        finally:
            model.release(state)


def reference(logits: Array, rows: int, tokens: int) -> Array:
    """A model's logits in the reference type: float64 on NumPy; other libraries at least float32, on their device.

    Raises `InvalidLogits` unless they are [rows, tokens].
    """
    z = as_logits(logits)
    if tuple(z.shape) != (rows, tokens):
        what = f"the model gave logits of shape {list(z.shape)} for {rows} rows and {tokens} tokens"
        raise InvalidLogits(what, fix="logits [B, V]: a row a text, V = len(vocabulary)")
    return z.astype(np.float64, copy=False) if is_numpy_array(z) else z


def full(model: LanguageModel, row: Row) -> bool:
    """Whether the row has no place for another token in the model's context."""
    return model.context_limit is not None and len(row.history.prompt) + len(row.tokens) >= model.context_limit


def stream(
    model: LanguageModel | Engine,
    prompts: Prompt | Sequence[Prompt],
    recipe: str | Recipe | Sequence[str | Recipe] = "",
    *,
    n: int = 1,
    max_tokens: int = 256,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    sequence: int | Sequence[int] | None = None,
    noise: Noise | None = None,
) -> Run:
    """Draw samples token by token: an iterator of events, with `cancel()` and `samples`.

    prompts     a text, a list of token ids, or a list of these (arrays and generators too)
    recipe      one for all prompts, or one for each; text or `Recipe`
    n           samples of each prompt (1); the prompt is read once
    max_tokens  most tokens a sample has, end token included (256)
    seed        0 to 2^64 - 1; a fresh one if left out, in `samples.seed`
    stop        texts that end a sample, cut off exactly, wherever the borders of tokens are
    sequence    number of each prompt's first sample in the address of its noise (prompt index << 32); sample j adds j.
                Prompts with equal numbers share all their noise, so that recipes can be compared with the same dice
    noise       where every draw comes from, in place of a seed; exact mode enumerates it (`ulam.law`)

    Raises `UsageError` and its kinds for anything wrong with the arguments, before any work; what only the model knows
    (`EmptyPrompt`: it has no start token) comes with the first event. An engine (`decode/engine.py`) does the run itself.
    """
    if not hasattr(model, "prefill") and hasattr(model, "generate"):
        engine = cast("Engine", model)
        if noise is not None:
            raise UsageError(f"{engine.name} generates by itself, so it draws from no noise", fix="seed=7")
        return engine.generate(prompts, recipe, seed, n=n, max_tokens=max_tokens, stop=stop, sequence=sequence)
    return Run(cast(LanguageModel, model), prompts, recipe, n=n, max_tokens=max_tokens, seed=seed, stop=stop, sequence=sequence, noise=noise)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `sample`. `samples` holds what was drawn, unfinished rows as `cancelled`."""

    def __init__(self, samples: Samples):
        super().__init__("interrupted; the samples drawn so far are in .samples")
        self.samples = samples


def sample(
    model: LanguageModel | Engine,
    prompts: Prompt | Sequence[Prompt],
    recipe: str | Recipe | Sequence[str | Recipe] = "",
    *,
    n: int = 1,
    max_tokens: int = 256,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    sequence: int | Sequence[int] | None = None,
    noise: Noise | None = None,
) -> Samples:
    """Draw samples and return them all. Arguments as `stream`. The same seed gives the same text alone, in a batch, streamed.

    A row that fails (`finish_reason` "constraint" or "error") does not stop the others. Ctrl-C ends the run after the current step and
    raises `Interrupted`, which keeps what was drawn.
    """
    run = stream(model, prompts, recipe, n=n, max_tokens=max_tokens, seed=seed, stop=stop, sequence=sequence, noise=noise)
    try:
        with cancelling(run):
            for _ in run:
                pass
    except KeyboardInterrupt:  # from the model, or a second Ctrl-C
        run.close()
        raise Interrupted(run.samples) from None
    if run.cancelled:
        raise Interrupted(run.samples)
    return run.samples


@contextmanager
def cancelling(run: Run) -> Iterator[None]:
    """Inside, the first Ctrl-C cancels the run, which ends after its current step; the second raises `KeyboardInterrupt`."""
    if threading.current_thread() is not threading.main_thread():  # signals are handled in the main thread only
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if run.cancelled:
            raise KeyboardInterrupt
        run.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
