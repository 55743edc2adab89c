"""Plausible wrong loops, each with the check that must reject it, by its assertion and not by an accident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ulam.core.errors import InvalidLogits
from ulam.decode import request
from ulam.decode import text as text_module
from ulam.decode.loop import Row, Run, SampleEvent
from ulam.decode.plan import Plan
from ulam.decode.text import TextStream
from ulam.recipe.draw import Draw

from . import checks
from .conftest import Tree

Patch = pytest.MonkeyPatch


def before_draw(change: Callable[..., tuple[Any, ...]]) -> Callable[[Patch], None]:
    """A plan whose arguments (rows, z, context, noise, sequences, positions) are changed."""
    real = Plan.draw
    return lambda patch: patch.setattr(Plan, "draw", lambda self, *arguments: real(self, *change(*arguments)))


def after_draw(change: Callable[[Draw], Draw]) -> Callable[[Patch], None]:
    real = Plan.draw
    return lambda patch: patch.setattr(Plan, "draw", lambda self, *arguments: change(real(self, *arguments)))


def position_off_by_one(rows: Any, z: Any, context: Any, noise: Any, sequences: Any, positions: Any) -> tuple[Any, ...]:
    return rows, z, context, noise, sequences, positions + 1


def place_for_sequence(rows: Any, z: Any, context: Any, noise: Any, sequences: Any, positions: Any) -> tuple[Any, ...]:
    return rows, z, context, noise, np.arange(len(rows), dtype=np.uint64), positions


def one_sequence_for_all_samples(rows: Any, z: Any, context: Any, noise: Any, sequences: Any, positions: Any) -> tuple[Any, ...]:
    return rows, z, context, noise, sequences >> np.uint64(32) << np.uint64(32), positions


def recipe_of_the_place(rows: Any, z: Any, context: Any, noise: Any, sequences: Any, positions: Any) -> tuple[Any, ...]:
    return np.arange(len(rows)), z, context, noise, sequences, positions


def model_for_recipe(drawn: Draw) -> Draw:
    return Draw(drawn.tokens, drawn.model_log_probs, drawn.model_log_probs, drawn.failures)


def swapped(drawn: Draw) -> Draw:
    return Draw(drawn.tokens, drawn.model_log_probs, drawn.recipe_log_probs, drawn.failures)


def all_fail_together(drawn: Draw) -> Draw:
    error = InvalidLogits("one of the rows")
    return Draw(drawn.tokens, drawn.recipe_log_probs, drawn.model_log_probs, dict.fromkeys(range(len(drawn.tokens)), error) if drawn.failures else {})


def end_without_log_prob(patch: Patch) -> None:
    real = Row.finish

    def finish(self: Row, reason: Any, stopped_by: Any = None, error: Any = None) -> SampleEvent:
        if stopped_by is not None:
            self.model_log_probs[-1] = self.recipe_log_probs[-1] = 0.0
        return real(self, reason, stopped_by, error)

    patch.setattr(Row, "finish", finish)


def limit_is_an_end(patch: Patch) -> None:
    real = Row.finish
    patch.setattr(Row, "finish", lambda self, reason, *rest, **named: real(self, "stop" if reason == "length" else reason, *rest, **named))


def a_token_too_many(patch: Patch) -> None:
    real = Run.__init__
    patch.setattr(Run, "__init__", lambda self, *arguments, max_tokens=256, **named: real(self, *arguments, max_tokens=max_tokens + 1, **named))


def stop_string_kept(patch: Patch) -> None:
    real = TextStream.settle

    def settle(self: TextStream, text: str) -> str:
        fresh = self.stopped_by is None
        said = real(self, text)
        return said + self.stopped_by if fresh and self.stopped_by is not None else said

    patch.setattr(TextStream, "settle", settle)


def held_text_lost(patch: Patch) -> None:
    patch.setattr(TextStream, "finish", lambda self: self.settle(self.held + self.decoder.decode(b"", final=True)))


def characters_replaced_too_early(patch: Patch) -> None:
    patch.setattr(TextStream, "feed", lambda self, raw: self.settle(self.held + raw.decode("utf-8", "replace")))


def half_a_character_lost(patch: Patch) -> None:
    def finish(self: TextStream) -> str:
        rest, self.held = self.held, ""
        return rest

    patch.setattr(TextStream, "finish", finish)


def stop_strings_inside_one_token_only(patch: Patch) -> None:
    patch.setattr(text_module, "partial", lambda text, word: 0)


def first_stop_string_of_the_list(patch: Patch) -> None:
    real = TextStream.settle

    def settle(self: TextStream, text: str) -> str:
        word = next((word for word in self.stop if word in text), None)
        whole, self.stop = self.stop, self.stop if word is None else (word,)
        said = real(self, text)
        self.stop = whole
        return said

    patch.setattr(TextStream, "settle", settle)


def stop_string_that_begins_first(patch: Patch) -> None:
    real = TextStream.settle

    def settle(self: TextStream, text: str) -> str:
        found = [(text.find(word), word) for word in self.stop if word in text]
        whole, self.stop = self.stop, (min(found)[1],) if found else self.stop
        said = real(self, text)
        self.stop = whole
        return said

    patch.setattr(TextStream, "settle", settle)


def too_short_a_wait(patch: Patch) -> None:
    real = text_module.partial
    patch.setattr(text_module, "partial", lambda text, word: 0 if text.endswith(word[0] * 2) else real(text, word))


def last_piece_not_streamed(patch: Patch) -> None:
    real = Row.finish

    def finish(self: Row, *arguments: Any, **named: Any) -> SampleEvent:
        event = real(self, *arguments, **named)
        return SampleEvent(event.row, "", event.sample)

    patch.setattr(Row, "finish", finish)


def rows_dropped_from_the_end(patch: Patch) -> None:
    real = Tree.select
    patch.setattr(Tree, "select", lambda self, state, rows: real(self, state, range(len(rows)) if len(rows) < len(state.rows) else rows))


def prompts_read_for_every_sample(patch: Patch) -> None:
    real = Run.__init__

    def init(self: Run, model: Any, prompts: Any, recipe: Any = "", *, n: int = 1, **named: Any) -> None:
        real(self, model, prompts, recipe, n=n, **named)
        self.prompts, self.n = [prompt for prompt in self.prompts for _ in range(n)], 1

    patch.setattr(Run, "__init__", init)


def fork_never_given_back(patch: Patch) -> None:
    real = Tree.release
    patch.setattr(Tree, "release", lambda self, state: None if len(state.rows) == 3 else real(self, state))


def noise_of_the_clock(patch: Patch) -> None:
    real, made = request.PhiloxNoise, []

    def noise(seed: int) -> Any:
        made.append(seed)
        return real(seed + len(made))

    patch.setattr(request, "PhiloxNoise", noise)


def cancelled_text_thrown_away(patch: Patch) -> None:
    real = Row.finish

    def finish(self: Row, reason: Any, *rest: Any, **named: Any) -> SampleEvent:
        if reason == "cancelled":
            self.pieces.clear()
        return real(self, reason, *rest, **named)

    patch.setattr(Row, "finish", finish)


def cancelled_called_length(patch: Patch) -> None:
    real = Row.finish
    patch.setattr(Row, "finish", lambda self, reason, *rest, **named: real(self, "length" if reason == "cancelled" else reason, *rest, **named))


@dataclass(frozen=True)
class Mutant:
    """How the loop is wrong, the patch that makes it so, and the check that must say so."""

    fault: str
    plant: Callable[[Patch], None]
    check: Callable[[], None]


MUTANTS = [
    Mutant("the stop string stays in the text", stop_string_kept, checks.check_stops),
    Mutant("the stop string stays in the text", stop_string_kept, checks.check_stop_strings_in_the_law),
    Mutant("text that waited for a stop string is lost at the end", held_text_lost, checks.check_stops),
    Mutant("text that waited for a stop string is lost at the end", held_text_lost, checks.check_stop_strings_in_the_law),
    Mutant("half a character is replaced before its rest can come", characters_replaced_too_early, checks.check_characters),
    Mutant("half a character at the end is lost", half_a_character_lost, checks.check_characters),
    Mutant("a stop string across two tokens is not seen", stop_strings_inside_one_token_only, checks.check_stops_in_the_loop),
    Mutant("of two stop strings the first of the list cuts", first_stop_string_of_the_list, checks.check_stops),
    Mutant("of two stop strings the one that begins first cuts, if both are in one token", stop_string_that_begins_first, checks.check_stops),
    Mutant("a stop string that begins with a repeated letter is let through", too_short_a_wait, checks.check_stops),
    Mutant("the end token has no log-probability", end_without_log_prob, checks.check_ends_and_limits),
    Mutant("a text cut by the limit is called finished", limit_is_an_end, checks.check_ends_and_limits),
    Mutant("the limit comes a token late", a_token_too_many, checks.check_ends_and_limits),
    Mutant("the log-probability of the recipe is that of the model", after_draw(model_for_recipe), checks.check_ends_and_limits),
    Mutant("the two log-probabilities are swapped", after_draw(swapped), checks.check_ends_and_limits),
    Mutant("the position counts from one", before_draw(position_off_by_one), checks.check_addresses),
    Mutant("the place in the batch is the sequence number", before_draw(place_for_sequence), checks.check_alone_is_among_others),
    Mutant("the place in the batch is the sequence number", before_draw(place_for_sequence), checks.check_addresses),
    Mutant("the samples of a prompt share their noise", before_draw(one_sequence_for_all_samples), checks.check_samples_of_a_prompt),
    Mutant("the samples of a prompt share their noise", before_draw(one_sequence_for_all_samples), checks.check_joint_law),
    Mutant("after a row has finished the next ones take its recipe", before_draw(recipe_of_the_place), checks.check_joint_law),
    Mutant("after a row has finished the last ones are dropped", rows_dropped_from_the_end, checks.check_joint_law),
    Mutant("every run has fresh noise", noise_of_the_clock, checks.check_alone_is_among_others),
    Mutant("the rest of the text is not streamed", last_piece_not_streamed, checks.check_streamed_is_unstreamed),
    Mutant("the prompt is read once for each sample", prompts_read_for_every_sample, checks.check_prompts_are_read_once),
    Mutant("the state before the fork is never given back", fork_never_given_back, checks.check_prompts_are_read_once),
    Mutant("one failing row ends all", after_draw(all_fail_together), checks.check_failing_rows),
    Mutant("a cancelled row loses its text", cancelled_text_thrown_away, checks.check_cancel),
    Mutant("a cancelled row is said to have reached its length", cancelled_called_length, checks.check_cancel),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.fault}-{mutant.check.__name__}")
def test_a_planted_fault_is_rejected(mutant: Mutant) -> None:
    with Patch.context() as patch:
        mutant.plant(patch)
        with pytest.raises(AssertionError):
            mutant.check()


def test_every_check_has_a_fault_that_it_rejects() -> None:
    checked = {name for name in vars(checks) if name.startswith("check_") and name != "check_law"}
    assert {mutant.check.__name__ for mutant in MUTANTS} == checked
