"""`ulam models`, and servers behind `-m`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx")

from tests.tiny import write_tiny
from ulam.models.table import Markov, Table, abc

from ..adapters.fake_server import Fake, serving
from ..adapters.remote import table
from .conftest import Ulam


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ULAM_API_KEY", "ULAM_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving(table()) as found:
        yield found


HERE = ("--model-option", "draws=here", "--model-option", "shown=4", "--model-option", 'ends=["~"]')


def test_the_models_inside(ulam: Ulam) -> None:
    document = json.loads(ulam("models", "--json").out)
    assert document["schema"] == "ulam.models/1"
    facts = [(each["name"], each["backend"], each["vocabulary"], each["context"], each["extra"]) for each in document["models"]]
    assert facts == [("stories", "builtin", 2048, 512, None), ("abc", "table", 3, None, None)]
    assert [line.split()[0] for line in ulam("models").out.splitlines()] == ["stories", "abc"]


def test_a_directory_is_told_without_its_weights(ulam: Ulam, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"], "vocab_size": 50257, "max_position_embeddings": 1024}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_p": 0.9, "eos_token_id": 2}))
    found = json.loads(ulam("models", str(tmp_path), "--json").out)["models"][0]
    assert (found["backend"], found["extra"], found["vocabulary"], found["context"]) == ("transformers", "transformers", 50257, 1024)
    assert found["recipe"] == "temperature=0.6 top_k=50 top_p=0.9"  # top_k is what transformers does when nobody asked
    assert found["proposed"]["temperature"] == 0.6
    page = ulam("models", str(tmp_path)).out
    assert "temperature=0.6 top_k=50 top_p=0.9" in " ".join(page.split())


def test_what_is_no_model(ulam: Ulam) -> None:
    done = ulam("models", "storis")
    assert (done.code, "Did you mean stories" in done.stderr) == (5, True)


def test_a_server_is_told(ulam: Ulam, fake: Fake) -> None:
    found = json.loads(ulam("models", fake.url, "--json").out)["models"][0]
    assert (found["name"], found["kind"], found["engine"], found["extra"]) == ("m", "engine", "vllm", "remote")
    assert "shows a part of its logits" in ulam("models", fake.url).out


def test_a_text_from_a_server(ulam: Ulam, fake: Fake) -> None:
    done = ulam("a", "temperature=0.5", "-m", fake.url, "--max-tokens", "3", "--seed", "7")
    assert (done.code, done.out) == (0, "aaa\n")
    assert "drawn by the server (vllm)" in done.stderr
    assert "log-prob: model -3.24 nats (recipe: not told by the server)" in done.stderr
    data = json.loads(ulam("a", "temperature=0.5", "-m", fake.url, "--max-tokens", "3", "--seed", "7", "-n", "2", "--json").out)
    assert (data["draws"], data["logprobs_at"], data["prompt"], len(data["samples"])) == ("server", "model", {"text": "a", "tokens": 1}, 2)


def test_a_text_drawn_here(ulam: Ulam, fake: Fake) -> None:
    want = ulam_text(table())
    done = ulam("a", "top_k=3", "-m", fake.url, *HERE, "--max-tokens", "6", "--seed", "7")
    assert (done.code, done.out) == (0, want + "\n")
    assert "drawn here, from the 4 most likely tokens" in done.stderr
    events = [json.loads(line) for line in ulam("a", "top_k=3", "-m", fake.url, *HERE, "--max-tokens", "6", "--seed", "7", "--jsonl").out.splitlines()]
    assert [event["event"] for event in events[:2]] == ["start", "token"]
    assert events[0]["prompt"] == {"text": "a", "tokens": None}
    assert "".join(event["text"] for event in events if event["event"] == "token") == want


def ulam_text(model: Markov) -> str:
    import ulam

    return ulam.sample(model, "a", "top_k=3", max_tokens=6, seed=7)[0].text


def test_a_server_that_is_not_recognised_is_told_as_such(ulam: Ulam, fake: Fake) -> None:
    fake.owner = "me"
    assert "not recognised, taken for openai; if it is another one: --model-option engine=NAME" in ulam("models", fake.url).out.replace("\n", " ")
    assert json.loads(ulam("models", fake.url, "--json").out)["models"][0]["recognised"] is False
    done = ulam("a", "temperature=0.5", "-m", fake.url, "--max-tokens", "3")
    assert "drawn by the server (not recognised, taken for openai)" in done.stderr
    assert "log-prob: not told by the server" in done.stderr
    assert "nats" not in done.stderr


def test_what_mends_it_is_told_in_flags(ulam: Ulam, fake: Fake) -> None:
    refused = ulam("a", "top_k=5", "-m", fake.url, "--model-option", "engine=openai")
    assert "fix: --model-option draws=here\n" in refused.stderr
    assert "or --model-option draws=server\n" in ulam("a", "temperature=0.5", "-m", fake.url, *HERE).stderr
    row = ulam("a", "ban_tokens=[1] top_k=2", "-m", fake.url, "--model-option", "draws=here", "--model-option", "chat=true")
    assert (row.code, "fix: --model-option chat=False, or --model-option draws=server\n" in row.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("a", "temperature=0.5 top_p=0.9", "--model-option", "engine=openai"), 6, "the order of temperature and top_p is not published"),
        (("a", "temperature=0.5", *HERE), 6, "leaves tokens that this server does not show, of mass 0.17"),
        (("a", "top_a=0.1", *HERE), 6, "top_a needs the whole row, and this server shows 4 tokens of it"),
        (("a", "--model-option", "api_key=x"), 2, "a key is never an argument"),
        (("a", "--model-option", "draws"), 2, "is not NAME=VALUE"),
        (("a", "--model-option", "draws=here", "--model-option", "draws=server"), 2, "is given twice"),
        (("a", "--backend", "builtin"), 2, "the backend builtin is not for http"),
        (("a", "--offline"), 5, "offline"),
        (("score", "a"), 2, "generates by itself and shows a part of its logits"),
        (("law", "top_k=2"), 2, "generates by itself and shows a part of its logits"),
        (("recipe", "diff", "top_k=2", "top_k=3"), 2, "generates by itself and shows a part of its logits"),
        (("recipe", "convert", "top_k=2", "--to", "vllm", "--measure"), 2, "generates by itself and shows a part of its logits"),
    ],
)
def test_what_is_refused(ulam: Ulam, fake: Fake, words: tuple[str, ...], code: int, why: str) -> None:
    done = ulam(*(word for each in words for word in ([each] if each != "temperature=0.5 top_p=0.9" else each.split())), "-m", fake.url)
    assert (done.code, done.out) == (code, "")
    assert why in done.stderr


def test_a_key_of_the_environment_is_in_no_message(ulam: Ulam, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULAM_API_KEY", "sk-secret")

    def refuse(handler: object) -> bool:
        handler.send({"error": "no sk-secret here"}, 403)  # type: ignore[attr-defined]
        return True

    fake.tricks = [refuse]
    done = ulam("a", "-m", fake.url)
    assert (done.code, done.out) == (5, "")
    assert "refuses the key (403)" in done.stderr
    assert "sk-secret" not in done.stderr


class Noted(Table):
    """`abc` as another library would run it, with something to be known of it."""

    runs = "elsewhere, float16 on cpu"
    notes = ("no end token: a text ends at a stop string or at max_tokens",)

    def __init__(self) -> None:
        super().__init__({}, abc().vocabulary, otherwise=(0.5, 0.25, 0.25), name="noted")


def test_what_computes_a_model_and_what_is_to_be_known_of_it_is_told(ulam: Ulam, models: Callable[..., None]) -> None:
    models(noted=Noted())
    for words in (("sample", "a"), ("score", "ab")):
        done = ulam(*words, "-m", "noted")
        assert "── noted (elsewhere, float16 on cpu) · " in done.stderr
        assert "   noted: no end token: a text ends at a stop string or at max_tokens" in done.stderr.splitlines()
    found = json.loads(ulam("sample", "a", "-m", "noted", "--json").out)["model"]
    assert (found["runs"], found["notes"]) == (Noted.runs, [*Noted.notes])
    assert ulam("law", "-m", "noted", "greedy").out.startswith(" law of 3 tokens · model noted (elsewhere, float16 on cpu) · ")


def test_the_settings_that_the_makers_propose_are_a_recipe_when_they_are_asked_for(ulam: Ulam, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_p": 0.9}))
    for words in (("sample", "The cat"), ("score", "The cat"), ("law", "--length", "1", "-p", "The")):
        found = json.loads(ulam(*words, "-m", str(folder), "-r", "model", "--json").out)
        assert (found["recipe"], found["recipe_from"]) == ("temperature=0.6 top_k=50 top_p=0.9", "model")
        assert any("nobody wrote top_k=50: transformers does so by default" in text for text in found["warnings"])
        assert json.loads(ulam(*words, "-m", str(folder), "--json").out).get("recipe") in ("categorical", None)  # never unasked
    done = ulam("a", "-m", "abc", "-r", "model")
    assert (done.code, "abc proposes no settings" in done.stderr) == (2, True)
