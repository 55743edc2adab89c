"""A tiny checkpoint on disk for the tests of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gguf_tiny import write_gguf
from tests.tiny import open_llama, write_tiny
from ulam.models.builtin import Llama

if TYPE_CHECKING:
    from ulam.models.llama_cpp import LlamaCpp


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Llama:
    return open_llama(tiny_folder)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a GGUF file, which proposes a temperature."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", settings={"general.sampling.temp": 0.7})


@pytest.fixture(scope="session")
def tiny_llama_cpp(tiny_gguf: Path) -> LlamaCpp:
    from ulam.models.llama_cpp import LlamaCpp

    return LlamaCpp(tiny_gguf, "tiny.gguf", threads=1)
