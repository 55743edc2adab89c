"""The rows of an engine that keeps its own batch: each with its recipe, its seed, its history and what its stages carry.

The engine says which rows of its logits are whose, and how many tokens each has; `Rows.draw` says which token each has next. A row
may come and go, stand at another place at every step, and be asked again for a token that the engine threw away: its draws depend
on its seed, its sequence number and its position alone. Rows whose recipes differ in numbers only are drawn together, whatever their
seeds. A row that fails does so alone, and draws no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, take_rows
from ..core.context import Context, History
from ..core.errors import RecipeError, UlamError, UsageError, did_you_mean
from ..core.noise import Address, PhiloxNoise, check_seed, check_word, random_bits
from ..decode.plan import Plan
from ..recipe import Recipe
from ..recipe.draw import MOST_COINS, tosses

EXAMPLE = '{"recipe": "temperature=0.8 top_p=0.95", "seed": 7, "sequence": 0}'


@dataclass(frozen=True)
class Asked:
    """What a request says of its row. `row` is the name of a row that waits in this process, or None."""

    recipe: Recipe
    seed: int
    sequence: int = 0
    row: str | None = None


def read_asked(value: Any) -> Asked:
    """A request's words on its row: a map, or the JSON of one, with `recipe` (text), `seed` (64 bits) and, if it is not 0, `sequence` (64 bits).

    Two requests with one seed need sequence numbers of their own, or they draw with the same dice. Raises `UsageError`, and `RecipeError` and its kinds.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError("the words on a row are a text that is no JSON", fix=EXAMPLE) from None
    if not isinstance(value, Mapping):
        raise UsageError(f"{value!r} does not say how a row is drawn", fix=EXAMPLE)
    known = ("recipe", "seed", "sequence", "row")
    for name in value:
        if name not in known:
            raise UsageError(f"a row has no {name!r}.{did_you_mean(str(name), known)}", fix=EXAMPLE)
    for name in known[:2]:
        if name not in value:
            raise UsageError(f"a row needs a {name}", fix=EXAMPLE)
    recipe = Recipe(value["recipe"])
    coins = sum(bool(tosses(stage, 1).any()) for stage in recipe.transforms)
    if coins > MOST_COINS:
        raise RecipeError(f"the recipe tosses {coins} coins, and its law is a mixture of 2^{coins}", fix=f"at most {MOST_COINS} stages with a coin")
    row = value.get("row")
    if row is not None and not isinstance(row, str):
        raise UsageError(f"row={row!r} is no name of a row", fix="leave it out")
    return Asked(recipe, check_seed(value["seed"]), check_word(value.get("sequence", 0), "sequence"), row)


class RowLost(UlamError):
    """A row whose tokens, or what it carries, are not what was drawn for it."""


