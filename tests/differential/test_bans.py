"""The constraints beside the logits processors of transformers, bit for bit. Where the two differ, `Elsewhere` says so, and a test shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    ForcedBOSTokenLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    PrefixConstrainedLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from tests.differential.test_transformers_processors import ROWS, untied
from ulam.core.context import Context, History
from ulam.methods import find
from ulam.testing.inputs import letters

torch.set_num_threads(1)

PROMPT = 3


def texts(width: int, length: int) -> NDArray[np.int64]:
    """Texts over few tokens, so that parts of them come again."""
    return np.random.default_rng(length).integers(0, min(width, 4), (ROWS, length))


def ours(stage: Any, z: NDArray[Any], tokens: NDArray[np.int64], ends: tuple[int, ...]) -> NDArray[Any]:
    """The prompt is the first three tokens."""
    past = [History(row[:PROMPT], row[PROMPT:]) for row in tokens.tolist()]
    return stage(torch.asarray(z), Context(past, letters(z.shape[-1], ends))).numpy()


def theirs(processor: Any, z: NDArray[Any], tokens: NDArray[np.int64]) -> NDArray[Any]:
    return processor(torch.asarray(tokens), torch.asarray(z.copy())).numpy()


WORDS = [[0], [1, 2], [2, 1, 0], [3, 3], [1, 1, 1, 1]]

PAIRS = [
    ("ban_tokens", {"tokens": [1, 4, 3]}, lambda: SuppressTokensLogitsProcessor([1, 4, 3])),
    ("allow_tokens", {"tokens": [0, 2, 3]}, lambda: PrefixConstrainedLogitsProcessor(lambda row, text: [0, 2, 3], 1)),
    ("ban_words", {"words": WORDS, "scope": "all"}, lambda: NoBadWordsLogitsProcessor(WORDS)),
    *(("no_repeat_ngram", {"n": n}, lambda n=n: NoRepeatNGramLogitsProcessor(n)) for n in (1, 2, 3, 5)),
    *(("min_tokens", {"n": n}, lambda n=n: MinNewTokensLengthLogitsProcessor(PROMPT, n, [2, 4])) for n in (1, 2, 5)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [5, 33])
@pytest.mark.parametrize("length", [3, 4, 6, 20])
@pytest.mark.parametrize(("name", "parameters", "processor"), PAIRS, ids=[f"{name}-{parameters}"[:40] for name, parameters, _ in PAIRS])
def test_the_same_logits(name: str, parameters: dict[str, Any], processor: Any, length: int, width: int, dtype: type) -> None:
    z, tokens = untied(width, dtype), texts(width, length)
    here = ours(find(name).stage(**parameters), z, tokens, (2, 4))
    assert here.tobytes() == theirs(processor(), z, tokens).tobytes()


@pytest.mark.parametrize("length", [3, 4, 5])
def test_suppress_at_start(length: int) -> None:
    """Theirs bans where the whole sequence has a given length, which is the first position if that is the prompt's."""
    z, tokens = untied(7, np.float64), texts(7, length)
    stage = find("suppress_at_start").stage([1, 4])
    assert ours(stage, z, tokens, ()).tobytes() == theirs(SuppressTokensAtBeginLogitsProcessor([1, 4], PROMPT), z, tokens).tobytes()


def test_the_difference_of_suppress_at_start() -> None:
    """Elsewhere: at one index of the whole sequence."""
    z, tokens = untied(7, np.float64), texts(7, 4)
    assert np.array_equal(theirs(SuppressTokensAtBeginLogitsProcessor([1], 5), z, tokens), z)
    assert np.isneginf(ours(find("suppress_at_start").stage([1], until=2), z, tokens, ())[:, 1]).all()
    assert "at one index of the whole sequence" in find("suppress_at_start").doc


def test_the_difference_of_allow_tokens() -> None:
    """Elsewhere: allowed tokens that are impossible already are forced at equal scores."""
    z = np.array([[0.0, -np.inf, -np.inf]])
    there = theirs(PrefixConstrainedLogitsProcessor(lambda row, text: [1, 2], 1), z, np.array([[0]]))
    assert there.tolist() == [[-np.inf, 0.0, 0.0]]
    stage: Any = find("allow_tokens").stage([1, 2])
    assert np.isneginf(stage(z)).all()
    assert "it forces them at equal scores" in " ".join(find("allow_tokens").doc.split())


def test_force_tokens() -> None:
    """Theirs forces after one token, a sequence's start; the scores are overwritten, so the same token is certain in both."""
    z = untied(7, np.float64)
    for length, certain in ((1, True), (2, False)):
        tokens = texts(7, length)
        stage: Any = find("force_tokens").stage([4])
        here = stage(z, Context([History(row[:1], row[1:]) for row in tokens.tolist()]))
        there = theirs(ForcedBOSTokenLogitsProcessor(4), z, tokens)
        possible = z[:, 4] > -np.inf
        assert np.array_equal((here > -np.inf)[possible], (there > -np.inf)[possible])
        assert (there.tobytes() == z.tobytes()) is not certain


def test_the_difference_of_force_tokens() -> None:
    """Elsewhere: they win over earlier bans."""
    z = np.array([[0.0, -np.inf, 1.0]])
    assert theirs(ForcedBOSTokenLogitsProcessor(1), z, np.array([[0]])).tolist() == [[-np.inf, 0.0, -np.inf]]
    stage: Any = find("force_tokens").stage([1])
    assert np.isneginf(stage(z)).all()
    assert "they win over earlier bans" in " ".join(find("force_tokens").doc.split())


def test_the_difference_of_ban_words() -> None:
    """Elsewhere: an end token alone is left out without a word."""
    z = untied(5, np.float64)
    there = theirs(NoBadWordsLogitsProcessor([[4], [0]], eos_token_id=4), z, texts(5, 3))
    assert np.array_equal(there[:, 4], z[:, 4])
    assert np.isneginf(there[:, 0]).all()
    assert "it leaves out end tokens without saying so" in " ".join(find("ban_words").doc.split())
