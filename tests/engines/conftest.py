"""Real engines on a tiny checkpoint. `tests/engines/run` makes their environment; where it is missing, these tests are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ulam.models.builtin import Llama

from ..tiny import open_llama, write_tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose heads have 64 entries: less than 32 is too little for vLLM on a CPU."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def model(folder: Path) -> Llama:
    """The same checkpoint, computed by NumPy."""
    return open_llama(folder)


@pytest.fixture(scope="session")
def engine(folder: Path) -> Any:
    """vLLM with room for everything."""
    pytest.importorskip("vllm")
    from ulam.adapters.vllm_engine import open_engine

    return open_engine(folder, "tiny", dtype="float32", enforce_eager=True, kv_cache_memory_bytes=1 << 28)


@pytest.fixture(scope="session")
def tight(folder: Path) -> Any:
    """vLLM that reads prompts in pieces of 32 tokens, and whose cache has room for three of six long rows."""
    pytest.importorskip("vllm")
    from vllm import LLM

    from ulam.adapters.vllm_engine import VLLMEngine, in_process
    from ulam.adapters.vllm_plugin import RecipeProcessor, installed

    with in_process():
        llm = LLM(
            str(folder),
            dtype="float32",
            enforce_eager=True,
            max_num_batched_tokens=32,
            num_gpu_blocks_override=7,
            kv_cache_memory_bytes=1 << 28,
            max_logprobs=-1,
            logits_processors=[] if installed() else [RecipeProcessor],
            disable_log_stats=False,
        )
    return VLLMEngine(llm, "tight")
