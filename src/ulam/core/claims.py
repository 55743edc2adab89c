"""The closed list of claims: laws that a method says it keeps, each tested on every method that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

CLAIMS = {
    "identity": "bitwise the input at the neutral value",
    "shift": "a constant added to the logits changes nothing",
    "shrinks": "only shrinks the support",
    "order": "keeps the order of the tokens",
    "argmax": "keeps the most likely token",
    "nonempty": "never empties a row",
    "relabel": "does not depend on how tokens are numbered (ties aside)",
    "monotone": "nested kept sets, or an ordered entropy, along the first parameter",
    "idempotent": "twice is once",
    "batch": "a row does not depend on its batch, bitwise",
    "history": "does not read the history",
    "fork": "two continuations of one row do not meet",
    "ratios": "kept logits stay as they are, bitwise",
    "scale_free": "commutes with temperature",
    "law": "draws each token with its probability exactly",
    "deterministic": "draws nothing from the noise",
}

BASE = ("identity", "shift", "shrinks", "nonempty", "batch", "history", "fork", "deterministic")
"""What most transforms claim."""


def but(*left_out: str) -> tuple[str, ...]:
    """BASE without some."""
    return tuple(claim for claim in BASE if claim not in left_out)


@dataclass(frozen=True)
class Case:
    """One row worked out by hand: what goes in, the parameters, what comes out.

    given      probabilities (`logits=True`: logits)
    parameters by name; the rest take their defaults
    expect     probabilities (`logits=True`: logits); for a chooser, the token, or the probabilities of its law
    prompt, generated   the history
    u          uniforms that a chooser is given, one or one a token
    state      what the stage carries, if not what its history gives
    ends       end tokens of the vocabulary
    tokens     texts of the tokens, for a method that looks at them; letters if left out
    excludes   the misreading that this row tells apart
    """

    given: Sequence[float | Fraction]
    parameters: dict[str, Any]
    expect: Any
    excludes: str
    prompt: Sequence[int] = ()
    generated: Sequence[int] = ()
    logits: bool = False
    u: float | Sequence[float] | None = None
    state: Any = None
    ends: Sequence[int] = ()
    tokens: Sequence[str] = ()