class Row:
    """One row: what it was asked for, what it has drawn, and the error that ended it, if one did.

    recipe     bound to the engine's vocabulary
    prompt     token ids
    generated  tokens that the engine had before this row was known here; their log-probabilities are NaN, and a recipe whose
               state they do not tell makes the row fail (`RowLost`)
    """

    def __init__(self, recipe: Recipe, seed: int, sequence: int, prompt: Sequence[int], generated: Sequence[int] = ()):
        self.recipe, self.seed, self.sequence = recipe, seed, sequence
        self.tokens = list(generated)
        self.history = History(tuple(prompt), self.tokens)
        self.model_log_probs = [float("nan")] * len(self.tokens)
        self.recipe_log_probs = [float("nan")] * len(self.tokens)
        self.states: list[Any] = []
        self.before: list[Any] = []
        self.error: UlamError | None = None
        if any(token < 0 for token in generated):
            self.error = RowLost("the engine does not tell the tokens that a row has already", fix="more memory, or fewer rows at once, so that no row waits")
        elif generated:
            self.begin_again("it was known here only after some tokens")
        else:
            self.states = recipe.init(prompt)

    def begin_again(self, why: str) -> None:
        """Make the state anew from the history; the row fails if its history does not tell it."""
        if self.recipe.chooser.feedback:
            name = self.recipe.chooser.name
            what = f"what {name} carries for a row is lost: {why}"
            self.error = RowLost(what, stage=name, position=len(self.tokens), fix="more memory for the engine, or fewer rows at once, so that no row waits")
        else:
            self.states = self.recipe.init(self.history.prompt, self.tokens)

    def settle(self, count: int, newest: int | None = None) -> None:
        """Go back to the first `count` tokens, which are all that the engine has; `newest` is the last of them, if the engine tells.

        An engine that reads a long prompt in pieces asks for a token after every piece, and keeps the last one only.
        """
        if self.error is not None:
            return
        if count > len(self.tokens) or (count and newest is not None and self.tokens[count - 1] != newest):
            what = f"the engine has {count} tokens of a row, and not the {len(self.tokens)} that were drawn for it"
            self.error = RowLost(what, position=len(self.tokens), fix="leave out what changes tokens after the draw")
        elif count < len(self.tokens):
            last = count == len(self.tokens) - 1
            del self.tokens[count:], self.model_log_probs[count:], self.recipe_log_probs[count:]
            if last and self.before:
                self.states = self.before
            else:
                self.begin_again("the engine threw away several of its tokens")

    @property
    def failed_at(self) -> int | None:
        """The position at which the row has no token, or None."""
        return None if self.error is None else len(self.tokens)


class RowsNoise(PhiloxNoise):
    """The noise of rows that have seeds of their own: the sequence of an address is a row's place, which stands for its seed and its number."""

    def __init__(self, seeds: Sequence[int], sequences: Sequence[int]):
        words = np.asarray(seeds, np.uint64)
        self.low, self.high = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
        self.sequences = np.asarray(sequences, np.uint64)

    def __repr__(self) -> str:
        return f"RowsNoise({len(self.sequences)} rows)"

    def bits(self, address: Address) -> NDArray[np.uint64]:
        place = np.asarray(address.sequence, np.int64)
        return random_bits(Address(self.sequences[place], address.position, address.purpose, address.lane), (self.low[place], self.high[place]))


class Rows:
    """Draws for rows that stand in one batch; what does not change from step to step is kept."""

    def __init__(self) -> None:
        self.live: list[Row] = []
        self.plan = Plan([])
        self.noise = RowsNoise([], [])

    def draw(self, rows: Sequence[Row], z: Array) -> None:
        """One more token for each row, from its logits `z` [len(rows), V] in nats; a row without one has an `error` then.

        All recipes are bound to one vocabulary.
        """
        places = [place for place, row in enumerate(rows) if row.error is None]
        live = [rows[place] for place in places]
        if not live:
            return
        if len(live) != len(self.live) or any(a is not b for a, b in zip(live, self.live, strict=True)):
            self.live, self.plan = live, Plan([row.recipe for row in live])
            self.noise = RowsNoise([row.seed for row in live], [row.sequence for row in live])
        for row in live:
            if row.recipe.chooser.feedback:
                row.before = row.recipe.fork(row.states)
        carried = [row.states for row in live] if any(row.states for row in live) else ()
        drawn = self.plan.draw(
            np.arange(len(live)),
            z if len(live) == len(rows) else take_rows(z, np.asarray(places)),
            Context([row.history for row in live], live[0].recipe.vocabulary, carried),
            self.noise,
            np.arange(len(live), dtype=np.uint64),
            np.asarray([len(row.tokens) for row in live]),
        )
        for place, row in enumerate(live):
            if place in drawn.failures:
                row.error = drawn.failures[place]
            else:
                row.tokens.append(int(drawn.tokens[place]))
                row.model_log_probs.append(float(drawn.model_log_probs[place]))
                row.recipe_log_probs.append(float(drawn.recipe_log_probs[place]))
