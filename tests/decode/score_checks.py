"""What must hold of scores, each as one function that raises `AssertionError`. The tests run them, and so do the planted faults."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import ulam
from ulam.models.table import abc

from .checks import irregular
from .conftest import Prefix, Tree, assert_given_back

# the running example of the design

D = Tree({(): (0.5, 0.4, 0.1), (0,): (0, 0.5, 0.5)} | {(0, 1): (0, 0, 1), (1,): (0, 0, 1), (1, 0): (0, 0, 1)}, [b"x", b"y", b""], ends=[2])

# step weights u, by arithmetic of this file: what the stages make of the model's probabilities, never renormalised

Weights = list[float]
Rule = Callable[[Weights, Prefix, Prefix], Weights]


def tempered(T: float) -> Rule:
    return lambda u, prompt, generated: [w ** (1 / T) for w in u]


def nucleus(least: float) -> Rule:
    def rule(u: Weights, prompt: Prefix, generated: Prefix) -> Weights:
        mass, kept = 0.0, set()
        for token in sorted(range(len(u)), key=lambda i: (-u[i], i)):
            if mass < least * math.fsum(u):
                kept.add(token)
            mass += u[token]
        return [w if i in kept else 0.0 for i, w in enumerate(u)]

    return rule


def biased(bias: dict[int, float]) -> Rule:
    return lambda u, prompt, generated: [w * math.exp(bias.get(i, 0.0)) for i, w in enumerate(u)]


def presence(a: float) -> Rule:
    return lambda u, prompt, generated: [w * math.exp(-a * (i in generated)) for i, w in enumerate(u)]


def frequency_in_the_prompt(a: float) -> Rule:
    return lambda u, prompt, generated: [w * math.exp(-a * prompt.count(i)) for i, w in enumerate(u)]


def top(u: Weights, prompt: Prefix, generated: Prefix) -> Weights:
    return [w if i == u.index(max(u)) else 0.0 for i, w in enumerate(u)]


RECIPES: dict[str, list[Rule]] = {
    "": [],
    "temperature=0.5": [tempered(0.5)],
    "temperature=1.7 top_p=0.8": [tempered(1.7), nucleus(0.8)],
    "top_p=0.7 temperature=0.6": [nucleus(0.7), tempered(0.6)],
    "logit_bias({0: 1.5, 2: -2}) top_p=0.9": [biased({0: 1.5, 2: -2.0}), nucleus(0.9)],
    "presence_penalty(0.8, window=16) gumbel_max": [presence(0.8)],
    "frequency_penalty(0.6, scope=prompt) temperature=0.8": [frequency_in_the_prompt(0.6), tempered(0.8)],
    "presence_penalty=1.1 greedy": [presence(1.1), top],
}


@dataclass
class Expected:
    """What a text must score, number by number."""

    model: list[float]
    under: list[float]
    normalizers: list[float]
    weights: list[float]
    ranks: list[int]


def log(x: float) -> float:
    return math.log(x) if x else -math.inf


def expected(after: Callable[[Prefix], Sequence[float]], prompt: Prefix, tokens: Prefix, rules: Sequence[Rule]) -> Expected:
    found = Expected([], [], [], [], [])
    for t, token in enumerate(tokens):
        p = [float(x) for x in after((*prompt, *tokens[:t]))]
        p = [x / math.fsum(p) for x in p]
        u = p
        for rule in rules:
            u = rule(u, prompt, tokens[:t])
        found.model.append(log(p[token]))
        found.under.append(log(u[token] / math.fsum(u)))
        found.normalizers.append(log(math.fsum(u)))
        found.weights.append(log(u[token]))
        found.ranks.append(1 + sum(x > p[token] or (x == p[token] and i < token) for i, x in enumerate(p)))
    return found


def assert_near(found: Any, wanted: Sequence[float], within: float = 1e-12) -> None:
    assert found is not None
    assert len(found) == len(wanted)
    for position, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a == b or abs(a - b) <= within, f"position {position}: {a}, not {b}"


def tree(seed: int, *, logits: bool = False, size: int = 5, zeros: float = 0.0) -> Tree:
    """Rows of a Dirichlet law; with `logits`, as logits that are not normalised."""
    row = irregular(size, seed, zeros)
    shifted = lambda prefix: (np.log(row(prefix)) + len(prefix) + 1.5).tolist()  # noqa: E731
    return Tree(shifted if logits else row, [b"a", b"b", b"c", b"d", b""][5 - size :], ends=[size - 1], logits=logits)


def texts(seed: int, count: int = 3) -> list[tuple[Prefix, Prefix]]:
    """Prompts and texts of four letters, the second text with the end token."""
    rng = np.random.default_rng(seed)
    pairs = [(tuple(rng.integers(0, 4, i).tolist()), tuple(rng.integers(0, 4, 9).tolist())) for i in range(count)]
    return [(prompt, (*text, 4) if i == 1 else text) for i, (prompt, text) in enumerate(pairs)]


# the checks


def check_arithmetic() -> None:
    """Fifty tables: both log-probabilities, the rank, log N, and q(x) prod N = prod u, to 1e-12 a text."""
    for seed in range(50):
        model = tree(seed, logits=seed % 2 == 1)
        after = irregular(5, seed, 0.0)
        recipe = list(RECIPES)[seed % len(RECIPES)]
        for prompt, text in texts(seed):
            wanted = expected(after, prompt, text, RECIPES[recipe])
            found = ulam.score(model, text, recipe, prompt=prompt)
            assert_near(found.model_log_probs, wanted.model)
            assert_near(found.recipe_log_probs, wanted.under)
            assert_near(found.log_normalizers, wanted.normalizers)
            assert found.ranks.tolist() == wanted.ranks
            assert found.recipe_log_prob is not None
            assert found.log_distortion is not None
            assert_near([found.recipe_log_prob + found.log_distortion], [math.fsum(wanted.weights)], 1e-12 * len(text))
            assert found.coverage == sum(q > -math.inf for q in wanted.under)
            assert_near([found.model_log_prob], [math.fsum(wanted.model)])
        assert_given_back(model)


SAMPLED = (*RECIPES, "repetition_penalty(1.4, window=3) temperature=0.9", "frequency_penalty=0.5 top_k=3", "typical_p=0.7", "min_p=0.2")


def check_samples() -> None:
    """The score of a sample's tokens, end token included, is what the loop said when it drew them."""
    for seed, recipe in enumerate(SAMPLED):
        model = tree(seed, logits=seed % 2 == 0)
        for sample in ulam.sample(model, [[0, 1, 1], [3]], recipe, n=4, max_tokens=12, seed=seed):
            found = ulam.score(model, sample.tokens, recipe, prompt=sample.prompt_tokens)
            assert_near(found.model_log_probs, sample.model_log_probs.tolist())
            assert_near(found.recipe_log_probs, sample.recipe_log_probs.tolist())
            assert_near([found.model_log_prob, found.recipe_log_prob or 0.0], [sample.model_log_prob, sample.recipe_log_prob])
            assert found.removed_by == (None,) * len(sample.tokens)
            assert found.text == sample.text


