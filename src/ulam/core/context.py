"""What a stage may look at besides the logits: the history of every row, and the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .vocabulary import Vocabulary

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
    """The histories of a batch, one a row, and the vocabulary if one is known."""

    rows: Sequence[History] = field(default_factory=tuple)
    vocabulary: Vocabulary | None = None

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Context:
        return Context([self.rows[int(i)] for i in rows], self.vocabulary)
