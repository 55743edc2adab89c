"""Ensemble: several models as one, by the product or the mixture of their probabilities.

Math      w = weights / sum. product: z = sum of w_k l^k, the geometric mean of the probabilities; mixture: z = ln of the sum of w_k p^k,
          the arithmetic mean. Normalised at every token: neither is the product or the mixture of the laws of whole texts.
Shapes    logits [B, V] nats; weights, a number [0, inf) a model, not all 0. All models read the same text.
Neutral   one model whose weight is not 0: its logits, bit for bit
Edges     a model of weight 0 is not run. product: a token masked in any model is masked. mixture: one that is masked in all of them; no
          model is the main one, so what a single model masks, even the first, may come from the others.
Errors    OutOfRange for weights or a mode that do not exist; UsageError for no model or another number of weights;
          VocabularyMismatch, also of a model of weight 0.
Cost      a row of each model. The context is the shortest one.
Source    Hinton 2002, "Training products of experts by minimizing contrastive divergence", Neural Computation 14 (products).
Elsewhere no engine, token by token; genlm multiplies the laws of whole texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from fractions import Fraction as F
from functools import reduce
from math import fsum, log

import numpy as np

from ...core.arrays import Array, like, namespace
from ...core.errors import OutOfRange, UsageError
from ...core.parameter import Parameter
from ..combination import Combination, Part, PartsCase, number, one_vocabulary
from ..log_ratios import log_probs
from ..protocol import LanguageModel

WEIGHT = number("weights", "[0, inf)", default=1.0, help="of a model; only their ratios matter")
MODE = Parameter("mode", False, str, "token", None, ("product", "mixture"), "product", MISSING, "", "geometric or arithmetic mean of the probabilities", True)
PARAMETERS = (WEIGHT, MODE)


def ensemble(models: Sequence[LanguageModel], weights: Sequence[float] | None = None, mode: str = MODE.default) -> Combination:
    """A model whose probabilities are a mean of those of `models`, equal weights if none are given."""
    mode = MODE.check(mode, "ensemble")
    models = list(models)
    if not models:
        raise UsageError("ensemble: there is no model", fix="ensemble([first, second])")
    one_vocabulary("ensemble", models)
    given = [WEIGHT.check(weight, "ensemble") for weight in ([1.0] * len(models) if weights is None else weights)]
    if len(given) != len(models):
        raise UsageError(f"ensemble: {len(given)} weights for {len(models)} models", fix="a weight for each model")
    if not any(given):
        raise OutOfRange("ensemble: all weights are 0", fix="one of them larger", stage="ensemble", parameter="weights")
    live = [(model, weight / max(given)) for model, weight in zip(models, given, strict=True) if weight]  # a sum of huge weights is infinite
    shares = [weight / fsum(weight for _, weight in live) for _, weight in live]

    def rule(rows: Sequence[Array]) -> Array:
        if len(rows) == 1:
            return rows[0]
        parts = log_probs(rows)
        if mode == "product":
            return reduce(lambda total, part: total + part, (share * l for share, l in zip(shares, parts, strict=True)))
        return log_sum([log(share) + l for share, l in zip(shares, parts, strict=True)])

    return Combination("ensemble", [Part(model) for model, _ in live], rule, {"weights": shares, "mode": mode})


def log_sum(parts: Sequence[Array]) -> Array:
    """ln of the sum of exp, entry by entry, in the order of the parts."""
    xp = namespace(parts[0])
    top = reduce(xp.maximum, parts)
    level = xp.where(top == -np.inf, like(top, 0.0), top)
    return level + xp.log(reduce(lambda total, part: total + part, (xp.exp(part - level) for part in parts)))


ROWS = ((F(1, 2), F(3, 10), F(3, 20), F(1, 20)), (F(1, 10), F(1, 5), F(3, 10), F(2, 5)))

CASES = (
    PartsCase(ROWS, {"mode": "product"}, (0.27199161366470, 0.29795188451278, 0.25803390109351, 0.17202260072901), "the product itself, weights not divided"),
    PartsCase(ROWS, {"mode": "mixture"}, (F(3, 10), F(1, 4), F(9, 40), F(9, 40)), "a mean of logarithms"),
    PartsCase(
        ROWS, {"mode": "mixture", "weights": (6, 2)}, (F(2, 5), F(11, 40), F(3, 16), F(11, 80)), "weights that are not divided by their sum, or equal ones"
    ),
    PartsCase(((F(1, 2), F(1, 2), 0), (F(1, 4), 0, F(3, 4))), {"mode": "mixture"}, (F(3, 8), F(1, 4), F(3, 8)), "what the first model masks stays masked"),
    PartsCase(((F(1, 2), F(1, 4), F(1, 4)), (F(1, 4), 0, F(3, 4))), {"weights": (1, 0)}, (F(1, 2), F(1, 4), F(1, 4)), "a model of weight 0 masks a token"),
)
