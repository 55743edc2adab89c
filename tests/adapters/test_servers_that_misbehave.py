"""Everything that a server may do wrong, in one line each."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("httpx")

import ulam
from ulam.adapters import server as server_module
from ulam.core.errors import ServerError

from .fake_server import Handler, legacy, serving, spoiled
from .remote import KEY, here, table


def raw(content: bytes, **given: Any) -> Callable[[Handler], bool]:
    def trick(handler: Handler) -> bool:
        handler.send_raw(content, **given)
        return True

    return trick


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
