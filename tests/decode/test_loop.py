"""The loop: invariance, what it asks of the model, how rows end, failing rows, cancelling, interrupts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ulam
from ulam.core.errors import EmptyPrompt, EmptySupport, InvalidLogits
from ulam.core.method import Constraint, Transform
from ulam.decode import Interrupted, SampleEvent, TokenEvent
from ulam.decode.loop import BATCH
from ulam.recipe import Recipe

from . import checks
from .checks import exact, large
from .conftest import Tree, assert_given_back


@pytest.mark.parametrize(
    "check",
    [
        checks.check_alone_is_among_others,
        checks.check_samples_of_a_prompt,
        checks.check_addresses,
        checks.check_streamed_is_unstreamed,
        checks.check_prompts_are_read_once,
        checks.check_failing_rows,
        checks.check_cancel,
    ],
)
def test_the_loop(check: Callable[[], None]) -> None:
    check()


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    def texts(seed: Any) -> list[str]:
        return [sample.text for sample in ulam.sample(large(), [[1]], "", n=6, max_tokens=8, seed=seed)]

    assert texts(7) == texts(7) == texts(np.int32(7)) == texts(np.uint64(7))
    assert texts(7) != texts(8)
    assert texts(7) != texts(2**32 + 7)
    fresh = ulam.sample(large(), [[1]], "", max_tokens=8)
    assert exact(fresh[0]) == exact(ulam.sample(large(), [[1]], "", max_tokens=8, seed=fresh.seed)[0])


def test_equal_sequence_numbers_share_their_noise() -> None:
    """The same dice for different recipes; the same recipe gives the same text."""
    samples = ulam.sample(large(), [[1], [1], [1]], ["", "", "temperature=0.01"], sequence=[5, 5, 5], n=2, max_tokens=8, seed=7)
    assert [sample.sequence for sample in samples] == [5, 6] * 3
    assert [sample.text for sample in samples[0:2]] == [sample.text for sample in samples[2:4]]
    assert samples[0].text != samples[1].text


def test_tensors_of_torch_are_drawn_alone_as_in_a_batch() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    class Torch(Tree):
        dtype = torch.float32

        def read(self, rows: Any) -> Any:
            state, logits = super().read(rows)
            return state, torch.tensor(logits, dtype=self.dtype)

    inner = large()
    for dtype in (torch.float32, torch.bfloat16):
        model = Torch(inner.after, inner.vocabulary.tokens, ends=inner.vocabulary.ends, logits=True)
        model.dtype = dtype
        prompts, recipes = [[i] for i in range(12)], [checks.OTHERS[i % len(checks.OTHERS)] for i in range(12)]
        many = ulam.sample(model, prompts, recipes, max_tokens=6, seed=3)
        for sample in many:
            (alone,) = ulam.sample(model, [list(sample.prompt_tokens)], sample.recipe, sequence=sample.sequence, max_tokens=6, seed=3)
            assert exact(alone) == exact(sample)
            assert sample.error is None
            assert math.isfinite(sample.recipe_log_prob)
        assert_given_back(model)


# how a row ends


def script(*tokens: int, size: int = 6, end: int = 5, **settings: Any) -> Tree:
    """A model that says these tokens, whatever the prompt of one token was, and then the end."""
    said = [*tokens, end]
    letters = [b"a", b"b", b"c", b"\xc3", b"\xa9", b""][:size]
    return Tree(lambda prefix: [float(i == said[min(len(prefix) - 1, len(said) - 1)]) for i in range(size)], letters, ends=[end], **settings)


def one(model: Tree, **settings: Any) -> Any:
    (sample,) = ulam.sample(model, [[0]], "", seed=1, **settings)
    assert_given_back(model)
    return sample


def test_an_end_token_counts_and_has_no_text() -> None:
    sample = one(script(0, 1))
    assert (sample.text, sample.tokens, sample.finish_reason, sample.stopped_by) == ("ab", (0, 1, 5), "stop", "<5>")
    assert len(sample.model_log_probs) == 3


def test_an_end_token_with_bytes_has_no_text_either() -> None:
    model = Tree(lambda prefix: (0.0, 1.0) if len(prefix) == 3 else (1.0, 0.0), [b"a", b"\n"], ends=[1])
    sample = one(model, stop=["\n"])
    assert (sample.text, sample.tokens, sample.finish_reason, sample.stopped_by) == ("aa", (0, 0, 1), "stop", "end")


def test_an_end_at_the_limit_is_an_end() -> None:
    sample = one(script(0, 1), max_tokens=3)
    assert (sample.text, sample.finish_reason) == ("ab", "stop")


def test_a_stop_string_at_the_limit_is_a_stop() -> None:
    sample = one(script(0, 1), max_tokens=2, stop="b")
    assert (sample.text, sample.tokens, sample.finish_reason, sample.stopped_by) == ("a", (0, 1), "stop", "b")


def test_a_limit_is_no_end() -> None:
    sample = one(script(0, 1, 2), max_tokens=2)
    assert (sample.text, sample.tokens, sample.finish_reason, sample.stopped_by) == ("ab", (0, 1), "length", None)


def test_text_that_waited_for_a_stop_string_is_given_at_the_end() -> None:
    assert one(script(0, 1), stop="bc").text == "ab"
    sample = one(script(0, 1), max_tokens=2, stop="bc")
    assert (sample.text, sample.finish_reason) == ("ab", "length")


def test_half_a_character_at_the_end_is_replaced() -> None:
    sample = one(script(0, 3), max_tokens=2)
    assert (sample.text, sample.finish_reason) == ("a\ufffd", "length")
    assert one(script(0, 3)).text == "a\ufffd"
    assert one(script(3, 4)).text == "é"


@pytest.mark.parametrize("max_tokens", [2, 3])
def test_half_a_character_at_the_end_may_complete_a_stop_string(max_tokens: int) -> None:
    """The reason is the one that fits the text: cut by the stop string."""
    sample = one(script(0, 3), max_tokens=max_tokens, stop="a\ufffd")
    assert (sample.text, sample.finish_reason, sample.stopped_by) == ("", "stop", "a\ufffd")


def test_no_tokens_at_all() -> None:
    model = large()
    run = ulam.stream(model, [[1], [2]], "", n=2, max_tokens=0, seed=1)
    assert [type(event) for event in run] == [SampleEvent] * 4
    assert [(s.text, s.tokens, s.finish_reason, s.model_log_prob) for s in run.samples] == [("", (), "length", 0.0)] * 4
    assert model.calls == []


def test_the_context_ends_a_row() -> None:
    """Six places: a prompt of one leaves five, of five leaves one; six are too many."""
    model = Tree(lambda prefix: (1.0, 0.0), [b"a", b"b"], context_limit=6)
    samples = ulam.sample(model, [[0], [0] * 5], "", max_tokens=100, seed=1)
    assert [(sample.text, sample.finish_reason) for sample in samples] == [("aaaaa", "length"), ("a", "length")]
    assert max(len(state.rows[0]) for state in model.states if state.rows) == 5
    with pytest.raises(ulam.UlamError, match=r"prompt 2 has 6 tokens; the context of tree holds 6, one of them to draw"):
        ulam.sample(model, [[0], [0] * 6], "", seed=1)


def test_prompts_are_text_or_ids() -> None:
    model = Tree(lambda prefix: (0.0, 0.0, 1.0), [b"a", b"b", b""], ends=[2], start=2)
    by_text, by_ids = ulam.sample(model, ["ab", ""], "", seed=1), ulam.sample(model, [[2, 0, 1], [2]], "", seed=1)
    assert [sample.prompt_tokens for sample in by_text] == [sample.prompt_tokens for sample in by_ids] == [(2, 0, 1), (2,)]
    assert [sample.prompt for sample in by_text] == [sample.prompt for sample in by_ids] == ["ab", ""]
    assert [exact(sample) for sample in by_text] == [exact(sample) for sample in by_ids]


def test_an_empty_prompt_is_the_models_to_refuse() -> None:
    class Careful(Tree):
        def prefill(self, prompts: Any) -> Any:
            if not all(prompts):
                raise EmptyPrompt("an empty prompt has no next token")
            return super().prefill(prompts)

    with pytest.raises(EmptyPrompt):
        ulam.sample(Careful({}, [b"a", b"b"]), "", "", seed=1)
    assert ulam.sample(Careful({}, [b"a", b"b"], start=0), "", "", max_tokens=1, seed=1)[0].prompt_tokens == (0,)


def test_a_recipe_is_bound_to_the_models_tokens() -> None:
    model = Tree(lambda prefix: (0.25, 0.25, 0.5), [b"a", b"b", b""], ends=[2])
    (sample,) = ulam.sample(model, "a", 'logit_bias={"a": 1, end: -1e30}', max_tokens=7, seed=1)
    assert str(sample.recipe) == 'logit_bias={"a": 1, end: -1e30}'  # as it was written, so its id is that of the recipe
    assert 2 not in sample.tokens


# rows that fail


class Bare(Transform):
    """Removes every token of a row whose newest generated token is 0."""

    def apply(self, z: Any, context: Any) -> Any:
        gone = np.array([list(history.generated[-1:]) == [0] for history in context.rows])
        return np.where(gone[:, None], -np.inf, z)


def test_a_stage_that_empties_a_row_fails_it_alone() -> None:
    model = script(1, 1, 0, 1)
    (sample,) = ulam.sample(model, [[0]], Recipe([Bare()]), seed=1)
    assert (sample.text, sample.finish_reason) == ("bba", "error")
    assert isinstance(sample.error, EmptySupport)
    assert (sample.error.stage, sample.error.row, sample.error.position) == ("bare", 0, 3)
    assert str(sample.error) == "bare left no token of 1: mass 1 removed (row 0, position 3)\n  fix: let bare keep more, or leave it out"
    assert_given_back(model)


class Barred(Constraint):
    """The same as a constraint."""

    def allowed(self, z: Any, context: Any) -> Any:
        return np.array([[list(history.generated[-1:]) != [0]] for history in context.rows])


def test_a_row_that_a_constraint_empties_says_so() -> None:
    model = script(1, 1, 0, 1)
    (sample,) = ulam.sample(model, [[0]], Recipe([Barred()]), seed=1)
    assert (sample.text, sample.finish_reason, type(sample.error)) == ("bba", "constraint", EmptySupport)
    assert_given_back(model)


def test_all_rows_may_fail_at_once() -> None:
    model = Tree(lambda prefix: [math.nan] * 3 if len(prefix) == 3 else [0.0] * 3, [b"a", b"b", b"c"], logits=True)
    samples = ulam.sample(model, [[0], [1]], "", n=2, max_tokens=9, seed=1)
    assert [(sample.finish_reason, len(sample.tokens)) for sample in samples] == [("error", 2)] * 4
    assert_given_back(model)
    at_once = Tree(lambda prefix: [math.nan] * 3, [b"a", b"b", b"c"], logits=True)
    samples = ulam.sample(at_once, [[0], [1]], "greedy", max_tokens=9, seed=1)
    assert [(sample.finish_reason, sample.text, sample.model_log_prob) for sample in samples] == [("error", "", 0.0)] * 2
    assert_given_back(at_once)


def test_a_row_keeps_its_half_character_when_it_fails() -> None:
    model = script(0, 3)
    after = model.after
    model.after = lambda prefix: [math.nan] * 6 if len(prefix) == 3 else after(prefix)
    sample = one(model, stop="a\ufffd")
    assert (sample.text, sample.finish_reason, sample.stopped_by) == ("", "error", None)


# stopping early


def test_cancelled_before_the_first_step_nothing_is_asked_of_the_model() -> None:
    model = large()
    run = ulam.stream(model, [[1], [2]], "", n=2, max_tokens=9, seed=8)
    run.cancel()
    assert [event.sample.finish_reason for event in run if isinstance(event, SampleEvent)] == ["cancelled"] * 4
    assert model.calls == []


def test_cancelling_after_the_end_changes_nothing() -> None:
    run = ulam.stream(large(), [[1]], "", max_tokens=3, seed=8)
    events = list(run)
    run.cancel()
    assert list(run) == []
    assert run.samples[0].finish_reason == events[-1].sample.finish_reason != "cancelled"


@pytest.mark.parametrize("events", [0, 1, 2, 5, 9, 14])
def test_closing_gives_the_memory_back_and_keeps_the_text(events: int) -> None:
    model = large()
    run = ulam.stream(model, [[1], [2]], "", n=2, max_tokens=9, seed=8)
    said = dict.fromkeys(range(4), 0)
    for _ in range(events):
        event = next(run)
        said[event.row] += isinstance(event, TokenEvent)
    run.close()
    run.close()
    assert list(run) == []
    assert_given_back(model)
    whole = ulam.sample(large(), [[1], [2]], "", n=2, max_tokens=9, seed=8)
    for sample, other in zip(run.samples, whole, strict=True):
        assert sample.tokens == other.tokens[: said[sample.index]]
        assert sample.text == other.text[: said[sample.index]]
        assert sample.finish_reason in ("cancelled", other.finish_reason)
    assert len(run.samples) == 4
    assert (model.calls == []) == (events == 0)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize(("call", "number"), [("prefill", 1), ("select", 1), ("select", 2), ("step", 1), ("step", 3)])
def test_an_exception_inside_the_model_leaks_no_state(fault: type[BaseException], call: str, number: int) -> None:
    """An interrupt keeps what was drawn: all of it, and nothing else."""
    model = large()
    real, calls = getattr(model, call), []

    def broken(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            raise fault
        return real(*arguments)

    setattr(model, call, broken)
    with pytest.raises(fault) as caught:
        ulam.sample(model, [[1], [2]], "", n=2, max_tokens=9, seed=8)
    assert_given_back(model)
    if fault is KeyboardInterrupt:
        assert isinstance(caught.value, Interrupted)
        assert "interrupted" in str(caught.value)
        whole = ulam.sample(large(), [[1], [2]], "", n=2, max_tokens=9, seed=8)
        steps = 1 + len(model.asked("step")) if model.asked("prefill") and (call, number) != ("select", 1) else 0
        assert [sample.index for sample in caught.value.samples] == [0, 1, 2, 3]
        for sample, other in zip(caught.value.samples, whole, strict=True):
            assert sample.tokens == other.tokens[:steps]
            assert sample.text == other.text[:steps]
            assert sample.finish_reason == (other.finish_reason if len(other.tokens) <= steps else "cancelled")


# batches


@pytest.mark.parametrize(("prompts", "n"), [(1, 150), (150, 1), (5, 40)])
def test_more_rows_than_a_batch_draw_as_each_does_alone(prompts: int, n: int) -> None:
    model = Tree(lambda prefix: (0.5, 0.3, 0.2), [b"a", b"b", b""], ends=[2])
    out = ulam.sample(model, [[i % 2] for i in range(prompts)], "temperature=0.9", n=n, max_tokens=5, seed=3)
    assert [sample.index for sample in out] == list(range(prompts * n))
    assert sum(len(asked) for asked in model.asked("prefill")) == prompts  # each prompt is read once
    assert 0 < max(model.asked("step")) <= BATCH
    for sample in (out[0], out[BATCH - 1], out[BATCH], out[-1]):
        alone = ulam.sample(model, [list(sample.prompt_tokens)], "temperature=0.9", max_tokens=5, seed=3, sequence=sample.sequence)[0]
        assert (alone.tokens, alone.recipe_log_prob) == (sample.tokens, sample.recipe_log_prob)
    assert_given_back(model)


def test_cancelling_leaves_later_batches_untouched() -> None:
    model = Tree(lambda prefix: (0.5, 0.5), [b"a", b"b"])
    run = ulam.stream(model, [[0]], n=2 * BATCH, max_tokens=9, seed=3)
    next(run)
    run.cancel()
    assert [event for event in run if isinstance(event, TokenEvent) and event.row >= BATCH] == []
    assert [(sample.finish_reason, len(sample.tokens)) for sample in run.samples] == [("cancelled", 1)] * BATCH + [("cancelled", 0)] * BATCH
    assert_given_back(model)


@pytest.mark.parametrize("shape", [(1, 2), (1, 5), (2, 3), (3,)])
def test_logits_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    class Wrong(Tree):
        def prefill(self, prompts: Any) -> Any:
            return super().prefill(prompts)[0], np.zeros(shape)

    with pytest.raises(InvalidLogits, match="for 1 rows and 3 tokens"):
        ulam.sample(Wrong({}, [b"a", b"b", b"c"]), [[0]], seed=1)
