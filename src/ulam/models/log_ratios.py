"""What combinators do with rows: log-probabilities of several models, and differences of them that stay finite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from array_api_compat import device

from ..core.arrays import Array, as_logits, is_numpy_array, like, log_softmax, namespace, neg_inf, row_max, slack, to_numpy


def log_probs(rows: Sequence[Array], temperatures: Sequence[float] = ()) -> list[Array]:
    """Log-softmax rows [B, V] of every model's logits, nats: NumPy float64, or in the library, device and type of the first."""
    found: list[Array] = []
    for k, row in enumerate(rows):
        z = as_logits(row)
        if is_numpy_array(z):
            z = z.astype(np.float64, copy=False)
        if found and (namespace(z) is not namespace(found[0]) or z.dtype != found[0].dtype or device(z) != device(found[0])):
            z = like(found[0], to_numpy(z))
        if k < len(temperatures) and temperatures[k] != 1:
            z = (z - row_max(z)) / temperatures[k]
        found.append(log_softmax(z))
    return found


def masked(z: Array) -> Array:
    """The tokens that are impossible. NaN is not among them: it goes on, and the row fails."""
    return z == neg_inf(z)


def floored(z: Array) -> Array:
    """A row that is subtracted: its impossible tokens have its least finite value."""
    xp = namespace(z)
    least = xp.min(xp.where(masked(z), like(z, np.inf), z), axis=-1, keepdims=True)
    return xp.where(masked(z), least, z)


def moved(base: Array, up: Array, down: Array, weight: float) -> Array:
    """base + weight (up - down), log-probabilities [B, V].

    The one that is subtracted (`down`, or `up` if the weight is negative) is floored; a token masked in the others is masked.
    """
    return base + weight * (up - floored(down) if weight > 0 else floored(up) - down)


def contrast(expert: Array, amateur: Array, alpha: float, weight: float) -> Array:
    """expert - weight amateur on the tokens whose probability is at least alpha of the expert's largest, else masked."""
    z = expert - weight * floored(amateur)
    return z if alpha == 0 else namespace(z).where(expert - row_max(expert) < np.log(alpha) - slack(expert), neg_inf(z), z)
