"""Arrays: rows of logits in any library, and reductions whose bits depend on the row alone.

Transforms are written once against the Python array API standard (`array-api-compat`), so one file runs
on NumPy, on torch on any device, and on whatever else follows the standard. A plain library sum chooses
its order of addition by shape, strides and thread count; the sums here do not. `row_sum` adds halves
of the row elementwise, so its order is a function of the row's length alone, on every library.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array  # pyright: ignore[reportUnknownVariableType]

Array: TypeAlias = Any
"""A NumPy array, a torch tensor, or another array of the Python array API standard."""

SLACK = {"float64": 2.0**-40, "float32": 2.0**-20}
"""delta, the slack of a comparison between computed quantities, in favour of keeping a token."""


def namespace(x: Array) -> Any:
    """The array API namespace of `x`."""
    return numpy_namespace() if type(x) is np.ndarray else array_namespace(x)


@cache
def numpy_namespace() -> Any:
    """NumPy: from 2.1 on it speaks the standard itself; the wrapper for older ones takes as long to import as NumPy."""
    if hasattr(np, "__array_api_version__"):
        return np
    from array_api_compat import numpy

    return numpy


def dtype_name(x: Array) -> str:
    """`float32`, `float64`, `bfloat16`, ... whatever the library."""
    return str(x.dtype).rsplit(".", 1)[-1]


def slack(x: Array) -> float:
    """The slack for the type of `x`."""
    return SLACK[dtype_name(x)]


def is_array(x: object) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape")


def as_logits(x: Any) -> Array:
    """`x` as contiguous logits in float32 or float64, on its own device; half precision becomes float32.

    Lists and NumPy integers become float64. The argument is never written to.
    """
    if not is_array(x):
        x = np.asarray(x, dtype=np.float64)
    xp = namespace(x)
    if dtype_name(x) not in SLACK:
        x = xp.astype(x, xp.float32 if dtype_name(x) in ("float16", "bfloat16") else xp.float64)
    if is_numpy_array(x):
        return np.asarray(x, order="C")
    return x.contiguous() if hasattr(x, "contiguous") else x


def to_numpy(x: Array) -> np.ndarray[Any, Any]:
    """`x` as a NumPy array on the host."""
    if is_numpy_array(x):
        return x
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def like(x: Array, values: Any, dtype: Any = None) -> Array:
    """`values` as an array of the library, the device and (unless given) the type of `x`."""
    return namespace(x).asarray(values, dtype=dtype or x.dtype, device=device(x))


def column(value: Any, z: Array) -> Array | float:
    """A parameter, scalar or [B], in a shape that broadcasts against rows `z` [B, V]."""
    if isinstance(value, (int, float)):
        return float(value)
    return like(z, value)[:, None]


def neg_inf(z: Array) -> Array:
    """Minus infinity as an array that broadcasts against `z`."""
    return like(z, -np.inf)


def keep(z: Array, mask: Array) -> Array:
    """K(S): the logits of the tokens in `mask`, bit for bit, and `-inf` elsewhere."""
    return namespace(z).where(mask, z, neg_inf(z))


def support(z: Array) -> Array:
    """The tokens that are not forbidden: `z > -inf`."""
    return z > neg_inf(z)


def row_max(z: Array) -> Array:
    """Maximum of every row, [B, 1]. A maximum has no rounding, so any order gives the same bits."""
    return namespace(z).max(z, axis=-1, keepdims=True)


def row_sum(x: Array) -> Array:
    """Sum of every row, [B, 1]: the upper half is added to the lower until one number is left."""
    xp = namespace(x)
    n = x.shape[-1]
    while n > 1:
        half = (n + 1) // 2
        rest = x[..., half:n]
        added = x[..., : n - half] + rest
        x = xp.concat([added, x[..., half - 1 : half]], axis=-1) if n % 2 else added
        n = half
    return x


def softmax(z: Array) -> Array:
    """Probabilities of rows of logits, in the type of the row. A row must have a finite entry."""
    xp = namespace(z)
    weight = xp.exp(z - row_max(z))
    return weight / row_sum(weight)


def log_softmax(z: Array) -> Array:
    """Log-probabilities of rows of logits, nats; `-inf` stays `-inf`."""
    xp = namespace(z)
    shifted = z - row_max(z)
    return shifted - xp.log(row_sum(xp.exp(shifted)))


def entropy(log_probs: Array) -> Array:
    """Entropy of every row in nats, [B, 1]; 0 log 0 is 0."""
    xp = namespace(log_probs)
    finite = xp.where(support(log_probs), log_probs, like(log_probs, 0.0))
    return xp.abs(row_sum(finite * xp.exp(log_probs)))


def sort_down(z: Array) -> Array:
    """Every row from its largest value to its smallest, contiguous."""
    return -namespace(z).sort(-z, axis=-1)


def reach(weights: Array, share: Any, delta: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many of the first tokens of every row reach `share` (scalar or [B]) of its mass, [B, 1]; `delta` is the slack.

    The running sum is float64, one token after the other, on the host, where draws are made too: a device's own scan
    may add in another order for another batch.
    """
    mass = np.cumsum(to_numpy(weights).astype(np.float64), axis=-1)
    return (mass < np.reshape(share, (-1, 1)) * mass[:, -1:] * (1 - delta)).sum(axis=-1, keepdims=True) + 1


def upper_set(values: Array, count: Array | int, ranked: Array = None) -> Array:
    """Mask of the first `count` (at least 1) tokens by value, largest first, ties by id: `values` [B, V], `count` [B, 1].

    `ranked` is `sort_down(values)`, if it is at hand.
    """
    xp = namespace(values)
    ranked = sort_down(values) if ranked is None else ranked
    count = xp.clip(like(values, count, xp.int64), 1, values.shape[-1]) + xp.zeros((values.shape[0], 1), dtype=xp.int64, device=device(values))
    edge = xp.take_along_axis(ranked, count - 1, axis=-1)
    above, tied = values > edge, values == edge
    left = count - xp.sum(xp.astype(above, xp.int64), axis=-1, keepdims=True)
    return above | (tied & (xp.cumulative_sum(xp.astype(tied, xp.int64), axis=-1) <= left))


def first_max(z: Array) -> Array:
    """The lowest id of a maximum in every row, [B]."""
    return namespace(z).argmax(z, axis=-1)


def is_token(z: Array, ids: Array) -> Array:
    """Mask [B, V] of one token per row; `ids` [B]."""
    xp = namespace(z)
    return xp.arange(z.shape[-1], device=device(z))[None, :] == ids[:, None]


def take_rows(z: Array, rows: Any) -> Array:
    return z[like(z, rows, namespace(z).int64)]


def take_columns(z: Array, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The entry `ids[b]` of every row b: [B], NumPy float64."""
    xp = namespace(z)
    return to_numpy(xp.take_along_axis(z, like(z, ids, xp.int64)[:, None], axis=-1)[:, 0]).astype(np.float64)


def finite_rows(z: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows a token can be drawn from: no NaN, no +inf, at least one finite entry. Bool [B], NumPy."""
    return np.isfinite(to_numpy(namespace(z).max(z, axis=-1)))  # a maximum passes NaN on
