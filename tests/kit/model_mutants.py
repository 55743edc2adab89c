"""A model that keeps every rule, written so that each can be broken alone, and models that break one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulam.core.errors import ContextOverflow, EmptyPrompt, StaleState, TokenOutOfRange
from ulam.core.vocabulary import Vocabulary
from ulam.models import alphabet

Logits = NDArray[np.float64]
State = dict[str, Any]


class Honest:
    """Irregular rows over the letters a to d and an end, which differ for every prefix; at most 30 tokens.

    A state is a dict: the rows, each a list of tokens, and whether it is live.
    """

    name, fingerprint = "honest", "honest-1"
    context_limit: int | None = 30
    capabilities: frozenset[str] = frozenset({"batch_invariant", "extend", "layer_logits"})
    layers = 3
    vocabulary = alphabet("abcd", end="$")

    def logits(self, row: Sequence[int]) -> Logits:
        return np.random.default_rng([len(row), *row]).normal(size=5)

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        for row in rows:
            if self.context_limit is not None and len(row) > self.context_limit:
                raise ContextOverflow("too long")
            if not all(0 <= token < 5 for token in row):
                raise TokenOutOfRange("no such token")
        return {"rows": rows, "live": True}, np.array([self.logits(row) for row in rows])

    def check(self, state: State) -> None:
        if not state["live"]:
            raise StaleState("used up")

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[State, Any]:
        return self.read([list(prompt) for prompt in prompts])

    def step(self, state: State, tokens: Any) -> tuple[State, Any]:
        self.check(state)
        result = self.read([[*row, int(token)] for row, token in zip(state["rows"], tokens, strict=True)])
        state["live"] = False
        return result

    def extend(self, state: State, tokens: Any) -> tuple[State, Any]:
        found = []
        for column in np.asarray(tokens).T:
            state, logits = self.step(state, column)
            found.append(logits)
        return state, np.stack(found, axis=1)

    def layer_logits(self, state: State, layers: Sequence[int]) -> Any:
        self.check(state)
        return np.array([[self.logits([*row, layer]) for row in state["rows"]] for layer in layers]).reshape(len(layers), len(state["rows"]), 5)

    def select(self, state: State, rows: Any) -> State:
        self.check(state)
        return {"rows": [list(state["rows"][int(i)]) for i in rows], "live": True}

    def release(self, state: State) -> None:
        state["live"] = False


class Undeclared(Honest):
    """Bits that depend on the batch, as on a GPU: a row's logits move by 1e-5 with the number of its mates."""

    capabilities = frozenset()

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        logits[:, 0] += 1e-5 * (len(rows) - 1)
        return state, logits


class StartsWithAToken(Honest):
    """Wants at least one token, and has no start token."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[State, Any]:
        if not all(map(len, prompts)):
            raise EmptyPrompt("no token")
        return super().prefill(prompts)


# wrong ones


class ForkByReference(Honest):
    """Copies of a row are one row."""

    def step(self, state: State, tokens: Any) -> tuple[State, Any]:
        self.check(state)
        for row, token in zip(state["rows"], tokens, strict=True):
            row.append(int(token))
        result = self.read(list(state["rows"]))
        state["live"] = False
        return result

    def select(self, state: State, rows: Any) -> State:
        self.check(state)
        return {"rows": [state["rows"][int(i)] for i in rows], "live": True}


class SharedWithTheArgument(Honest):
    """A selection of all rows in order is the argument itself."""

    def select(self, state: State, rows: Any) -> State:
        return state if [int(i) for i in rows] == list(range(len(state["rows"]))) else super().select(state, rows)


class SelectConsumes(Honest):
    def select(self, state: State, rows: Any) -> State:
        chosen = super().select(state, rows)
        state["live"] = False
        return chosen


class SelectSorts(Honest):
    """The right rows in the order they had."""

    def select(self, state: State, rows: Any) -> State:
        return super().select(state, sorted(int(i) for i in rows))


class SelectTakesTheFirst(Honest):
    """As many rows as were asked for, from the first on."""

    def select(self, state: State, rows: Any) -> State:
        return super().select(state, [i % len(state["rows"]) for i in range(len(rows))])


class LastTokenTwice(Honest):
    """The prompt's last token is fed in prefill, and once more in the first step."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[State, Any]:
        return self.read([[*prompt, *prompt[-1:]] for prompt in prompts])


