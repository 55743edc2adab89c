"""Plausible wrong enumerators, walks and laws, each with the test that must reject it: by its assertion, or because the law is no law."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ulam.core.errors import LawNotNormalised
from ulam.exact import distances, enumerate, laws, mode, path, size, walk
from ulam.exact.laws import Law, Outcome
from ulam.exact.path import Path, Question

from . import test_enumerate, test_law, test_mode, test_mode_limits

Patch = pytest.MonkeyPatch


def weights_are_not_normalised(patch: Patch) -> None:
    def tokens_of(row: Any) -> Any:
        (tokens,) = np.nonzero(np.exp(row))
        return tokens, np.exp(row[tokens])

    patch.setattr(enumerate, "tokens_of", tokens_of)


def last_outcome_is_left_out(patch: Patch) -> None:
    def next_path(self: Path) -> bool:
        while self.stack and self.stack[-1].taken + 2 >= self.stack[-1].last:
            self.stack.pop()
        if not self.stack:
            return False
        self.stack[-1].taken += 1
        return True

    patch.setattr(Path, "next", next_path)


def mass_of_the_first_outcome(patch: Patch) -> None:
    patch.setattr(Question, "after", property(lambda self: self.before * float(self.probs[0])))


def interval_is_not_narrowed(patch: Patch) -> None:
    def locate(path: Path, key: Any, edges: Any) -> int:
        bounds = np.unique([0.0, 1.0, *edges[(edges > 0) & (edges < 1)]])
        lengths = np.diff(bounds)
        piece = path.ask(key, "cell", bounds.tobytes(), lambda: (np.arange(len(lengths)), lengths)) if len(lengths) > 1 else 0
        return int(np.searchsorted(edges, bounds[piece], side="right"))

    patch.setattr(enumerate, "locate", locate)


def lengths_are_not_relative(patch: Patch) -> None:
    def locate(path: Path, key: Any, edges: Any) -> int:
        low, high = path.intervals[key]
        bounds = np.unique([low, high, *edges[(edges > low) & (edges < high)]])
        lengths = np.diff(bounds)
        piece = path.ask(key, "cell", bounds.tobytes(), lambda: (np.arange(len(lengths)), lengths)) if len(lengths) > 1 else 0
        path.intervals[key] = float(bounds[piece]), float(bounds[piece + 1])
        return int(np.searchsorted(edges, bounds[piece], side="right"))

    patch.setattr(enumerate, "locate", locate)


def every_question_is_new(patch: Patch) -> None:
    patch.setattr(Path, "once", Path.ask)


def a_split_keeps_what_it_gave_away(patch: Patch) -> None:
    real = Path.split

    def split(self: Path) -> Path | None:
        lasts = [question.last for question in self.stack]
        other = real(self)
        for question, last in zip(self.stack, lasts, strict=True):
            question.last = last
        return other

    patch.setattr(Path, "split", split)


def a_split_loses_an_outcome(patch: Patch) -> None:
    real = Path.split

    def split(self: Path) -> Path | None:
        other = real(self)
        if other is not None and other.stack[-1].taken + 1 < other.stack[-1].last:
            other.stack[-1] = replace(other.stack[-1], taken=other.stack[-1].taken + 1)
        return other

    patch.setattr(Path, "split", split)


def rows_share_one_path(patch: Patch) -> None:
    """All rows of a run follow the first row's path; the others' masses are counted none the less."""
    real = enumerate.EnumeratingNoise.at

    def at(self: Any, address: Any, shape: Any) -> Any:
        return [(self.paths[0], key) for _, key in real(self, address, shape)]

    patch.setattr(enumerate.EnumeratingNoise, "at", at)


def replay_is_not_compared(patch: Patch) -> None:
    patch.setattr(mode, "check_same", lambda results, again: None)


def an_end_token_goes_on(patch: Patch) -> None:
    """The walk's leaves are all cut, as if a model had no end."""
    real = walk.leaves

    def leaves(model: Any, prompt: Any, max_tokens: int) -> Any:
        return ((Outcome(leaf.tokens, "length"), p) for leaf, p in real(model, prompt, max_tokens))

    patch.setattr(mode, "leaves", leaves)