def short_sighted(limit: int) -> Tree:
    """A model with a context, whose rows depend on all that it was given."""

    def after(prefix: Prefix) -> list[float]:
        assert len(prefix) < limit
        return irregular(5, 3, 0.0)(prefix)

    return Tree(after, [b"a", b"b", b"c", b"d", b""], ends=[4], context_limit=limit)


def seen(place: int, limit: int) -> int:
    """Where the window begins that the token at `place` is scored in: each begins half a context, rounded down, after the last."""
    return 0 if place < limit else ((place - limit) // (limit // 2) + 1) * (limit // 2)


def check_windows() -> None:
    """Texts around a context: a loop over prefixes, of which every one holds at least half a context; the history is whole."""
    rng = np.random.default_rng(1)
    rules = [presence(0.8), nucleus(0.9)]
    for limit, recipe in product((2, 7, 8), ("presence_penalty=0.8 top_p=0.9", "presence_penalty(0.8, window=99) top_p=0.9")):
        for before, length in ((0, 1), (0, limit), (0, limit + 1), (1, 5 * limit), (3, limit - 2), (limit + 2, 2 * limit), (3 * limit, 1)):
            prompt, text = tuple(rng.integers(0, 4, before).tolist()), tuple(rng.integers(0, 4, length).tolist())
            if not text:
                continue
            whole = (*prompt, *text)
            model = short_sighted(limit)
            windowed = lambda prefix, whole=whole, limit=limit: irregular(5, 3, 0.0)(whole[seen(len(prefix), limit) : len(prefix)])  # noqa: E731
            wanted = expected(windowed, prompt, text, rules)
            found = ulam.score(model, text, recipe, prompt=prompt)
            assert_near(found.model_log_probs, wanted.model)
            assert_near(found.recipe_log_probs, wanted.under)
            assert found.scored == length
            assert all(2 * (place - seen(place, limit)) >= limit for place in range(limit, len(whole)))
            assert found.windows == len({seen(place, limit) for place in range(before, len(whole))})
            assert_given_back(model)


def check_removed() -> None:
    """Who made a token impossible: the model, a stage as it was written, or the chooser; what comes after is scored."""
    found = ulam.score(D, [0, 1, 2], "temperature=0.9 logit_bias({0: 1}) greedy")
    assert found.removed_by == (None, None, None)
    found = ulam.score(D, [1, 0, 2], "top_p=0.4 temperature=0")
    assert found.removed_by == ("top_p=0.4", "model", None)
    found = ulam.score(D, [1, 2], "top_p=0.95 temperature=2 greedy")
    assert found.removed_by == ("greedy", None)
    found = ulam.score(D, [2], "top_k=3 top_p=0.9 top_k=2 greedy")
    assert found.removed_by == ("top_p=0.9",)
    found = ulam.score(abc(), "bca", "temperature=0.7 top_k=2")
    assert found.removed_by == (None, "top_k=2", None)
    assert_near(found.recipe_log_probs, [-math.log(1 + 2 ** (1 / 0.7)), -math.inf, -math.log(1 + 2 ** (-1 / 0.7))])
    assert (found.recipe_log_prob, found.coverage, found.removed_at) == (-math.inf, 2, 1)
