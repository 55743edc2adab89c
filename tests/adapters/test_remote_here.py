"""What is drawn here from what a server shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx")

import ulam
from ulam.adapters.load import load
from ulam.core.errors import Inexact, NeedsTokenizer, ServerError, Unsupported
from ulam.models.table import Markov

from .fake_server import Handler, legacy, serving, spoiled
from .remote import here, table


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
