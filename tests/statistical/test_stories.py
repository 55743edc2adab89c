"""What `ulam.sample` draws from the built-in model, at its full vocabulary: against the recipe's law of logits that are computed apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ulam
from tests.false_alarms import Statistical
from tests.statistical.laws import Probs, frequent, one_outcome, spread, table_of
from ulam.core.noise import Address, PhiloxNoise, Uniform
from ulam.testing import agreements, calibration, calibration_miss, draws_match, miss_probability, two_way, two_way_miss

PROMPT = "Once upon a time, there was a"  # 4.2 bits, with a long tail
PLAIN = 30_000
Tokens = NDArray[np.int64]


@pytest.fixture(scope="module")
def logits(stories: ulam.LanguageModel) -> NDArray[np.float32]:
    """Of the first token after the prompt, [V], from the model itself."""
    _, rows = stories.prefill([[*start(stories), *stories.vocabulary.encode(PROMPT)]])
    return rows[0]


@pytest.fixture(scope="module")
def plain(stories: ulam.LanguageModel) -> Tokens:
    """First tokens of many samples under the empty recipe."""
    return first_tokens(stories, "", PLAIN, seed=7)


def start(model: ulam.LanguageModel) -> list[int]:
    return [] if model.vocabulary.start is None else [model.vocabulary.start]


def first_tokens(model: ulam.LanguageModel, recipe: str, n: int, **noise: Any) -> Tokens:
    """Of n samples, with a seed or a noise."""
    return np.array([sample.tokens[0] for sample in ulam.sample(model, PROMPT, recipe, n=n, max_tokens=1, **noise)])


def law_of(logits: NDArray[np.float32], recipe: str) -> Probs:
    probs = np.asarray(ulam.Recipe(recipe).distribution(logits).probs, dtype=np.float64)
    return probs / probs.sum()


def test_first_tokens_of_the_bare_model(plain: Tokens, logits: NDArray[np.float32], statistical: Statistical) -> None:
    law = law_of(logits, "")
    fifth = int(np.argsort(-law)[4])
    counts = np.bincount(plain, minlength=len(law))
    statistical("stories.bare", counts, law, spread(law, 0.05), one_outcome(law, fifth, 1.6), law_of(logits, "temperature=1.1"))


@pytest.mark.parametrize(
    ("name", "recipe", "others"),
    [
        ("truncated", "temperature=0.8 top_p=0.95", ("top_p=0.95 temperature=0.8", "temperature=0.9 top_p=0.95", "temperature=0.8")),
        ("gumbel", "temperature=1.3 min_p=0.02 gumbel_max", ("min_p=0.02 temperature=1.3", "temperature=1.2 min_p=0.02", "temperature=1.3 min_p=0.03")),
    ],
)
def test_first_tokens_of_a_recipe(
    name: str, recipe: str, others: tuple[str, ...], stories: ulam.LanguageModel, logits: NDArray[np.float32], statistical: Statistical
) -> None:
    """Other engines truncate before the temperature, or sharpen otherwise: each of these laws would be seen."""
    law, n = law_of(logits, recipe), 8000
    counts = np.bincount(first_tokens(stories, recipe, n, seed=11), minlength=len(law))
    statistical(f"stories.{name}", counts, law, spread(law, 0.1), *(law_of(logits, other) for other in others))


class EightBits(PhiloxNoise):
    """Uniforms of 8 bits: no token of less than 1/256 is drawn unless it holds a multiple of it."""

    def uniform(self, address: Address) -> Uniform:
        return Uniform(np.floor(super().uniform(address).values * 256) / 256)


def test_coarse_noise_is_rejected(stories: ulam.LanguageModel, logits: NDArray[np.float32]) -> None:
    law, n = law_of(logits, ""), 3000
    tokens = np.searchsorted(np.cumsum(law), np.arange(256) / 256, side="right")
    assert miss_probability(law, np.bincount(tokens, minlength=len(law)) / 256, n) <= 1e-6
    assert not draws_match(np.bincount(first_tokens(stories, "", n, noise=EightBits(7)), minlength=len(law)), law).ok


def assert_independent(statistical: Statistical, name: str, first: Tokens, second: Tokens, law: Probs, share: float) -> None:
    """Pairs agree as often as independent ones, and their table is that of independent ones; seen is a share of pairs with common noise."""
    n, same, number = len(first), float((law**2).sum()), frequent(law, len(first))
    common = np.bincount(number, law)
    statistical.tally(
        f"stories.{name}.agreements",
        agreements(first, second, law),
        miss_probability([same, 1 - same], [same + share * (1 - same), (1 - same) * (1 - share)], n),
    )
    statistical.tally(
        f"stories.{name}.table",
        two_way(table_of(number[first], number[second])),
        two_way_miss((1 - share) * np.outer(common, common) + share * np.diag(common), n),
    )


def test_neighbouring_samples_are_independent(plain: Tokens, logits: NDArray[np.float32], statistical: Statistical) -> None:
    assert_independent(statistical, "samples", plain[0::2], plain[1::2], law_of(logits, ""), share=0.1)


def test_neighbouring_seeds_are_independent(stories: ulam.LanguageModel, plain: Tokens, logits: NDArray[np.float32], statistical: Statistical) -> None:
    n = 5000
    assert_independent(statistical, "seeds", plain[:n], first_tokens(stories, "", n, seed=8), law_of(logits, ""), share=0.2)


def test_neighbouring_prompts_are_independent(stories: ulam.LanguageModel, logits: NDArray[np.float32], statistical: Statistical) -> None:
    """The same prompt twice: its samples have other noise the second time."""
    n = 4000
    tokens = np.array([sample.tokens[0] for sample in ulam.sample(stories, [PROMPT, PROMPT], "", n=n, max_tokens=1, seed=9)])
    assert_independent(statistical, "prompts", tokens[:n], tokens[n:], law_of(logits, ""), share=0.2)


TEXT = (
    "Once upon a time, there was a little boy named Tom. Tom had a red ball that he loved very much. One day, he went to the park "
    "with his mom. A big dog came and took the ball away. Tom was sad, but the dog wanted to play."
)


def test_draws_along_a_text_are_calibrated(stories: ulam.LanguageModel, statistical: Statistical) -> None:
    """20 draws after every prefix of a text: predicted against observed by decade of probability. A draw that was given to the
    position after its own would be seen."""
    recipe, n = "temperature=0.9 min_p=0.002", 20
    ids = [*start(stories), *stories.vocabulary.encode(TEXT)]
    state, rows = stories.prefill([ids[:1]])
    laws = [law_of(rows[0], recipe)]
    for token in ids[1:]:
        state, rows = stories.step(state, [token])
        laws.append(law_of(rows[0], recipe))
    prompts = [ids[: i + 1] for i in range(len(ids))]
    tokens = np.array([sample.tokens[0] for sample in ulam.sample(stories, prompts, recipe, n=n, max_tokens=1, seed=13)])
    every = np.repeat(laws, n, axis=0)
    statistical.tally("stories.calibration", calibration(every, tokens), calibration_miss(every, np.roll(every, n, axis=0)))