def divergence_the_other_way(patch: Patch) -> None:
    patch.setattr(laws, "kl", lambda pairs: distances.kl([(q, p) for p, q in pairs]))


def entropy_in_bits(patch: Patch) -> None:
    patch.setattr(laws, "entropy", lambda probs: distances.entropy(probs) / math.log(2))


def variation_not_halved(patch: Patch) -> None:
    patch.setattr(Law, "total_variation", lambda self, other: float(sum(abs(p - q) for p, q in self._beside(other))))


def variation_over_one_support(patch: Patch) -> None:
    patch.setattr(Law, "total_variation", lambda self, other: float(sum(abs(p - other.prob(o)) for o, p in self)) / 2)


def renyi_of_the_wrong_sign(patch: Patch) -> None:
    patch.setattr(laws, "renyi", lambda probs, alpha: distances.renyi(probs, alpha) * (1 if alpha >= 1 else -1))


def ends_are_counted_as_texts_that_go_on(patch: Patch) -> None:
    real = size.sizes
    patch.setattr(size, "sizes", lambda *of: real(*of)._replace(counts=[2 * count for count in real(*of).counts]))
    patch.setattr(test_mode_limits, "sizes", size.sizes)


@dataclass(frozen=True)
class Mutant:
    plant: Callable[[Patch], None]
    rejects: Callable[[], None]


def a_die() -> None:
    test_enumerate.test_a_biased_die("inverse_cdf")


MUTANTS = [
    Mutant(weights_are_not_normalised, test_enumerate.test_probabilities_need_not_be_normalised),
    Mutant(last_outcome_is_left_out, a_die),
    Mutant(mass_of_the_first_outcome, test_enumerate.test_dependent_choices),
    Mutant(interval_is_not_narrowed, test_enumerate.test_a_cell_of_a_shared_uniform_has_the_length_of_its_interval),
    Mutant(lengths_are_not_relative, test_enumerate.test_a_uniform_that_is_compared_twice_remembers),
    Mutant(every_question_is_new, test_enumerate.test_the_same_question_again_has_the_same_answer),
    Mutant(a_split_keeps_what_it_gave_away, lambda: test_mode.test_the_loop_draws_what_the_recipe_says("")),
    Mutant(a_split_loses_an_outcome, lambda: test_mode.test_the_loop_draws_what_the_recipe_says("")),
    Mutant(rows_share_one_path, lambda: test_mode.test_the_loop_draws_what_the_recipe_says("")),
    Mutant(an_end_token_goes_on, test_mode.test_a_models_own_law_is_exact),
    Mutant(divergence_the_other_way, test_law.test_distances_by_hand),
    Mutant(entropy_in_bits, test_law.test_entropies_in_nats),
    Mutant(variation_not_halved, test_law.test_distances_by_hand),
    Mutant(variation_over_one_support, test_mode.test_greedy_only_ever_says_aaa),
    Mutant(renyi_of_the_wrong_sign, test_law.test_entropies_in_nats),
    Mutant(ends_are_counted_as_texts_that_go_on, test_mode_limits.test_sizes_are_counted_where_they_can_be_and_estimated_beyond),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.plant.__name__ for mutant in MUTANTS])
def test_a_planted_fault_is_rejected(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.rejects()
    mutant.plant(monkeypatch)
    with pytest.raises((AssertionError, LawNotNormalised, path.NotDeterministic)):
        mutant.rejects()


def test_a_result_from_elsewhere_is_seen_by_comparing_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    test_enumerate.test_a_generator_of_its_own_is_noticed()
    replay_is_not_compared(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_enumerate.test_a_generator_of_its_own_is_noticed()
