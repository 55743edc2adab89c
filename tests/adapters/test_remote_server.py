"""What a server draws, and what needs a model."""

from __future__ import annotations

import json
import math

import pytest

pytest.importorskip("httpx")

import ulam
from ulam.adapters.load import load
from ulam.core.errors import Inexact, Unsupported, UsageError
from ulam.decode import Engine
from ulam.decode.recipe_model import RecipeModel
from ulam.models import ensemble

from .fake_server import legacy, serving, spoiled
from .remote import table


def test_the_server_gets_the_recipe_in_its_own_words() -> None:
    with serving(table(), owner="vllm") as fake:
        got = ulam.sample(load(fake.url), ["a", "b"], "temperature=0.5 top_k=3", n=2, max_tokens=3, seed=7, stop=["e"])
        bodies = [body for path, body, _ in fake.requests if path == "/v1/completions"]
    assert len(bodies) == 4
    for body in bodies:
        assert (body["temperature"], body["top_k"], body["stop"], body["max_tokens"]) == (0.5, 3, ["e"], 3)
        assert (body["top_p"], body["min_p"], body["repetition_penalty"]) == (1.0, 0.0, 1.0)  # the defaults of vLLM are the model's
    seeds = [body["seed"] for body in bodies]
    assert len({*seeds}) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert [each.text for each in got] == ["aaa", "aaa", "bbb", "bbb"]
    assert got.meta["draws"] == "server"
    assert got.meta["engine"] == "vllm"
    assert got.meta["logprobs_at"] == "model"
    assert got[0].model_log_prob == pytest.approx(3 * math.log(0.34))
    assert math.isnan(got[0].recipe_log_prob)
    document = json.loads(json.dumps(got.to_document(), allow_nan=False))
    assert document["samples"][0]["recipe_log_prob"] is None


def test_the_same_row_has_the_same_seed_alone_and_in_a_batch() -> None:
    with serving(table()) as fake:
        engine = load(fake.url)
        ulam.sample(engine, ["a", "b"], "top_k=3", n=2, max_tokens=1, seed=7)
        ulam.sample(engine, "b", "top_k=3", max_tokens=1, seed=7, sequence=1 << 32)
        seeds = [body["seed"] for path, body, _ in fake.requests if path == "/v1/completions"]
    assert seeds[4] == seeds[2]


def test_log_probs_that_nobody_documents_are_not_shown() -> None:
    with serving(table(), owner="somebody") as fake:
        engine = load(fake.url)
        got = ulam.sample(engine, "a", "temperature=0.5", max_tokens=2, seed=1)
        assert (got.meta["engine"], got.meta["logprobs_at"]) == ("openai", "unknown")
        assert math.isnan(got[0].model_log_prob)
        unsure = ulam.sample(engine, "a", max_tokens=2, seed=1)
        plain = ulam.sample(load(fake.url, engine="openai"), "a", max_tokens=2, seed=1)
    assert math.isnan(unsure[0].model_log_prob)
    assert math.isnan(unsure[0].recipe_log_prob)
    assert (unsure.meta["recognised"], unsure.meta["logprobs_at"]) == (False, "unknown")
    assert (plain.meta["recognised"], plain.meta["logprobs_at"]) == (True, "model")
    assert plain[0].model_log_prob == plain[0].recipe_log_prob == pytest.approx(2 * math.log(0.34))


def test_two_tokens_of_one_text_are_no_fault_of_the_server() -> None:
    """As vLLM shows them: the drawn token, and then the most likely one under the same empty text."""
    with serving(table()) as fake:
        fake.spoil = spoiled(text="", logprobs=legacy([""], [-3.3], [{"": -1.8}]))
        got = ulam.sample(load(fake.url), "a", "top_k=3", max_tokens=1, seed=1)
    assert got[0].error is None
    assert got[0].model_log_prob == -3.3


@pytest.mark.parametrize(("engine", "fix"), [("openai", 'draws="here"'), (None, 'draws="here"; or engine=NAME, if the server is another one')])
def test_what_the_engine_cannot_do_names_the_other_way(engine: str | None, fix: str) -> None:
    with serving(table(), owner="me") as fake, pytest.raises(Inexact) as error:
        ulam.sample(load(fake.url, engine=engine), "a", "top_k=5", max_tokens=2)
    assert error.value.fix == fix


def test_a_recipe_that_the_engine_cannot_do_is_refused_before_anything_is_sent() -> None:
    with serving(table()) as fake:
        engine = load(fake.url, engine="openai")
        with pytest.raises(Inexact, match="openai: "):
            ulam.sample(engine, "a", "temperature=0.5 top_p=0.9", max_tokens=2)
        assert [path for path, _, _ in fake.requests] == ["/v1/models"]


def test_a_server_without_log_probs_gives_texts_of_unknown_probability() -> None:
    with serving(table()) as fake:
        fake.spoil = lambda answer: {**answer, "choices": [{**answer["choices"][0], "logprobs": None}]}
        got = ulam.sample(load(fake.url), "a", "top_k=3", max_tokens=3, seed=1)
    assert got[0].text == "aaa"
    assert got[0].tokens == ()
    assert math.isnan(got[0].model_log_prob)
    entry = got.to_document()["samples"][0]
    assert (entry["tokens"], entry["model_log_prob"], entry["steps"]) == (3, None, [])


def test_chat_sends_a_message() -> None:
    with serving(table(), form="content") as fake:
        got = ulam.sample(load(fake.url, chat=True, ends=["~"]), "a", "top_k=3", max_tokens=3, seed=1)
        path, body, _ = fake.requests[-1]
    assert (path, body["messages"]) == ("/v1/chat/completions", [{"role": "user", "content": "a"}])
    assert (got[0].text, got[0].tokens) == ("aaa", (0, 0, 0))


def test_ids_are_prompts_for_completions_alone() -> None:
    with serving(table()) as fake:
        assert ulam.sample(load(fake.url), [1], "top_k=3", max_tokens=2, seed=1)[0].text == "bb"
        with pytest.raises(UsageError, match="takes text"):
            ulam.sample(load(fake.url, chat=True), [1], "top_k=3", max_tokens=2, seed=1)


def test_everything_but_sampling_says_what_it_needs() -> None:
    with serving(table()) as fake:
        engine = load(fake.url)
    assert isinstance(engine, Engine)
    assert not isinstance(table(), Engine)
    for call in (
        lambda: ulam.score(engine, "a"),
        lambda: ulam.law(engine, "top_k=2", "a", 2),
        lambda: ensemble([engine, table()]),
        lambda: RecipeModel(engine, "top_k=2"),
    ):
        with pytest.raises(Unsupported, match="generates by itself and shows a part of its logits"):
            call()
    with pytest.raises(UsageError, match="draws from no noise"):
        ulam.sample(engine, "a", noise=ulam.core.noise.PhiloxNoise(1))