class ShortMemoryOfPrompts(Honest):
    """A prompt of more than eight tokens is cut on the left."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[State, Any]:
        return self.read([list(prompt)[-8:] for prompt in prompts])


class LooksAtItsMates(Honest):
    """A little of the first row is in every row."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        return state, logits + 0.01 * logits[:1] if len(rows) > 1 else logits


class PaddedPositions(Honest):
    """Positions go on from the longest row of the prefill."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        longest = max(map(len, rows))
        for row, each in zip(rows, logits, strict=True):
            each[1] += longest - len(row)
        return state, logits


class OneUlpByTheBatch(Honest):
    """Declares equal bits, and the last one moves with the batch."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        return state, np.nextafter(logits, np.inf) if len(rows) > 2 else logits


class StaleAfterStep(Honest):
    """A state that was stepped can be stepped again."""

    def step(self, state: State, tokens: Any) -> tuple[State, Any]:
        self.check(state)
        return self.read([[*row, int(token)] for row, token in zip(state["rows"], tokens, strict=True)])


class StaleAfterRelease(Honest):
    def release(self, state: State) -> None:
        pass


class StaleSelect(Honest):
    """An ended state can be forked."""

    def select(self, state: State, rows: Any) -> State:
        return {"rows": [list(state["rows"][int(i)]) for i in rows], "live": True}


class ReleaseTwice(Honest):
    def release(self, state: State) -> None:
        if not state["live"]:
            raise RuntimeError("released already")
        state["live"] = False


class ReleaseFreesForks(Honest):
    """What was released once is empty for all who still share it."""

    def select(self, state: State, rows: Any) -> State:
        self.check(state)
        return {"rows": [state["rows"][int(i)] for i in rows], "live": True}

    def release(self, state: State) -> None:
        state["live"] = False
        for row in state["rows"]:
            row.clear()


class ExtendOffByOne(Honest):
    """The logits before each token instead of after."""

    def extend(self, state: State, tokens: Any) -> tuple[State, Any]:
        _, before = self.read([list(row) for row in state["rows"]])
        state, logits = super().extend(state, tokens)
        return state, np.concatenate([before[:, None], logits[:, :-1]], axis=1)


class ExtendKeepsTheState(Honest):
    """Right logits, and a state without the last token."""

    def extend(self, state: State, tokens: Any) -> tuple[State, Any]:
        state, logits = super().extend(state, tokens)
        state["rows"] = [row[:-1] for row in state["rows"]]
        return state, logits


class ExtendDoesNotConsume(Honest):
    def extend(self, state: State, tokens: Any) -> tuple[State, Any]:
        self.check(state)
        return super().extend({"rows": state["rows"], "live": True}, tokens)


class LayersOfTheFirstRow(Honest):
    """Every row gets what the layers say of the first."""

    def layer_logits(self, state: State, layers: Sequence[int]) -> Any:
        return super().layer_logits(state, layers)[:, [0] * len(state["rows"])]


class LayersInOrder(Honest):
    """The lowest layer first, whatever was asked."""

    def layer_logits(self, state: State, layers: Sequence[int]) -> Any:
        return super().layer_logits(state, sorted(layers))


class LayersOfAnOldState(Honest):
    def layer_logits(self, state: State, layers: Sequence[int]) -> Any:
        return super().layer_logits({**state, "live": True}, layers)


class LayersEndTheState(Honest):
    def layer_logits(self, state: State, layers: Sequence[int]) -> Any:
        found = super().layer_logits(state, layers)
        state["rows"] = [row[:-1] for row in state["rows"]]
        return found


class NoNumberOfLayers(Honest):
    layers = None  # type: ignore[assignment]


class NaN(Honest):
    """An impossible token is written as NaN."""

    def logits(self, row: Sequence[int]) -> Logits:
        z = super().logits(row)
        return np.where(z == z.min(), np.nan, z) if len(row) == 3 else z


class NothingPossible(Honest):
    def logits(self, row: Sequence[int]) -> Logits:
        return np.full(5, -np.inf) if len(row) == 4 else super().logits(row)


