"""Opening a server: its models, its engine, its options."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("httpx")

from ulam.adapters.load import load
from ulam.core.errors import ModelError, UlamError, UsageError

from .fake_server import serving
from .remote import table


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
