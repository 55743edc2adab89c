"""The client of servers against real ones: vLLM's, and the one of llama-cpp-python, each skipped where it is not installed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import Inexact, ServerError
from ulam.models.builtin import Llama

from ..gguf_tiny import write_gguf
from .conftest import served, vllm_command

pytest.importorskip("httpx")
pytestmark = pytest.mark.filterwarnings("default")

PROMPTS = ["The cat", "Größe 日本語 🙂"]


@pytest.fixture(scope="module")
def vllm_url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("vllm")
    with served(vllm_command(sys.executable, folder), tmp_path_factory.mktemp("vllm") / "log", "/health") as url:
        yield f"{url}/v1"


@pytest.mark.parametrize(
    "recipe",
    ["top_k=20", "top_k=10 typical_p=0.7", "greedy", "temperature=1.3 top_k=8", "ban_tokens=[end] top_k=5", "presence_penalty(1, scope=all) top_k=5"],
)
def test_drawn_here_from_vllm_are_the_tokens_of_numpy(vllm_url: str, model: Llama, recipe: str) -> None:
    got = ulam.sample(ulam.load(vllm_url, draws="here"), PROMPTS, recipe, n=2, max_tokens=16, seed=7)
    want = ulam.sample(model, PROMPTS, recipe, n=2, max_tokens=16, seed=7)
    same = [one.tokens == other.tokens for one, other in zip(got, want, strict=True)]
    assert sum(same) >= len(same) - 1  # a uniform may lie within rounding of a border
    for one, other in zip(got, want, strict=True):
        if one.tokens == other.tokens:
            assert (one.text, one.finish_reason, one.stopped_by, one.error) == (other.text, other.finish_reason, other.stopped_by, None)
            np.testing.assert_allclose(one.model_log_probs, other.model_log_probs, atol=2e-4)
            np.testing.assert_allclose(one.recipe_log_probs, other.recipe_log_probs, atol=2e-4)


def test_the_log_probs_that_vllm_tells_are_the_models(vllm_url: str, model: Llama) -> None:
    engine = ulam.load(vllm_url)
    assert (engine.dialect.name, engine.recognised) == ("vllm", True)
    sent: list[dict[str, Any]] = []
    post = engine.server.post
    engine.server.post = lambda path, body: post(path, sent.append(body) or body)
    got = ulam.sample(engine, "The cat", "temperature=0.8 top_k=5", n=3, max_tokens=16, seed=7)
    assert [(body["temperature"], body["top_k"], body["top_p"], body["min_p"], body["repetition_penalty"]) for body in sent] == [(0.8, 5, 1.0, 0.0, 1.0)] * 3
    for sample, body in zip(got, sent, strict=True):
        (choice,) = post("/completions", {**body, "return_token_ids": True})["choices"]  # the same seed gives the same text, with its ids
        assert choice["text"] == sample.text
        ids = (*choice["prompt_token_ids"], *choice["token_ids"])
        for place, told in enumerate(sample.model_log_probs, len(choice["prompt_token_ids"])):
            logits = model.prefill([ids[:place]])[1][0]
            assert told == pytest.approx(float((logits - np.logaddexp.reduce(logits))[ids[place]]), abs=2e-4)
        assert math.isnan(sample.recipe_log_prob)


def test_vllm_stops_where_it_is_told_and_a_full_context_fails_alone(vllm_url: str) -> None:
    engine = ulam.load(vllm_url)
    stopped = ulam.sample(engine, "The cat", n=4, max_tokens=40, seed=3, stop=["a", "e"])
    assert {sample.stopped_by for sample in stopped} <= {"a", "e", None}
    assert not any(word in sample.text for sample in stopped for word in "ae")
    got = ulam.sample(engine, ["The cat", "cat " * 300, "The dog"], max_tokens=4, seed=3)
    assert [sample.error is None for sample in got] == [True, False, True]
    assert "context" in str(got[1].error)


@pytest.fixture(scope="module")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for name in ("gguf", "llama_cpp.server.app"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("llama")
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(write_gguf(folder / "tiny.gguf")), "--logits_all", "true", "--n_ctx", "256"]
    with served(command, folder / "log", "/v1/models") as url:
        yield f"{url}/v1"


def test_the_server_of_llama_cpp_python_is_not_recognised_and_not_believed(llama_url: str) -> None:
    """It lists tokens by their texts, halves of characters as empty ones, and draws with a top_k of its own."""
    engine = ulam.load(llama_url)
    assert (engine.dialect.name, engine.recognised) == ("openai", False)
    for seed in range(6):
        got = ulam.sample(engine, "The cat", "temperature=0.8", n=2, max_tokens=8, seed=seed)
        assert all(sample.error is None and math.isnan(sample.model_log_prob) for sample in got)
    assert got.meta["logprobs_at"] == "unknown"


def test_halves_of_characters_of_llama_cpp_python_decide_nothing(llama_url: str) -> None:
    engine = ulam.load(llama_url, draws="here")
    with pytest.raises((Inexact, ServerError)):
        ulam.sample(engine, "The cat", "top_k=5", max_tokens=8, seed=1)
