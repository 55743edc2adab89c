"""The model in the package: complete, sound, and able to tell a story."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import END
from ulam.models import load
from ulam.models.builtin import Llama
from ulam.models.load import STORIES

OPENING = "Once upon a time, there was a little"


@pytest.fixture(scope="module")
def stories() -> Llama:
    model = load()
    assert isinstance(model, Llama)
    return model


def test_what_it_is(stories: Llama) -> None:
    assert stories.name == "stories"
    assert stories.context_limit == 512
    vocabulary = stories.vocabulary
    assert (len(vocabulary), vocabulary.start, vocabulary.ends, vocabulary.names) == (2048, 0, (0,), {0: END})
    assert stories.fingerprint == load("stories").fingerprint


def test_the_package_stays_small() -> None:
    assert sum(path.stat().st_size for path in STORIES.iterdir()) < 10_000_000


def test_every_byte_and_any_text(stories: Llama) -> None:
    vocabulary = stories.vocabulary
    assert {bytes([byte]) for byte in range(256)} <= set(vocabulary.tokens)
    for text in (OPENING, "", "naïve 🙂 日本語\n\t\x00"):
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(vocabulary.encode(OPENING)) <= 10  # words of children's stories are tokens of their own


def test_it_reads_and_steps_alike(stories: Llama) -> None:
    """Bit for bit, beside mates of other lengths, up to the context limit."""
    text = [0, *np.random.default_rng(0).integers(1, 2048, 511).tolist()]
    whole = stories.prefill([text])[1][0]
    state, _ = stories.prefill([[0, 7], text[:400], [0] * 80])
    for token in text[400:]:
        state, logits = stories.step(state, [3, token, 5])
    assert np.array_equal(logits[1], whole)


def log_probs(model: Llama, ids: list[int]) -> np.ndarray:
    """Log-probability of each token of `ids` after the start token, nats."""
    state, logits = model.prefill([[0]])
    out = []
    for token in ids:
        row = logits[0].astype(np.float64)
        out.append(row[token] - row.max() - np.log(np.exp(row - row.max()).sum()))
        state, logits = model.step(state, [token])
    return np.array(out)


def test_it_knows_stories(stories: Llama) -> None:
    """A plain sentence costs a few bits a token, its words in reverse order many more. Guessing would cost 11 bits."""
    sentence = "Once upon a time, there was a little girl named Lily. She loved to play with her toys in the park."
    bits = -log_probs(stories, stories.vocabulary.encode(sentence)).mean() / np.log(2)
    reverse = -log_probs(stories, stories.vocabulary.encode(" ".join(reversed(sentence.split())))).mean() / np.log(2)
    assert bits < 3
    assert reverse > bits + 3


def test_greedy_text_ends_words(stories: Llama) -> None:
    """The most likely continuation of an opening is letters, blanks and marks, and words of it begin with a blank."""
    ids = [0, *stories.vocabulary.encode(OPENING)]
    state, logits = stories.prefill([ids])
    for _ in range(40):
        token = int(logits[0].argmax())
        if token in stories.vocabulary.ends:
            break
        ids.append(token)
        state, logits = stories.step(state, [token])
    text = stories.vocabulary.decode(ids)
    assert text.startswith(OPENING)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert len(text.split()) > 25
