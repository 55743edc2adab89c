"""What a stage may look at besides the logits: the history of every row, and the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import NeedsTokenizer
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .method import Stage

Scope: TypeAlias = Literal["prompt", "generated", "all"]


@dataclass(frozen=True)
class History:
    """One row's tokens: `prompt` and what was `generated` since. Padding never appears."""

    prompt: Sequence[int] = ()
    generated: Sequence[int] = ()

    @property
    def position(self) -> int:
        """The number of generated tokens."""
        return len(self.generated)

    def tokens(self, scope: Scope = "all", last: int | None = None) -> NDArray[np.int64]:
        """The tokens of a scope, oldest first; with `last`, only that many of the newest."""
        parts = {"prompt": (self.prompt,), "generated": (self.generated,), "all": (self.prompt, self.generated)}[scope]
        left = sum(map(len, parts)) if last is None else last
        found: list[NDArray[np.int64]] = []
        for part in reversed(parts):
            size = min(left, len(part))
            found.insert(0, np.asarray(part[len(part) - size :], dtype=np.int64))
            left -= size
        return found[0] if len(found) == 1 else np.concatenate(found)


@dataclass(frozen=True)
class Context:
    """The histories of a batch, one a row, and the vocabulary if one is known.

    states  what the stages of each row's recipe carry, by row and by place in the recipe; `place` is that of the stage which looks
    """

    rows: Sequence[History] = field(default_factory=tuple)
    vocabulary: Vocabulary | None = None
    states: Sequence[Sequence[Any]] = ()
    place: int = 0

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Context:
        states = [self.states[int(i)] for i in rows] if self.states else ()
        return Context([self.rows[int(i)] for i in rows], self.vocabulary, states, self.place)

    def at(self, place: int) -> Context:
        """As the stage at this place of the recipe sees it."""
        return Context(self.rows, self.vocabulary, self.states, place) if self.states else self

    def state(self, stage: Stage, b: int) -> Any:
        """What `stage` carries for row b: handed on from step to step, or made from the row's history."""
        return self.states[b][self.place] if self.states else stage.row(b).init(self.rows[b] if self.rows else History())

    @property
    def ends(self) -> tuple[int, ...]:
        """The end tokens. Raises `NeedsTokenizer` where no vocabulary is known."""
        if self.vocabulary is None:
            raise NeedsTokenizer("which tokens end a text is not known here", fix="a model, or recipe.bind(vocabulary)")
        return self.vocabulary.ends
