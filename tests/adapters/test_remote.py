"""A server as an engine: what it draws, what is drawn here from what it shows, and everything that it may do wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx")

import ulam
from ulam.adapters import server as server_module
from ulam.adapters.load import load
from ulam.adapters.server import Server
from ulam.core.errors import Inexact, ModelError, NeedsTokenizer, ServerError, UlamError, Unsupported, UsageError
from ulam.decode import Engine
from ulam.decode.recipe_model import RecipeModel
from ulam.models import alphabet, ensemble
from ulam.models.table import Markov

from .fake_server import Fake, Handler, serving

KEY = "sk-very-secret-0123456789"


def table() -> Markov:
    """Seven tokens, the last one ends; the most likely one after each token is another, and a tail is never shown."""
    vocabulary = alphabet("abcdef", end="~")
    weights = np.array([0.34, 0.23, 0.15, 0.11, 0.08, 0.05, 0.04])
    rows: dict[tuple[int, ...], Any] = {(i,): np.roll(weights, i).tolist() for i in range(7)}
    return Markov(1, {(): weights.tolist(), **rows}, vocabulary, name="table")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ULAM_API_KEY", "ULAM_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr(Server, "sleep", lambda self, seconds: pauses.append(seconds))
    return pauses


def here(fake: Fake, **options: Any) -> Any:
    return load(fake.url, draws="here", ends=["~"], **{"shown": 4, **options})


# -- drawn here


@pytest.mark.parametrize("form", [{"form": "legacy"}, {"form": "content"}, {"form": "content", "ids": True}], ids=["texts", "bytes", "ids"])
@pytest.mark.parametrize(
    "recipe", ["top_k=3 temperature=1.5", "temperature=0.7 top_p=0.6", "min_p=0.4", "top_k=4 typical_p=0.7", "presence_penalty=1 top_k=2", "greedy"]
)
def test_drawn_here_are_the_tokens_of_ulam_sample(form: dict[str, Any], recipe: str) -> None:
    """The order of the bytes is that of the ids in this alphabet, so every server shows the same rows in the same order."""
    model = table()
    want = ulam.sample(model, "ab", recipe, n=3, max_tokens=10, seed=11)
    with serving(model, **form) as fake:
        got = ulam.sample(here(fake), "ab", recipe, n=3, max_tokens=10, seed=11)
    assert [each.text for each in got] == [each.text for each in want]
    assert [each.finish_reason for each in got] == [each.finish_reason for each in want]
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one.model_log_probs, other.model_log_probs, rtol=1e-12)
        np.testing.assert_allclose(one.recipe_log_probs, other.recipe_log_probs, rtol=1e-12, atol=1e-15)
        if form.get("ids"):
            assert one.tokens == other.tokens
    assert got.meta["draws"] == "here"
    assert got.meta["logprobs_at"] == "model"
    assert got.to_document()["prompt"] == {"text": "ab", "tokens": 2}


def test_text_is_continued_by_ids_where_the_server_tells_them() -> None:
    with serving(table(), form="content", ids=True) as fake:
        ulam.sample(here(fake), "ab", "top_k=1", max_tokens=3, seed=1)
        prompts = [body["prompt"] for path, body, _ in fake.requests if path == "/v1/completions"]
    assert prompts == ["ab", [0, 1, 1], [0, 1, 1, 1]]


def test_stop_strings_cut_and_tokens_may_be_named_as_text() -> None:
    model = table()
    want = ulam.sample(model, "a", 'ban_tokens=["b"] top_k=2', n=2, max_tokens=12, seed=5, stop="ca")
    with serving(model) as fake:
        got = ulam.sample(here(fake), "a", 'ban_tokens=["b"] top_k=2', n=2, max_tokens=12, seed=5, stop="ca")
    assert [(each.text, each.finish_reason, each.stopped_by) for each in got] == [(each.text, each.finish_reason, each.stopped_by) for each in want]


def test_ids_cannot_be_named_where_none_are_shown() -> None:
    with serving(table()) as fake:
        got = ulam.sample(here(fake), "a", "ban_tokens=[1] top_k=2", max_tokens=2)
    assert isinstance(got[0].error, NeedsTokenizer)


def test_a_prompt_of_ids_is_continued_by_ids_alone() -> None:
    model = table()
    want = ulam.sample(model, [0, 1], "top_k=3", n=2, max_tokens=5, seed=3)
    with serving(model, form="content", ids=True) as fake:
        assert [each.tokens for each in ulam.sample(here(fake), [0, 1], "top_k=3", n=2, max_tokens=5, seed=3)] == [each.tokens for each in want]
    with serving(model) as fake:
        assert isinstance(ulam.sample(here(fake), [0, 1], "top_k=3", max_tokens=5, seed=3)[0].error, Unsupported)


def test_a_penalty_of_the_prompt_needs_its_tokens() -> None:
    model = table()
    recipe = "presence_penalty(1, scope=all) top_k=2"
    want = ulam.sample(model, "ab", recipe, n=2, max_tokens=6, seed=3)
    with serving(model, form="content", ids=True) as fake:
        assert [each.text for each in ulam.sample(here(fake), "ab", recipe, n=2, max_tokens=6, seed=3)] == [each.text for each in want]
    with serving(model) as fake, pytest.raises(Inexact, match="presence_penalty looks at the tokens of the prompt"):
        ulam.sample(here(fake), "ab", recipe, max_tokens=6, seed=3)


def halves() -> Markov:
    """Tokens that are halves of characters, which look the same as text, and an end."""
    vocabulary = ulam.Vocabulary([b"\xe2\x82", b"\xac", b"\xc3", b"\xa9", b"x", b""], ends=[5], names={5: "~"}, encode=lambda text: [4] * len(text))
    return Markov(0, {(): (0.3, 0.25, 0.12, 0.13, 0.15, 0.05)}, vocabulary, name="halves")


@pytest.mark.parametrize("recipe", ["top_k=4", "top_p=0.6", 'ban_tokens=["x"] top_k=3', "ban_tokens=[end, 1] top_k=3"])
def test_codes_of_tokens_are_told_apart_and_spelled_as_they_come(recipe: str) -> None:
    model = halves()
    want = ulam.sample(model, "x", recipe, n=6, max_tokens=12, seed=3, stop="€x")
    with serving(model, codes=True) as fake:
        got = ulam.sample(here(fake, shown=5), "x", recipe, n=6, max_tokens=12, seed=3, stop="€x")
    for one, other in zip(got, want, strict=True):
        assert (one.tokens, one.text, one.finish_reason, one.stopped_by) == (other.tokens, other.text, other.finish_reason, other.stopped_by)
        assert one.error is None


def test_a_text_that_names_several_tokens_hides_some() -> None:
    """The server drew x, which is not among the two most likely ones; of these one is hidden behind the other, and may be the first."""
    with serving(table()) as fake:
        fake.spoil = spoiled(text="x", logprobs=legacy(["x"], [-3.0], [{"\ufffd": -1.2, "x": -3.0}]))
        with pytest.raises(Inexact, match="greedy cuts among tokens that this server does not show: it shows 2") as error:
            ulam.sample(here(fake, shown=2), "a", "greedy", max_tokens=1)
        asked = [body.get("seed") for path, body, _ in fake.requests if path == "/v1/completions"]
    assert error.value.fix == 'draws="server"'
    assert asked == [None, 1, 2, 3]  # another draw may be one of the two, and then it is plain


def test_a_text_without_bytes_is_not_the_end() -> None:
    with serving(table()) as fake:
        fake.spoil = spoiled(text="", logprobs=legacy(["b"], [-2.0], [{"": -0.2, "b": -2.0, "c": -4.0}]))
        got = ulam.sample(here(fake, shown=3), "a", "top_k=1", max_tokens=3)
    assert got[0].finish_reason == "error"
    assert "without its bytes" in str(got[0].error)


def test_a_server_that_ends_without_showing_a_row_is_asked_again() -> None:
    want = ulam.sample(table(), "a", "top_k=2", max_tokens=1, seed=1)
    ended = spoiled(text="", finish_reason="stop", logprobs=legacy([], [], []))
    with serving(table(), owner="openai") as fake:
        count = iter(range(9))
        fake.spoil = lambda answer: ended(answer) if next(count) < 2 else answer
        assert ulam.sample(here(fake), "a", "top_k=2", max_tokens=1, seed=1)[0].text == want[0].text
        fake.spoil = ended
        with pytest.raises(ServerError, match="ends the text here and does not show what it drew from"):
            ulam.sample(here(fake), "a", "top_k=2", max_tokens=1, seed=1)


@pytest.mark.parametrize("draws", ["here", "server"])
def test_a_text_that_the_server_refuses_later_fails_alone(draws: str) -> None:
    """As a context that is full. What it refuses at once ends the run."""
    with serving(table()) as fake:

        def refuse(answer: dict[str, Any]) -> Any:
            body = fake.requests[-1][1]
            return answer if len(body["prompt"]) < 3 else {"choices": [], "refused": True}

        sent = Handler.send
        fake.spoil = refuse
        with pytest.MonkeyPatch.context() as patch:
            full = {"message": "too long"}
            patch.setattr(Handler, "send", lambda self, value, *rest: sent(self, full, 400) if "refused" in value else sent(self, value, *rest))
            got = ulam.sample(load(fake.url, draws=draws, shown=4), ["a", "aaaa", "b"], "top_k=2", max_tokens=2, seed=1)
            with pytest.raises(ServerError, match="too long"):
                ulam.sample(load(fake.url, draws=draws, shown=4), ["aaaa", "a"], "top_k=2", max_tokens=2, seed=1)
    assert [each.finish_reason for each in got] == ["length", "error", "length"]
    assert "too long" in str(got[1].error)


def test_a_prompt_is_asked_for_once_and_its_samples_are_apart() -> None:
    with serving(table()) as fake:
        ulam.sample(here(fake), "a", "top_k=3", n=5, max_tokens=1, seed=1)
        assert [path for path, _, _ in fake.requests] == ["/v1/models", "/v1/completions"]


def test_fewer_tokens_are_asked_for_where_the_server_refuses_many() -> None:
    with serving(table(), most=5) as fake:
        engine = here(fake, shown=20)
        assert len(ulam.sample(engine, "a", "top_k=3", max_tokens=2, seed=1)) == 1
        assert engine.shown == 5
    with serving(table()) as fake:  # 20 at most, as in vLLM
        engine = here(fake, shown=50)
        ulam.sample(engine, "a", "top_k=3", max_tokens=2, seed=1)
        assert engine.shown == 20


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("top_a=0.1", "top_a needs the whole row, and this server shows 4 tokens of it"),
        ("temperature=0.5", "temperature=0.5 leaves tokens that this server does not show, of mass 0.17 under the model"),
        ("", "the model as it is leaves tokens that this server does not show, of mass 0.17 under the model"),
        ("top_p=0.9", "top_p needs tokens of mass 0.9"),
    ],
)
def test_what_the_shown_tokens_do_not_decide_is_refused(recipe: str, why: str) -> None:
    with serving(table()) as fake, pytest.raises(Inexact) as error:
        ulam.sample(here(fake), "a", recipe, max_tokens=2)
    assert error.value.what.startswith(why)


def test_a_recipe_that_ends_later_fails_its_row_alone() -> None:
    """The nucleus of 0.83 is shown after the prompt, and not once a penalty has flattened the row."""
    with serving(table()) as fake:
        got = ulam.sample(here(fake), "a", "presence_penalty=3 top_p=0.8", max_tokens=6, seed=1)
    assert got[0].finish_reason == "error"
    assert isinstance(got[0].error, Inexact)
    assert got[0].error.position == len(got[0].tokens) > 0


def test_half_a_character_ends_a_text_that_is_continued_as_text() -> None:
    vocabulary = ulam.Vocabulary([b"\xe2\x82", b"\xac", b"x"], encode=lambda text: [2] * len(text))
    model = Markov(0, {(): (0.9, 0.06, 0.04)}, vocabulary, name="halves")
    with serving(model, form="content") as fake:
        got = ulam.sample(load(fake.url, draws="here"), "x", "greedy", max_tokens=4)
    assert got[0].finish_reason == "error"
    assert isinstance(got[0].error, Unsupported)
    assert got[0].text == "\ufffd"


def test_the_chat_endpoint_cannot_be_continued() -> None:
    with serving(table()) as fake:
        got = ulam.sample(here(fake, chat=True), "a", "top_k=2", max_tokens=2)
    assert isinstance(got[0].error, Unsupported)


# -- drawn by the server


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


# -- everything else needs a model


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


# -- opening


def test_the_model_is_named_where_there_are_several() -> None:
    with serving(table(), names=("one", "two")) as fake:
        with pytest.raises(ModelError, match='has several models: "one", "two"'):
            load(fake.url)
        with pytest.raises(ModelError, match=r'has no model "twoo".*Did you mean two'):
            load(fake.url, model="twoo")
        assert load(fake.url, model="two").name == "two"


@pytest.mark.parametrize(("owner", "engine"), [("vllm", "vllm"), ("sglang", "sglang"), ("llamacpp", "llama.cpp"), ("acme", "openai")])
def test_the_engine_is_recognised(owner: str, engine: str) -> None:
    with serving(table(), owner=owner) as fake:
        assert load(fake.url).dialect.name == engine
        assert load(fake.url, engine="vllm").dialect.name == "vllm"


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"draws": "both"}, UsageError, "draws='both'"),
        ({"engine": "vlm"}, UsageError, "unknown engine"),
        ({"shown": 0}, UsageError, "shown=0"),
        ({"timeout": 0}, UsageError, "timeout=0"),
        ({"device": "cuda"}, UsageError, "has no option device"),
        ({"backend": "builtin"}, UsageError, "the backend builtin is not for http"),
        ({"backend": "remot"}, UsageError, "unknown backend"),
        ({"tokenizer": "abc"}, UsageError, "brings its own tokenizer"),
        ({"api_key": "two words"}, UsageError, "cannot be sent"),
        ({"offline": True}, ModelError, "offline"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], error: type[UlamError], why: str) -> None:
    with pytest.raises(error, match=why):
        load("http://127.0.0.1:9/v1", **options)


@pytest.mark.parametrize("url", ["http://user:secret@host/v1", "http://host/v1?key=secret", "http:///v1", "http://ho st:secret/v1"])
def test_urls_that_are_refused_show_no_secret(url: str) -> None:
    with pytest.raises(UsageError) as error:
        load(url)
    assert "secret" not in str(error.value)


def test_offline_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULAM_OFFLINE", "1")
    with serving(table()) as fake:
        with pytest.raises(ModelError, match="offline"):
            load(fake.url)
        assert fake.requests == []


@pytest.mark.parametrize("proxy", ["foo://u:hidden@x", "http://[::1"])
def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UsageError, match="the environment names a proxy that cannot be used") as error:
        load("http://127.0.0.1:9/v1")
    assert "hidden" not in str(error.value)
    assert "NO_PROXY=127.0.0.1" in str(error.value)


def test_a_proxy_that_does_not_listen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://u:hidden@127.0.0.1:9")
    with serving(table()) as fake:
        with pytest.raises(ModelError, match="through the proxy of the environment: Connection refused") as error:
            load(fake.url)
        assert "hidden" not in str(error.value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert load(fake.url).name == "m"


def test_a_server_without_tls_is_told_as_such() -> None:
    with serving(table()) as fake, pytest.raises(ModelError, match="does not speak TLS"):
        load(fake.url.replace("http:", "https:"))


def test_nobody_listens() -> None:
    with serving(table()) as fake:
        url = fake.url
    with pytest.raises(ModelError, match="cannot be reached"):
        load(url)


# -- servers that misbehave


def raw(content: bytes, **given: Any) -> Callable[[Handler], bool]:
    def trick(handler: Handler) -> bool:
        handler.send_raw(content, **given)
        return True

    return trick


def spoiled(**choice: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda answer: {**answer, "choices": [{**answer["choices"][0], **choice}]}


def legacy(tokens: list[Any], values: list[Any], tops: list[Any]) -> dict[str, Any]:
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}


ANSWERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda answer: [answer], "answers JSON that is no object"),
    "no choices": (lambda answer: {}, "was asked for one text and answers 0"),
    "two choices": (lambda answer: {"choices": answer["choices"] * 2}, "was asked for one text and answers 2"),
    "a choice of another kind": (lambda answer: {"choices": ["x"]}, "a choice that is no object"),
    "no text": (spoiled(text=None), "a choice without a text"),
    "no log-probs": (spoiled(logprobs=None), "shows no log-probs"),
    "log-probs of another kind": (spoiled(logprobs=[1]), "log-probs that are no object"),
    "lists that differ": (spoiled(logprobs=legacy(["a"], [-1.0, -2.0], [{}])), "whose lists do not agree"),
    "a log-prob that is text": (spoiled(logprobs=legacy(["a"], ["x"], [{}])), "a log-prob that is no number"),
    "a probability above 1": (spoiled(logprobs=legacy(["a"], [0.5], [{"a": 0.5}])), "a probability above 1"),
    "more than 1 together": (spoiled(logprobs=legacy(["a"], [-0.1], [{"a": -0.1, "b": -0.1}])), "probabilities that add to 1.81"),
    "the drawn one is missing": (spoiled(logprobs=legacy(["a"], [-0.1], [{"b": -3.0}])), "lists the most likely tokens without 'a'"),
    "two tokens of one text and too much mass": (spoiled(logprobs=legacy(["a"], [-0.1], [{"a": -1.0}])), "probabilities that add to 1.27"),
    "two log-probs of one token": (
        spoiled(logprobs={"content": [{"token": "a", "logprob": -2.0, "top_logprobs": [{"token": "a", "logprob": -1.0}]}]}),
        "gives the token 'a' two log-probs",
    ),
    "one token twice": (
        spoiled(logprobs={"content": [{"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1.0}] * 2}]}),
        "lists the token 'a' twice",
    ),
    "ids now and then": (
        spoiled(logprobs={"content": [{"token": "a", "logprob": -1.0, "id": 0, "top_logprobs": [{"token": "a", "logprob": -1.0}]}]}),
        "tells the ids of some tokens and not of others",
    ),
    "an entry of another kind": (spoiled(logprobs={"content": [{"token": 3, "logprob": -1.0}]}), "a token that is no text"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_cannot_be_is_one_line(name: str) -> None:
    spoil, why = ANSWERS[name]
    with serving(table()) as fake:
        engine = here(fake)
        fake.spoil = spoil
        with pytest.raises(ServerError) as error:
            ulam.sample(engine, "a", "top_k=2", max_tokens=2)
    assert why in error.value.what
    assert "\n" not in error.value.what
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        (raw(b"<html><body>proxy</body></html>"), "answers HTML"),
        (raw(b'{"choices": [{"te'), "answers no JSON"),
        (raw(b'{"choices": NaN}'), "answers no JSON"),
        (raw(b"[" * 100_000), "answers no JSON"),
        (raw(b"\xff\xfe"), "answers no JSON"),
        (raw(b'{"choices"', size=1000), "ended its answer half way"),
        (raw(b"{}", status=500), "failed (500)"),
        (raw(b'{"error": {"message": "boom\\n\\u001b[2J"}}', status=500), "failed (500): boom [2J"),
        (raw(b"{}", status=401), "refuses the request without a key (401)"),
        (raw(b'{"detail": "bad"}', status=400), "refuses (400): bad"),
        (raw(b"", status=307, headers={"location": "http://elsewhere.example/v1"}), "answers 307, a redirect to elsewhere.example; ulam follows none"),
        (raw(b"{}", headers={"content-encoding": "gzip"}), "answers compressed"),
    ],
)
def test_a_server_that_misbehaves_is_one_line(trick: Any, why: str) -> None:
    with serving(table()) as fake:
        engine = here(fake)
        fake.tricks = [trick]
        with pytest.raises(ServerError) as error:
            ulam.sample(engine, "a", "top_k=2", max_tokens=2)
        assert why in error.value.what
        assert "\n" not in error.value.what
        assert len(fake.requests) == 2  # nothing of this is repeated


def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_BYTES", 1000)
    with serving(table()) as fake:
        engine = here(fake)
        fake.tricks = [raw(b" " * 5000)]
        with pytest.raises(ServerError, match="answers more than"):
            ulam.sample(engine, "a", "top_k=2", max_tokens=2)


def test_a_busy_server_is_asked_again(no_pause: list[float]) -> None:
    with serving(table()) as fake:
        engine = here(fake)
        fake.tricks = [raw(b"{}", status=429, headers={"retry-after": "7"}), raw(b"{}", status=503), raw(b"{}", status=429, headers={"retry-after": "9999"})]
        assert len(ulam.sample(engine, "a", "top_k=2", max_tokens=1, seed=1)) == 1
    assert len(no_pause) == 3
    assert no_pause[0] == 7
    assert 0.5 <= no_pause[1] <= 1.5
    assert no_pause[2] == 30


def test_a_server_that_stays_busy_is_given_up(no_pause: list[float]) -> None:
    with serving(table()) as fake:
        engine = here(fake)
        fake.tricks = [raw(b'{"error": "full"}', status=429)] * 9
        with pytest.raises(ServerError, match=r"is busy \(429, 4 tries\): full"):
            ulam.sample(engine, "a", "top_k=2", max_tokens=1, seed=1)
        assert len(fake.requests) == 5


def test_a_slow_server_is_given_up(no_pause: list[float]) -> None:
    free = threading.Event()

    def wait(handler: Handler) -> bool:
        free.wait(10)
        handler.close_connection = True
        return True

    with serving(table()) as fake:
        engine = here(fake, timeout=0.05)
        fake.tricks = [wait] * 4
        try:
            with pytest.raises(ServerError, match=r"gave no answer within 0.05 s \(4 tries\)"):
                ulam.sample(engine, "a", "top_k=2", max_tokens=1, seed=1)
        finally:
            free.set()


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULAM_API_KEY", KEY)
    with serving(table()) as fake:
        engine = here(fake)
        assert {name.lower(): value for name, value in fake.requests[0][2].items()}["authorization"] == f"Bearer {KEY}"
        fake.tricks = [raw(json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), status=400), raw(b"{}", status=403)]
        for why in ("bad key \\[key\\]", "refuses the key"):
            with pytest.raises(ServerError, match=why) as error:
                ulam.sample(engine, "a", "top_k=2", max_tokens=1)
            assert KEY not in str(error.value)
        got = ulam.sample(engine, "a", "top_k=2", max_tokens=1)
    assert KEY not in json.dumps(got.to_document()) + repr(engine) + repr(got)


def test_ctrl_c_gives_up_what_is_under_way_and_keeps_what_there_is() -> None:
    free = threading.Event()

    def wait(handler: Handler) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        free.wait(10)
        handler.close_connection = True
        return True

    with serving(table()) as fake:
        engine = here(fake)
        fake.tricks = [lambda handler: False, lambda handler: False, wait]
        try:
            with pytest.raises(KeyboardInterrupt) as stopped:
                ulam.sample(engine, "a", "top_k=1", n=2, max_tokens=9, seed=1)
        finally:
            free.set()
        samples = stopped.value.samples  # type: ignore[attr-defined]
        assert [(each.text, each.finish_reason) for each in samples] == [("aa", "cancelled"), ("", "cancelled")]
        assert ulam.sample(engine, "a", "top_k=1", max_tokens=2, seed=1)[0].text == "aa"  # the engine is as good as new
