"""Dola: prefer what the last layer finds likelier than the layer that differs most from it.

Math      f is the model's row of probabilities, q_j those of its output head on the hidden state after j layers; J = argmax of JSD(f, q_j) over
          the layers given, where JSD(p, q) = KL(p || m)/2 + KL(q || m)/2 with m = (p + q)/2, nats. Then contrastive, with f as expert,
          q_J as amateur and weight 1: z = ln f - ln q_J where f >= a max f, masked elsewhere.
Shapes    logits [B, V] nats; J is chosen for every row by itself. layers: numbers from 0 (the embedding) to one below the model's, or
          `even` (0, 2, 4, ...), or `low`, `high`: the even ones of the lower or the upper half. a a ratio of probabilities, [0, 1].
Neutral   none
Edges     of layers that are equally far (slack 2^-40, float32 2^-20) the lowest is taken. All tokens at the threshold of a stay. A token
          masked in f stays masked; one masked in q_J has its least finite value.
Errors    Unsupported for a model without `layer_logits`; OutOfRange for a layer that it does not have, for none, and outside [0, 1].
Cost      the model's row, and its output head once a layer given. A text is scored token by token: layers tell of the newest alone.
Source    Chuang, Xie, Luo, Kim, Glass, He 2023, "DoLa: decoding by contrasting layers improves factuality in large language models",
          arXiv 2309.03883.
Elsewhere transformers: in remote code since 5, with `low` and `high` alone, which begin at layer 2 where embedding and output matrix
          are one and reach over 20 layers at most. There and in the authors' code J is one for the whole batch, the divergence is KL(m || p)/2 +
          KL(m || q)/2, and the output matrix is applied to a hidden state as it is; the built-in model applies its last norm first, without
          which the scale is arbitrary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from fractions import Fraction as F
from typing import Any

import numpy as np

from ...core.arrays import Array, like, namespace, row_sum, slack, take_rows, to_numpy
from ...core.errors import OutOfRange, Unsupported
from ...core.parameter import Parameter, is_id
from ..combination import Combination, Part, PartsCase, number
from ..log_ratios import contrast, log_probs, masked
from ..protocol import LanguageModel

LAYERS = Parameter(
    "layers", False, str, "token", None, ("even", "low", "high"), "even", MISSING, "", "which layers are compared with the last: a word, or numbers", True
)
ALPHA = number("alpha", "[0, 1]", default=0.1, help="least probability that stays, as a fraction of the largest")
PARAMETERS = (LAYERS, ALPHA)


def dola(model: LanguageModel, layers: Sequence[int] | str = LAYERS.default, alpha: float = ALPHA.default) -> Combination:
    """A model that says what `model` says, less what one of its lower layers would have said."""
    alpha = ALPHA.check(alpha, "dola")
    if "layer_logits" not in getattr(model, "capabilities", ()):
        name = getattr(model, "name", repr(model))
        raise Unsupported(f"dola: {name} does not tell what its layers say", fix='a model with "layer_logits" among its capabilities: ulam.load()')
    own: Any = model
    chosen = read_layers(layers, own.layers)

    def rule(rows: Sequence[Array]) -> Array:
        last, *lower = log_probs(rows)
        return contrast(last, farthest(last, lower), alpha, 1)

    return Combination("dola", [Part(model, layers=tuple(chosen))], rule, {"layers": chosen, "alpha": alpha})


def read_layers(layers: Any, count: int) -> list[int]:
    """Layer numbers, ascending, each once. Raises `OutOfRange`."""
    if isinstance(layers, str):
        low, high = {"even": (0, count), "low": (0, count // 2), "high": (count // 2, count)}[LAYERS.check(layers, "dola")]
        layers = [j for j in range(low, high) if j % 2 == 0]
    found = list(layers)
    if not found:
        raise OutOfRange("dola: there is no layer to compare with the last", fix="layers=[0]", stage="dola", parameter="layers")
    for j in found:
        if not is_id(j) or j >= count:
            what = f"dola: layers={j!r} is not a layer below the last: 0 to {count - 1}"
            raise OutOfRange(what, fix=f"layers={list(range(0, count, 2))}", stage="dola", parameter="layers")
    return sorted({int(j) for j in found})


def farthest(last: Array, lower: Sequence[Array]) -> Array:
    """Of log-probabilities of some layers, ascending, for every row those with the largest divergence from `last`."""
    far = np.stack([to_numpy(divergence(last, row))[:, 0] for row in lower])
    chosen = np.argmax(far >= far.max(axis=0) - slack(last), axis=0)  # the first that is as far as any
    rows = far.shape[1]
    return take_rows(namespace(last).concat(list(lower), axis=0), chosen * rows + np.arange(rows))


def divergence(a: Array, b: Array) -> Array:
    """Jensen-Shannon divergence of rows of log-probabilities, nats, [B, 1]."""
    xp = namespace(a)
    p, q = xp.exp(a), xp.exp(b)
    middle = xp.log(p + q) - np.log(2)
    terms = [xp.where(masked(l), like(l, 0.0), weight * (l - middle)) for l, weight in ((a, p), (b, q))]
    return row_sum(terms[0] + terms[1]) / 2


LAST = (F(1, 2), F(3, 10), F(3, 20), F(1, 20))

CASES = (
    PartsCase(
        (LAST, (F(9, 20), F(7, 20), F(1, 10), F(1, 10)), (F(1, 5), F(1, 5), F(3, 10), F(3, 10))),
        {"layers": [0, 1]},
        (F(15, 28), F(9, 28), F(3, 28), F(1, 28)),
        "the nearest layer, 0.008385 and not 0.100514 nats away, or the first",
    ),
    PartsCase(
        (LAST, (F(9, 20), F(7, 20), F(1, 10), F(1, 10)), (F(1, 5), F(1, 5), F(3, 10), F(3, 10))),
        {"layers": [0], "alpha": 0.2},
        (F(140, 437), F(108, 437), F(189, 437), 0),
        "layers that were not given are compared too",
    ),
    PartsCase(
        ((F(1, 4), F(1, 4), F(1, 2)), (F(1, 8), F(3, 8), F(1, 2)), (F(3, 8), F(1, 8), F(1, 2))),
        {"layers": [1, 0]},
        (F(6, 11), F(2, 11), F(3, 11)),
        "of two layers equally far the higher one, or the first as given",
    ),
    PartsCase(((F(1, 2), F(1, 2), 0), (F(3, 4), 0, F(1, 4))), {"layers": [0]}, (F(1, 4), F(3, 4), 0), "a token that the layer masks gets everything"),
)
