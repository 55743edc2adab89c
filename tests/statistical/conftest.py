"""The built-in model, opened once."""

from __future__ import annotations

import pytest

import ulam


@pytest.fixture(scope="session")
def stories() -> ulam.LanguageModel:
    return ulam.load()
