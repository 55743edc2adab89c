"""Engines: what generates by itself and shows a part of its logits. The second of two protocols; `LanguageModel` is the first.

Everything in the house works on a `LanguageModel`. An engine can be sampled from, and that is all: `ulam.sample(engine, ...)`,
`ulam.stream(engine, ...)` and `ulam "..." -m http://...` hand the run to it; a law, a score or a combination needs all logits
and says so (`request.check_model`). What an engine cannot do exactly it refuses by name, or marks in the record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UlamError, UsageError
from ..core.values import is_unicode
from ..core.vocabulary import Vocabulary
from ..recipe import Recipe
from .loop import Event, Row, Run, SampleEvent
from .request import Prompt, listed, read_count, read_noise, read_recipes, read_sequences, read_stop
from .samples import FinishReason, Sample


@runtime_checkable
class Engine(Protocol):
    """Generates by itself.

    name          for people
    vocabulary    the tokens that it has shown so far; it may grow during a run, and need not know how to encode text
    fingerprint   changes when the model is known to change; a server may have nothing better than a name
    capabilities  of: "token_ids" (prompts may be ids)

    generate      a run that has not begun: iterating it does the work, `cancel()` ends it, `samples` is what has finished. Arguments as
                  `ulam.stream`, without a noise: an engine has at most a seed. Raises `Inexact` for a recipe that it cannot do exactly, before any
                  token is drawn
    """

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[str]: ...

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        recipe: str | Recipe | Sequence[str | Recipe] = "",
        seed: int | None = None,
        *,
        n: int = 1,
        max_tokens: int = 256,
        stop: str | Sequence[str] = (),
        sequence: int | Sequence[int] | None = None,
    ) -> Run: ...


@dataclass(frozen=True, eq=False)
class Shown(Sample):
    """A sample of which an engine shows a part. Log-probabilities that it does not tell are NaN.

    prompt_size  tokens of the prompt, or None if that is not known; `prompt_tokens` may be empty all the same
    size         tokens of the text, or None; where the engine shows none of them, `tokens` is empty
    """

    prompt_size: int | None = None
    size: int | None = None  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def model_log_prob(self) -> float:
        return math.fsum(self.model_log_probs) if len(self.tokens) == self.size else math.nan

    @property
    def recipe_log_prob(self) -> float:
        return math.fsum(self.recipe_log_probs) if len(self.tokens) == self.size else math.nan

    def to_dict(self, vocabulary: Vocabulary) -> dict[str, Any]:
        return {**super().to_dict(vocabulary), "prompt": {"text": self.prompt, "tokens": self.prompt_size}, "tokens": self.size}


Steps: TypeAlias = Callable[["EngineRun"], Iterator[Event]]
"""What an engine does with a run: yields an event for every token that it shows, and a `SampleEvent` for every row, in any order."""


class EngineRun(Run):
    """A run that an engine does. `rows` are the samples in the making; their tokens, and what is in `facts`, are the engine's to fill in.

    facts      what a record says about how it was drawn, in `samples.meta`
    told       the same in a few words, for the summary
    interrupt  called when the run is cancelled, from a signal handler perhaps: gives up what is under way
    """

    def __init__(
        self,
        engine: Engine,
        steps: Steps,
        prompts: Any,
        recipe: Any,
        seed: int | None,
        *,
        n: int,
        max_tokens: int,
        stop: Any,
        sequence: Any,
        facts: dict[str, Any],
        told: Sequence[str],
        interrupt: Callable[[], None],
    ):
        given = read_given(engine, prompts)
        recipes = read_recipes(recipe, len(given))
        self.model: Any = engine
        self.n, self.max_tokens, self.stop = read_count(n, "n", 1), read_count(max_tokens, "max_tokens", 0), read_stop(stop)
        self.seed, self.noise = read_noise(seed, None)
        firsts = read_sequences(sequence, len(given), self.n)
        self.rows = [Row(i * self.n + j, firsts[i] + j, text, ids, recipes[i], self.stop, []) for i, (text, ids) in enumerate(given) for j in range(self.n)]
        for row in self.rows:
            row.prompt_size = len(row.history.prompt) or None
        self.steps_of, self.facts, self.told, self.interrupt = steps, facts, tuple(told), interrupt
        self.finished: dict[int, Sample] = {}
        self.cancelled = False
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.events = self.loop()

    def cancel(self) -> None:
        super().cancel()
        self.interrupt()

    def meta(self) -> dict[str, Any]:
        return {**super().meta(), **self.facts}

    def loop(self) -> Generator[Event, None, None]:
        if self.max_tokens == 0:
            yield from (self.done(row.finish("length")) for row in self.rows)
            return
        try:
            for event in self.steps_of(self):
                yield self.done(event) if isinstance(event, SampleEvent) else event
        except UlamError:
            if not self.cancelled:  # what was interrupted may say so in any way
                raise
        yield from (self.done(row.finish("cancelled")) for row in self.rows if row.index not in self.finished)

    def done(self, event: SampleEvent) -> SampleEvent:
        if not isinstance(event.sample, Shown):
            row = self.rows[event.row]
            event = SampleEvent(event.row, event.text, Shown(**vars(event.sample), prompt_size=row.prompt_size, size=len(event.sample.tokens)))
        return super().done(event)


@dataclass(frozen=True)
class Whole:
    """A text that came all at once: its tokens, if the engine shows them, with NaN for log-probabilities that it does not tell.

    size  how many tokens it has, or None
    """

    text: str
    reason: FinishReason
    stopped_by: str | None = None
    tokens: tuple[int, ...] = ()
    model_log_probs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    recipe_log_probs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    size: int | None = None
    error: UlamError | None = None

    def of(self, row: Row) -> SampleEvent:
        """The row, finished by this text. A stop string that the engine left in the text ends it there."""
        said = row.stream.feed(self.text.encode("utf-8", "replace")) + row.stream.finish()
        cut = row.stream.stopped_by
        sample = Shown(
            prompt=row.prompt,
            prompt_tokens=tuple(row.history.prompt),
            text=said,
            tokens=self.tokens,
            model_log_probs=self.model_log_probs,
            recipe_log_probs=self.recipe_log_probs,
            finish_reason="stop" if cut is not None else self.reason,
            stopped_by=self.stopped_by if cut is None else cut,
            index=row.index,
            sequence=row.sequence,
            recipe=row.recipe,
            error=self.error,
            prompt_size=row.prompt_size,
            size=self.size,
        )
        return SampleEvent(row.index, said, sample)


def read_given(engine: Engine, prompts: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Prompts as text, or as ids where the engine takes them; a text has no ids here. Raises `UsageError`."""
    items = [prompts] if isinstance(prompts, str) else listed(prompts, "prompts", 'a text, or a list of texts: ["Once upon a time"]')
    if items and all(isinstance(item, Integral) for item in items):
        items = [items]
    if not items:
        raise UsageError("there is no prompt", fix='ulam.sample(engine, "Once upon a time")')
    found: list[tuple[str, tuple[int, ...]]] = []
    for number, item in enumerate(items, 1):
        which = f"prompt {number}" if len(items) > 1 else "the prompt"
        if isinstance(item, str):
            if not is_unicode(item):
                raise UsageError(f"{which} holds half of a surrogate pair, which is no text", fix="read the text as UTF-8")
            found.append((item, ()))
        elif "token_ids" in engine.capabilities:
            found.append(("", tuple(read_count(token, "token", 0) for token in listed(item, which, "[3, 17, 4]"))))
        else:
            raise UsageError(f"{which} is a list of token ids, and {engine.name} takes text", fix='"Once upon a time"')
    return found
