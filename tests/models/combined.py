"""Combinators for tests: small parts that say given rows, a table with layers, and what every combination must say, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from tests.models.counted import irregular
from ulam.core.vocabulary import Vocabulary
from ulam.models import IID, Table, alphabet, context_aware, contrastive, dola, ensemble, guidance, proxy
from ulam.models.combination import Combination
from ulam.models.prefixes import Prefix, PrefixState
from ulam.models.table import Probs

Row = Sequence[Any]
ABC = alphabet("abc")


class Layered(Table):
    """A table whose layers are tables too: `lower` are those of layer 0, 1, ..."""

    capabilities = frozenset({"batch_invariant", "layer_logits"})

    def __init__(self, lower: Sequence[Table], *args: Any, **more: Any):
        super().__init__(*args, **more)
        self.lower, self.layers = lower, len(lower)

    def layer_logits(self, state: PrefixState, layers: Sequence[int]) -> Any:
        state.check()
        return np.stack([self.lower[j]._read(state.rows) for j in layers])


def says(row: Row) -> IID:
    return IID(tuple(row))


def after(main: Row, other: Row) -> Table:
    """`main` after nothing, `other` after its first token and whatever comes then."""
    return Table({(): tuple(main)}, says(main).vocabulary, otherwise=tuple(other))


def layered(row: Row, *lower: Row) -> Layered:
    return Layered([says(each) for each in lower], {}, says(row).vocabulary, otherwise=tuple(row))


MAKE: dict[str, Callable[..., Combination]] = {
    "context_aware": lambda rows, **more: context_aware(after(rows[1], rows[0]), "a", **more),
    "contrastive": lambda rows, **more: contrastive(*map(says, rows), **more),
    "dola": lambda rows, **more: dola(layered(*rows), **more),
    "ensemble": lambda rows, **more: ensemble([*map(says, rows)], **more),
    "guidance": lambda rows, **more: guidance(after(*rows), negative="a", **more),
    "proxy": lambda rows, **more: proxy(*map(says, rows), **more),
}
"""The combinator of a name, made of parts that say `rows` when nothing has been read: the rows of a `PartsCase`."""


def said(model: Any, prefix: Sequence[int] = ()) -> list[float]:
    """Probabilities of the next token."""
    z = np.asarray(model.prefill([prefix])[1][0], np.float64)
    weight = np.exp(z - z.max())
    return (weight / weight.sum()).tolist()


# what must come out: probabilities by powers and quotients, no logarithms of rows


def shares(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def least(row: Row) -> list[float]:
    """A row that is divided by: 0 becomes its smallest number."""
    smallest = min(p for p in row if p > 0)
    return [float(p) if p > 0 else float(smallest) for p in row]


def plain_guidance(main: Row, other: Row, scale: float = 1.5) -> list[float]:
    if scale > 1:
        return shares([p**scale / n ** (scale - 1) for p, n in zip(map(float, main), least(other), strict=True)])
    if scale == 1:
        return shares([float(p) for p in main])
    return shares([(p > 0) * float(p) ** scale * float(n) ** (1 - scale) for p, n in zip(main, other, strict=True)])


def plain_context_aware(aware: Row, without: Row, alpha: float = 0.5) -> list[float]:
    return shares([float(p) * (float(p) / q) ** alpha for p, q in zip(aware, least(without), strict=True)])


def plain_contrastive(expert: Row, amateur: Row, alpha: float = 0.1, weight: float = 1, amateur_temperature: float = 1) -> list[float]:
    cooled = least(shares([float(q) ** (1 / amateur_temperature) for q in amateur]))
    cut = alpha * float(max(expert)) * (1 - 1e-12)  # a token at the threshold stays
    return shares([float(p) / q**weight if float(p) >= cut else 0 for p, q in zip(expert, cooled, strict=True)])


def plain_proxy(base: Row, expert: Row, anti: Row, alpha: float = 1) -> list[float]:
    if alpha < 0:
        return plain_proxy(base, anti, expert, -alpha)
    if alpha == 0:
        return shares([float(p) for p in base])
    return shares([float(p) * (float(e) / n) ** alpha for p, e, n in zip(base, expert, least(anti), strict=True)])


def plain_ensemble(*rows: Row, weights: Sequence[float] | None = None, mode: str = "product") -> list[float]:
    w = shares([1.0] * len(rows) if weights is None else weights)
    columns = list(zip(*rows, strict=True))
    if mode == "mixture":
        return [math.fsum(share * float(p) for share, p in zip(w, column, strict=True)) for column in columns]
    return shares([math.prod(float(p) ** share for share, p in zip(w, column, strict=True)) for column in columns])  # 0.0 ** 0 is 1


def plain_divergence(p: Row, q: Row) -> float:
    return math.fsum(a * math.log(2 * a / (a + b)) / 2 for x, y in zip(p, q, strict=True) for a, b in ((float(x), float(y)), (float(y), float(x))) if a > 0)


def plain_dola(last: Row, *lower: Row, layers: Sequence[int] | None = None, alpha: float = 0.1) -> list[float]:
    candidates = range(0, len(lower), 2) if layers is None else sorted(layers)
    far = {j: plain_divergence(last, lower[j]) for j in candidates}
    chosen = next(j for j in candidates if far[j] >= max(far.values()) - 1e-12)
    return plain_contrastive(last, lower[chosen], alpha)


PLAIN: dict[str, Callable[..., list[float]]] = {
    "context_aware": plain_context_aware,
    "contrastive": plain_contrastive,
    "dola": plain_dola,
    "ensemble": plain_ensemble,
    "guidance": plain_guidance,
    "proxy": plain_proxy,
}


# parts whose rows differ after every prefix


def restless(number: int, vocabulary: Vocabulary = ABC) -> Table:
    """A table whose every row is another; equal numbers, equal tables."""

    @cache
    def row(prefix: Prefix) -> list[float]:
        return irregular((number, *prefix), len(vocabulary))

    return Table({}, vocabulary, otherwise=row, name=f"restless {number}", fingerprint=str(number))


def restless_layers(vocabulary: Vocabulary = ABC) -> Layered:
    top = restless(1, vocabulary)
    return Layered([restless(number, vocabulary) for number in (2, 3, 4, 5)], {}, vocabulary, otherwise=top._function, fingerprint="layers")


RESTLESS: dict[str, Callable[[Vocabulary], Combination]] = {
    "context_aware": lambda v: context_aware(restless(1, v), [1, 0], 0.7),
    "contrastive": lambda v: contrastive(restless(1, v), restless(2, v), 0.2, 0.8, 0.7),
    "dola": lambda v: dola(restless_layers(v), [0, 1, 3]),
    "ensemble": lambda v: ensemble([restless(1, v), restless(2, v), restless(3, v)], [1, 2, 3]),
    "mixture": lambda v: ensemble([restless(1, v), restless(2, v)], mode="mixture"),
    "guidance": lambda v: guidance(restless(1, v), 2.5, [1, 0], prompt=[0]),
    "proxy": lambda v: proxy(restless(1, v), restless(2, v), restless(3, v), -0.6),
}


def row_of(number: int, prefix: Prefix, vocabulary: Vocabulary = ABC) -> Probs:
    return restless(number, vocabulary).probs(prefix)


def expected_row(name: str, prefix: Prefix) -> list[float]:
    """What a combination of `RESTLESS` on `ABC` says after a prefix, in plain Python."""
    one, two, three = (row_of(number, prefix) for number in (1, 2, 3))
    return {
        "context_aware": lambda: plain_context_aware(row_of(1, (1, 0, *prefix)), one, 0.7),
        "contrastive": lambda: plain_contrastive(one, two, 0.2, 0.8, 0.7),
        "dola": lambda: plain_dola(one, two, three, row_of(4, prefix), row_of(5, prefix), layers=[0, 1, 3]),
        "ensemble": lambda: plain_ensemble(one, two, three, weights=[1, 2, 3]),
        "mixture": lambda: plain_ensemble(one, two, mode="mixture"),
        "guidance": lambda: plain_guidance(row_of(1, (0, *prefix)), row_of(1, (1, 0, *prefix)), 2.5),
        "proxy": lambda: plain_proxy(one, two, three, -0.6),
    }[name]()