class OneRowIsAVector(Honest):
    """Logits [V] for a single row."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        return state, logits[0] if len(rows) == 1 else logits


class Restless(Honest):
    """The same question has another answer every time."""

    def __init__(self) -> None:
        self.asked = 0

    def logits(self, row: Sequence[int]) -> Logits:
        self.asked += 1
        return super().logits(row) + np.arange(5) * self.asked * 1e-12


class RestlessSteps(Honest):
    """Only steps do not repeat themselves."""

    def __init__(self) -> None:
        self.asked = 0

    def step(self, state: State, tokens: Any) -> tuple[State, Any]:
        self.asked += 1
        state, logits = super().step(state, tokens)
        return state, logits + np.arange(5) * self.asked * 1e-12


class EndOutside(Honest):
    def __init__(self) -> None:
        self.vocabulary = alphabet("abcd", end="$")
        self.vocabulary.ends = (5,)


class TokensAreText(Honest):
    def __init__(self) -> None:
        self.vocabulary = alphabet("abcd", end="$")
        self.vocabulary.tokens = ("a", "b", "c", "d", "")  # type: ignore[assignment]


class ReadsTextBackwards(Honest):
    vocabulary = Vocabulary([b"a", b"b", b"c", b"d", b""], names={4: "$"}, ends=[4], encode=lambda text: [max(0, "abcd".find(c)) for c in reversed(text)])


class TokensWrap(Honest):
    """Ids are taken modulo V."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        return super().read([[token % 5 for token in row] for row in rows])


class RefusalEndsTheState(Honest):
    def step(self, state: State, tokens: Any) -> tuple[State, Any]:
        self.check(state)
        state["live"] = False
        return self.read([[*row, int(token)] for row, token in zip(state["rows"], tokens, strict=True)])


class NoLimit(Honest):
    """Says 30, and goes on."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        if not all(0 <= token < 5 for row in rows for token in row):
            raise TokenOutOfRange("no such token")
        return {"rows": rows, "live": True}, np.array([self.logits(row) for row in rows])


class SlidingWindow(Honest):
    """From 28 tokens on the oldest are forgotten, in steps only."""

    def step(self, state: State, tokens: Any) -> tuple[State, Any]:
        after, _ = super().step(state, tokens)
        return after, np.array([self.logits(row[-28:]) for row in after["rows"]])


class RowsBeyondEight(Honest):
    """Every row from the ninth on answers for the eighth."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        logits[8:] = logits[7:8]
        return state, logits


class FailsOnNothing(Honest):
    """An empty prompt is an accident, not an error."""

    vocabulary = Vocabulary([b"", b"b", b"c", b"d", b""], names={0: "^", 4: "$"}, start=0, ends=[4])

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[State, Any]:
        return self.read([[prompt[0], *prompt[1:]] for prompt in prompts])


class NoSuchCall(Honest):
    extend = None  # type: ignore[assignment]


class MisspeltCapability(Honest):
    capabilities = frozenset({"batch_invarient"})


class OtherFingerprintEveryTime(Honest):
    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        self.asked = getattr(self, "asked", 0) + 1
        return str(self.asked)


class Apart(Undeclared):
    """Moves with the batch by more than anyone would allow."""

    def read(self, rows: list[list[int]]) -> tuple[State, Any]:
        state, logits = super().read(rows)
        logits[:, 1] += 0.01 * (len(rows) - 1)
        return state, logits


WRONG: dict[str, list[Callable[[], Honest]]] = {
    "form": [NoSuchCall, MisspeltCapability, OtherFingerprintEveryTime, NoNumberOfLayers],
    "vocabulary": [EndOutside, TokensAreText],
    "logits": [NaN, NothingPossible, OneRowIsAVector],
    "deterministic": [Restless, RestlessSteps],
    "empty": [FailsOnNothing],
    "prefill": [LastTokenTwice, ShortMemoryOfPrompts],
    "text": [ReadsTextBackwards],
    "batch": [LooksAtItsMates, PaddedPositions, OneUlpByTheBatch, Apart],
    "select": [SelectSorts, SelectTakesTheFirst],
    "forks": [ForkByReference, SharedWithTheArgument, SelectConsumes],
    "release": [ReleaseTwice, ReleaseFreesForks],
    "stale": [StaleAfterStep, StaleAfterRelease, StaleSelect, ExtendDoesNotConsume],
    "extend": [ExtendOffByOne, ExtendKeepsTheState],
    "layer_logits": [LayersOfTheFirstRow, LayersInOrder, LayersOfAnOldState, LayersEndTheState],
    "refusals": [TokensWrap, RefusalEndsTheState],
    "limit": [NoLimit, SlidingWindow],
    "leaves": [RowsBeyondEight],
}
"""Planted faults by the check that must reject them."""
