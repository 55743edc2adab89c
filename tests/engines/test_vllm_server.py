"""`vllm serve` with the plugin: requests over HTTP, in processes of its own."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.models.builtin import Llama

from .conftest import served, vllm_command

vllm = pytest.importorskip("vllm")
pytestmark = pytest.mark.filterwarnings("default")

Post = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def post(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """Sends a completion request; the status and the answer. The logprobs of this server are the recipe's."""
    command = [*vllm_command(sys.executable, folder), "--logprobs-mode", "processed_logits"]
    with served(command, tmp_path_factory.mktemp("server") / "log", "/health") as url:

        def send(**fields: Any) -> tuple[int, Any]:
            body = json.dumps({"model": "tiny", **fields}).encode()
            request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        yield send


def test_a_server_draws_the_tokens_of_numpy(post: Post, model: Llama) -> None:
    for recipe, seed, sequence in (
        ("temperature=0.9 top_p=0.95", 7, 0),
        ("repetition_penalty=1.3 min_p=0.05", 2**64 - 1, 2**64 - 1),
        ("mirostat_v2=3", 3, 5),
    ):
        prompt = [0, *model.vocabulary.encode("The cat sat")]
        words = {"recipe": recipe, "seed": seed, "sequence": sequence}
        status, answer = post(prompt=prompt, max_tokens=24, logprobs=1, return_token_ids=True, vllm_xargs={"ulam": json.dumps(words)})
        assert status == 200, answer
        (choice,) = answer["choices"]
        (sample,) = ulam.sample(model, [prompt], recipe, seed=seed, sequence=sequence, max_tokens=24)
        assert tuple(choice["token_ids"]) == sample.tokens
        np.testing.assert_allclose(choice["logprobs"]["token_logprobs"], sample.recipe_log_probs, atol=2e-3)


def test_a_server_refuses_what_cannot_be_meant(post: Post) -> None:
    words = json.dumps({"recipe": "temperature=0.9", "seed": 7})
    for fields, said in (
        ({"vllm_xargs": {"ulam": json.dumps({"recipe": "temprature=1", "seed": 7})}}, "Did you mean temperature"),
        ({"vllm_xargs": {"ulam": words}, "n": 2}, "n=2"),
        ({"vllm_xargs": {"ulam": words}, "logit_bias": {"5": 1}}, "logit_bias"),
    ):
        status, answer = post(prompt="The cat", max_tokens=4, **fields)
        assert status == 400
        assert said in answer
    status, answer = post(prompt="The cat", max_tokens=4, temperature=0)
    assert (status, len(answer["choices"])) == (200, 1)


def test_a_request_that_fails_shows_it_in_its_logprobs(post: Post, model: Llama) -> None:
    from ulam.adapters.vllm_plugin import FAILED

    words = {"recipe": "allow_tokens=[5] no_repeat_ngram=1", "seed": 7}
    prompt = [0, *model.vocabulary.encode("The cat")]
    status, answer = post(prompt=prompt, max_tokens=9, logprobs=0, return_token_ids=True, vllm_xargs={"ulam": json.dumps(words)})
    (choice,) = answer["choices"]
    assert (status, choice["finish_reason"], choice["token_ids"]) == (200, "stop", [5, 0])
    assert choice["logprobs"]["token_logprobs"][-1] in (FAILED, -9999.0)
