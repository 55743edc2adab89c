"""A model under test: how the checks run it, what it says after every text alone, and how two rows are compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, as_logits, finite_rows, to_numpy
from ..core.errors import EmptyPrompt
from ..core.noise import Address, PhiloxNoise
from ..models.protocol import LanguageModel, State, TokenIds
from .inputs import Row
from .report import ConformanceError
from .subject import Inapplicable, same_bits

Text = tuple[int, ...]

LENGTH = 20  # tokens that a text has beyond its prompt
WALKS = 3  # texts a prompt


class Trial:
    """A model, texts that it allows, and what it says after each of their prefixes when it reads them alone, step by step.

    prompts    where texts begin
    tolerance  how far log-probabilities may lie apart, nats, if the model does not declare "batch_invariant"
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[TokenIds] | None, tolerance: float):
        self.model, self.tolerance = model, tolerance
        self.size, self.ends = len(model.vocabulary), set(model.vocabulary.ends)
        self.exact = "batch_invariant" in model.capabilities
        self.largest, self.rows = 0.0, 0
        self.alone: dict[Text, Row] = {}
        self._given = prompts

    @cached_property
    def prompts(self) -> list[Text]:
        """Where texts begin: as given; else the start token; without one the empty text; if the model wants a token, three of them."""
        if self._given is not None:
            return [tuple(prompt) for prompt in self._given]
        if self.model.vocabulary.start is not None:
            return [(self.model.vocabulary.start,)]
        try:
            self.prefill([()])
            return [()]
        except EmptyPrompt:
            ids = [i for i in range(self.size) if i not in self.ends]
            return [(i,) for i in dict.fromkeys((ids[0], ids[len(ids) // 2], ids[-1]))]

    @cached_property
    def texts(self) -> list[Text]:
        """Texts that the model allows, the shortest first."""
        found = {self.walk(prompt, stream, LENGTH) for prompt in self.prompts for stream in range(WALKS)}
        return sorted(found, key=lambda text: (len(text), text))

    def walk(self, prompt: Text, stream: int, length: int, keep: int | None = None) -> Text:
        """A text of so many more tokens, irregular ones that may follow; shorter where nothing but the end may, or the context is full.

        What the model says is remembered after each of its prefixes, or after the last `keep`.
        """
        limit = self.model.context_limit
        length = length if limit is None else min(length, limit - len(prompt))
        state, (row,) = self.prefill([prompt])
        seen = deque([(prompt, row)], maxlen=keep)
        for position in range(length):
            if not (tokens := self.following(row)):
                break
            token = tokens[int(float(PhiloxNoise(3).uniform(Address(stream, position))) * len(tokens))]
            state, (row,) = self.step(state, [token])
            seen.append(((*seen[-1][0], token), row))
        self.model.release(state)
        self.alone = dict(seen) | self.alone
        return seen[-1][0]

    def begin(self, text: Text) -> int:
        """How many tokens of a text are its prompt."""
        return max(len(prompt) for prompt in self.prompts if text[: len(prompt)] == prompt)

    def open_texts(self, most: int) -> list[Text]:
        """Texts that can go on, the shortest first, of as many lengths as there are. Raises `Inapplicable` if there is none."""
        prefixes = {text[:length] for text in self.texts for length in range(self.begin(text), len(text) + 1)}
        found = [text for text in sorted(prefixes, key=lambda text: (len(text), text)) if self.open(text)]
        if not found:
            raise Inapplicable("every text ends with the next token")
        return [found[i] for i in sorted({round(i * (len(found) - 1) / max(most - 1, 1)) for i in range(most)})]

    def after(self, text: Text) -> Row:
        """What the model says after a text that it reads alone, step by step."""
        if text not in self.alone:
            begin = self.begin(text)
            state, (row,) = self.prefill([text[:begin]])
            for token in text[begin:]:
                state, (row,) = self.step(state, [token])
            self.model.release(state)
            self.alone[text] = row
        return self.alone[text]

    def following(self, row: Row) -> list[int]:
        """Tokens that may come next and end nothing."""
        return [i for i in np.flatnonzero(row > -np.inf).tolist() if i not in self.ends]

    def open(self, text: Text) -> bool:
        """Whether a text can go on."""
        limit = self.model.context_limit
        return (limit is None or len(text) < limit) and bool(self.following(self.after(text)))

    def next(self, text: Text, turn: int = 0) -> int:
        """A token with which an open text can go on, for another turn another one if there are several."""
        tokens = self.following(self.after(text))
        return tokens[(len(text) + turn * (len(tokens) // 3 or 1)) % len(tokens)]

    def prefill(self, prompts: Sequence[TokenIds]) -> tuple[State, Row]:
        """The model's `prefill`; logits as NumPy, looked through."""
        state, logits = self.model.prefill(prompts)
        return state, self.looked_through(logits, (len(prompts), self.size), f"prefill of {[list(prompt)[-12:] for prompt in prompts[:8]]}")

    def step(self, state: State, tokens: Sequence[int]) -> tuple[State, Row]:
        """The model's `step`; logits as NumPy, looked through."""
        state, logits = self.model.step(state, np.asarray(tokens, np.int64))
        return state, self.looked_through(logits, (len(tokens), self.size), f"a step with {list(tokens[:12])}")

    def looked_through(self, logits: Array, shape: tuple[int, ...], how: str) -> Row:
        """Logits of the right shape, each row one to draw from, in float32 or float64."""
        found = tuple(getattr(logits, "shape", ()))
        if found != shape:
            self.fail("logits", f"{how} gives logits of shape {list(found)} instead of {list(shape)}")
        rows = to_numpy(as_logits(logits))
        if rows.size and not finite_rows(rows).all():
            self.fail("logits", f"{how} gives NaN, +inf or no finite number")
        self.rows += int(np.prod(shape[:-1]))
        return rows

    def same(self, promise: str, how: str, row: Row, text: Text, expected: Row | None = None) -> None:
        """Fail unless a row is what the model says after `text` alone, step by step: bit for bit if it declares so, else within the tolerance."""
        other = self.after(text) if expected is None else expected
        gap = distance(row, other)
        if same_bits(row, other) if self.exact else gap <= self.tolerance:
            self.largest = max(self.largest, gap)
            return
        near = "bit for bit" if self.exact else f"within {self.tolerance:g} nats"
        wanted = "those of the same tokens alone, step by step" if expected is None else "those of the first time"
        found = "other bits" if gap == 0 else "other tokens are possible" if gap == np.inf else f"a log-probability is {gap:.3g} nats away"
        self.fail(promise, f"{how}: the logits after {shown(text)} are not, {near}, {wanted} ({found})")

    def fail(self, promise: str, what: str) -> NoReturn:
        raise ConformanceError(self.model.name, promise, what)


def distance(a: Row, b: Row) -> float:
    """The largest difference of a log-probability, nats; infinite if other tokens are possible."""
    possible = a > -np.inf
    if not np.array_equal(possible, b > -np.inf):
        return np.inf
    return float(np.abs(log_probs(a[possible]) - log_probs(b[possible])).max())


def log_probs(row: Row) -> NDArray[np.float64]:
    """Log-probabilities of a row in float64, nats."""
    z = row.astype(np.float64)
    top = z.max()
    return z - top - np.log(np.exp(z - top).sum())


def shown(text: Sequence[Any]) -> str:
    """A text as ids; the end of a long one."""
    return f"[{'..., ' if len(text) > 12 else ''}{', '.join(map(str, text[-12:]))}]"
