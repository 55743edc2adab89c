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
        if scope == "prompt":
            whole: Sequence[int] = self.prompt
        elif scope == "generated":
            whole = self.generated
        else:
            need = None if last is None else max(0, last - len(self.generated))
            whole = [*(self.prompt if need is None else self.prompt[len(self.prompt) - min(need, len(self.prompt)) :]), *self.generated]
        if last is not None:
            whole = whole[max(0, len(whole) - last) :]
        return np.asarray(whole, dtype=np.int64)


@dataclass(frozen=True)
class Context:
    """The histories of a batch, one a row, and the vocabulary if one is known."""

    rows: Sequence[History] = field(default_factory=tuple)
    vocabulary: Vocabulary | None = None

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Context:
        return Context([self.rows[int(i)] for i in rows], self.vocabulary)
