"""A tiny checkpoint on disk for the tests of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import open_llama, write_tiny
from ulam.models.builtin import Llama


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Llama:
    return open_llama(tiny_folder)
