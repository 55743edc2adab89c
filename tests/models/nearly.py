"""Logits that two backends share up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

TOLERANCE = 2e-4  # of a logit; logits are up to 5, and both sides round to float32


def near(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)
