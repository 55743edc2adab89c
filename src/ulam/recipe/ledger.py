"""The ledger: what every stage of a recipe did to one row of logits, in numbers that add up.

P0 is the distribution of the row as it came, Pk the one after stage k, Sk what it leaves possible. A stage with a coin has as its Pk the mixture
over what the coin may say. `categorical` and `gumbel_max` have no row, because what they draw from is the row before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import to_numpy
from ..core.categorical import Categorical
from ..core.method import Stage
from ..core.vocabulary import Vocabulary
from ..render.columns import columns
from ..render.numbers import bits, probability

MOST_REMOVED = 20


@dataclass(frozen=True)
class Entry:
    """One row of a ledger. Probabilities are of the token that comes next; `model` for the row as it came.

    at             `model`, or the stage as it is written
    kept           tokens that are still possible
    removed        tokens that this stage made impossible
    removed_prob   their mass before it
    moved_prob     half the sum of |P(v) / (1 - removed_prob) - P'(v)| over what stays: mass that went from one of them to another
    tv_from_model  total variation from the model's distribution
    entropy_bits   of what is left
    top            the most likely token and its probability; ties to the lower id
    watched        probability of every watched token; None where it is impossible
    removed_tokens those removed here, id and probability before, most likely first, at most 20
    changed        whether anything changed, to the bit
    """

    at: str
    kept: int
    removed: int
    removed_prob: float
    moved_prob: float
    tv_from_model: float
    entropy_bits: float
    top: tuple[int, float]
    watched: dict[int, float | None]
    removed_tokens: tuple[tuple[int, float], ...]
    changed: bool

    @property
    def choices(self) -> float:
        """As many equally likely tokens would be as uncertain."""
        return 2**self.entropy_bits


@dataclass(frozen=True)
class Ledger:
    """What each stage kept, removed and moved, in order; the first row is the model's."""

    rows: tuple[Entry, ...]
    vocabulary: Vocabulary | None = None

    def removed_by(self, token: int) -> str | None:
        """The stage that made a watched token impossible, as it is written; None if it still is possible, or never was."""
        alive = [row.watched[token] is not None for row in self.rows]
        return next((row.at for row, before, now in zip(self.rows[1:], alive, alive[1:], strict=False) if before and not now), None)

    def __str__(self) -> str:
        watched = list(self.rows[0].watched)
        table = [("", "kept", "removed", "moved", "entropy", "most likely", *map(self.show, watched), "")]
        for row in self.rows:
            first = row.at == "model"
            table.append(
                (
                    row.at,
                    f"{row.kept:,}".replace(",", "\u2009"),
                    "" if first else probability(row.removed_prob),
                    "" if first else probability(row.moved_prob),
                    bits(row.entropy_bits, unit=True),
                    f"{self.show(row.top[0])} {probability(row.top[1])}",
                    *("✕" if p is None else probability(p) for p in row.watched.values()),
                    "" if row.changed else "changed nothing here",
                )
            )
        return columns(table, 10**6).rstrip("\n")

    def show(self, token: int) -> str:
        return str(token) if self.vocabulary is None else self.vocabulary.show(token)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; probabilities under names that end in `_prob`, entropies in bits."""
        return {
            "rows": [
                {
                    "at": row.at,
                    "kept": row.kept,
                    "removed": row.removed,
                    "removed_prob": row.removed_prob,
                    "moved_prob": row.moved_prob,
                    "tv_from_model": row.tv_from_model,
                    "entropy_bits": row.entropy_bits,
                    "choices": row.choices,
                    "top": {"id": row.top[0], "prob": row.top[1]},
                    "watched": [{"id": token, "prob": p} for token, p in row.watched.items()],
                    "removed_tokens": [{"id": token, "prob": p} for token, p in row.removed_tokens],
                    "changed": row.changed,
                }
                for row in self.rows
            ]
        }


def ledger(stages: Sequence[Stage], law: Callable[[int], Categorical], watch: Sequence[int], vocabulary: Vocabulary | None) -> Ledger:
    """The ledger of a row. `law(k)` is the distribution after the first k stages, `law(0)` the model's."""
    rows: list[Entry] = []
    logs: list[NDArray[np.float64]] = []
    for k in range(len(stages) + 1):
        logs.append(to_numpy(law(k).log_probs).astype(np.float64))
        rows.append(entry("model" if k == 0 else str(stages[k - 1]), logs[0], logs[max(k - 1, 0)], logs[k], watch))
    return Ledger(tuple(rows), vocabulary)


def entry(at: str, model: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64], watch: Sequence[int]) -> Entry:
    """One row, from log-probabilities [V]."""
    p, q = np.exp(before), np.exp(after)
    gone = (before > -np.inf) & (after == -np.inf)
    removed = float(p[gone].sum())
    stays = after > -np.inf
    left = p[stays].sum()
    moved = 0.5 * float(np.abs(p[stays] / left - q[stays]).sum()) if left > 0 else 1.0
    order = [int(i) for i in np.argsort(-p, kind="stable") if gone[i]][:MOST_REMOVED] if gone.any() else []
    best = int(np.argmax(after))
    return Entry(
        at=at,
        kept=int(stays.sum()),
        removed=int(gone.sum()),
        removed_prob=removed,
        moved_prob=moved if moved > 1e-12 else 0.0,
        tv_from_model=0.5 * float(np.abs(np.exp(model) - q).sum()),
        entropy_bits=abs(float((q[stays] * after[stays]).sum())) / float(np.log(2.0)),
        top=(best, float(q[best])),
        watched={token: float(q[token]) if stays[token] else None for token in watch},
        removed_tokens=tuple((token, float(p[token])) for token in order),
        changed=at == "model" or not np.array_equal(before, after),
    )
