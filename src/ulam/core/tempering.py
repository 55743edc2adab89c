"""Tempering: rows of logits divided by a temperature, for every method that finds its temperature in its own way."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array, first_max, is_token, keep, like, namespace, row_max


def tempered(z: Array, T: Any) -> Array:
    """z / T for rows z [B, V], nats; T >= 0, scalar or [B]. T = 0 keeps the first maximum. T > 0 counts as 1e-37 to 1e30."""
    xp = namespace(z)
    given = np.reshape(T, (-1, 1))
    zero = like(z, given == 0, xp.bool)
    # within these ends 1/T is exact enough in float32 for T = 1e-300 not to be 0, and 1e300 not to make ties
    divisor = like(z, np.where(given == 0, 1.0, np.clip(given, 1e-37, 1e30)))
    top = row_max(z)
    # z - max is exact for near floats and never positive, so a tiny T gives -inf and not inf - inf
    shift = top / divisor
    shift = xp.where(xp.isfinite(shift), shift, like(z, 0.0))
    cold = keep(z, is_token(z, first_max(z)))
    return xp.where(zero, cold, (z - top) / divisor + shift)
