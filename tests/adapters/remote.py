"""What the tests of remote models share: a table that a fake server answers from, and an engine that draws here from what it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx")

from ulam.adapters.load import load
from ulam.models import alphabet
from ulam.models.table import Markov

from .fake_server import Fake

KEY = "sk-very-secret-0123456789"


def table() -> Markov:
    """Seven tokens, the last one ends; the most likely one after each token is another, and a tail is never shown."""
    vocabulary = alphabet("abcdef", end="~")
    weights = np.array([0.34, 0.23, 0.15, 0.11, 0.08, 0.05, 0.04])
    rows: dict[tuple[int, ...], Any] = {(i,): np.roll(weights, i).tolist() for i in range(7)}
    return Markov(1, {(): weights.tolist(), **rows}, vocabulary, name="table")


def here(fake: Fake, **options: Any) -> Any:
    return load(fake.url, draws="here", ends=["~"], **{"shown": 4, **options})
