"""Which stages may change places without changing the law: temperature above zero, up to rounding, ties aside.

Each rule is an identity, and the tests run it on random rows. What is not listed does not commute.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import UlamError
from ...core.method import Stage
from ...core.vocabulary import Vocabulary
from ...methods.transforms.min_p import MinP
from ..recipe import Recipe

ADDITIVE = frozenset({"logit_bias", "sequence_bias", "presence_penalty", "frequency_penalty", "dry", "green_list"})
"""Stages that add a number to a logit that does not depend on any logit."""

PAIRS = frozenset(
    map(
        frozenset[str],
        [
            ("temperature", "top_k"),  # a division keeps the order
            ("temperature", "top_n_sigma"),  # the maximum and the deviation both scale
            ("temperature", "length_decay"),  # it adds a multiple of a logit's own size
            ("top_k", "min_p"),  # both keep the first of one order, and min_p compares with the first of all
            ("smoothing", "top_k"),  # elementwise about the maximum, which stays, and never decreasing
        ],
    )
)

SAME = frozenset({"temperature", "top_k", "min_p"})
"""Stages of which two commute with each other."""


def commute(a: Stage, b: Stage) -> bool:
    """Whether `a b` and `b a` are equal in law."""
    kinds, names = {a.kind, b.kind}, frozenset((a.name, b.name))
    if "constraint" in kinds:  # one touches who is in the race, the other how each of them stands
        other = a if b.kind == "constraint" else b
        return other.kind == "constraint" or elementwise(other)
    if names <= ADDITIVE or names in PAIRS:
        return True
    if len(names) == 1:
        return a.name in SAME
    return "temperature" in names and any(each.name == "repetition_penalty" and elementwise(each) for each in (a, b))  # it reads a sign


def elementwise(stage: Stage) -> bool:
    """Whether the new logit of a token depends on its own old one only, up to a constant a row, and `-inf` stays."""
    if stage.name == "repetition_penalty":
        return getattr(stage, "on", None) == "logits"
    return stage.name in ADDITIVE or stage.name in ("temperature", "length_decay")


def merged(a: Stage, b: Stage) -> Stage | None:
    """One stage that does what `a` and then `b`, of the same method, do; None if there is none."""
    build: Any = type(a)
    x, y = vars(a), vars(b)
    if any(a.scheduled) or any(b.scheduled):
        return None
    match a.name:
        case "temperature":
            return build(x["T"] * y["T"])
        case "top_k":
            return build(min(x["k"], y["k"]))
        case "min_p":
            return build(max(x["a"], y["a"]))
        case "ban_tokens":
            return build([*x["tokens"], *y["tokens"]])
        case _:
            return None


def tempered(min_p: Stage, T: float) -> MinP:
    """The min_p that does after `temperature=T` what `min_p` does before it: p >= a p_max is z - max >= ln a, and all differences are divided by T."""
    a: float = vars(min_p)["a"]
    return MinP(a ** (1 / T) if a > 0 else 0.0)


EXAMPLES = (
    (0.30, 0.20, 0.15, 0.10, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01),
    (0.45, 0.25, 0.12, 0.08, 0.04, 0.03, 0.02, 0.005, 0.003, 0.002),
    (0.62, 0.11, 0.09, 0.07, 0.05, 0.03, 0.01, 0.01, 0.005, 0.005),
)
LETTERS = Vocabulary([*(bytes([97 + i]) for i in range(9)), b""], names={9: "<end>"}, ends=[9], encode=lambda text: [ord(each) - 97 for each in text])


def apart(a: Stage, b: Stage) -> str:
    """What the two orders do to an example row on which they differ most, in words; an empty text if they agree on all examples."""
    worst, words = 1e-6, ""
    for row in EXAMPLES:
        try:
            first, second = (Recipe(order).bind(LETTERS).distribution(np.log(row), [2, 0], [1, 0, 1, 2]).probs for order in ((a, b), (b, a)))
        except UlamError:  # a token that the example does not have, or a row without one
            continue
        distance = 0.5 * float(np.abs(first - second).sum())
        if distance > worst:
            worst = distance
            kept = [int((p > 0).sum()) for p in (first, second)]
            what = f"{kept[1]} tokens are kept instead of {kept[0]}" if kept[0] != kept[1] else f"the first token has {second[0]:.3f} instead of {first[0]:.3f}"
            words = f"on an example row {what}, total variation {distance:.2f}"
    return words
