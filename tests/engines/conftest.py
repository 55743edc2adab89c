"""Real engines on a tiny checkpoint. `tests/engines/run` makes their environment; where it is missing, these tests are skipped."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ulam
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


@contextmanager
def served(command: Sequence[str], log: Path, path: str) -> Iterator[str]:
    """A server's process, once it answers `path`; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as out:
        environment = {**os.environ, "PYTHONPATH": str(Path(ulam.__file__).parents[1])}
        server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=out, stderr=out, env=environment)
    try:
        for _ in range(240):
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    break
            except OSError:
                time.sleep(0.5)
        else:
            raise AssertionError(log.read_text()[-3000:])
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def vllm_command(python: str, folder: Path) -> list[str]:
    """`vllm serve` of the tiny checkpoint with the plugin."""
    from ulam.adapters.vllm_plugin import PLACE, installed

    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "tiny", "--dtype", "float32"]
    command += ["--enforce-eager", "--kv-cache-memory-bytes", str(1 << 28)]
    return command if installed() else [*command, "--logits-processors", PLACE]
