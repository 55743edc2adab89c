"""Models made of models: several tokens at once, wrong arguments, and wrong versions that the check of models rejects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ulam
from tests.models.combined import Layered, restless, restless_layers
from tests.models.counted import Counted
from ulam.core.errors import (
    ContextOverflow,
    ModelError,
    NeedsTokenizer,
    OutOfRange,
    StaleState,
    TokenOutOfRange,
    Unsupported,
    UsageError,
    VocabularyMismatch,
)
from ulam.core.vocabulary import Vocabulary
from ulam.decode.recipe_model import RecipeModel
from ulam.models import IID, CachedModel, Table, abc, alphabet, context_aware, contrastive, dola, ensemble, extend, guidance, proxy, words
from ulam.models.builtin import Llama
from ulam.models.combination import Combination, Part
from ulam.models.prefixes import Prefix, PrefixState
from ulam.models.state import token_rows
from ulam.testing import ConformanceError, check_model

ABC = alphabet("abc")

# several tokens at once


class Extending(Counted):
    """A table that reads several tokens at once."""

    capabilities = frozenset({"batch_invariant", "extend"})

    def extend(self, state: Any, tokens: Any) -> Any:
        ids = token_rows(tokens, len(self.vocabulary), len(state.rows))
        if self.context_limit is not None and max(map(len, state.rows)) + ids.shape[1] > self.context_limit:
            raise ContextOverflow("full rows")
        found = [self._read([(*row, *more[: k + 1]) for row, more in zip(state.rows, ids.tolist(), strict=True)]) for k in range(ids.shape[1])]
        state.check()
        state.live = False
        after = PrefixState(tuple((*row, *more) for row, more in zip(state.rows, ids.tolist(), strict=True)))
        return self.read("extend", after, np.stack(found, 1) if found else np.zeros((*ids.shape, len(self.vocabulary))))


@pytest.mark.parametrize("mates", [(Extending, Extending), (Extending, Counted), (Counted, Extending)])
def test_several_tokens_at_once_are_the_bits_of_steps(mates: tuple[type[Counted], type[Counted]]) -> None:
    expert, amateur = (kind() for kind in mates)
    model = contrastive(expert, amateur, 0.3, 0.7, 0.8)
    assert model.capabilities == {"batch_invariant", "extend"}
    check_model(model)
    texts = [[0, 1, 2], [2, 2, 0]]
    expert.calls.clear()
    state, logits = model.extend(model.prefill([(1,), (0, 2)])[0], texts)
    assert [call for call, _ in expert.calls] == (["prefill", "extend"] if mates[0] is Extending else ["prefill", "step", "step", "step"])
    plain = contrastive(Counted(), Counted(), 0.3, 0.7, 0.8)
    assert plain.capabilities == {"batch_invariant"}
    stepped = extend(plain, plain.prefill([(1,), (0, 2)])[0], texts)[1]
    assert logits.tolist() == stepped.tolist()
    assert model.step(state, [1, 1])[1].tolist() == plain.prefill([(1, 0, 1, 2, 1), (0, 2, 2, 2, 0, 1)])[1].tolist()


def test_no_tokens_at_once() -> None:
    model = guidance(Extending(), 2, "a")
    state, logits = model.extend(model.prefill([(0,), (1,)])[0], [[], []])
    assert logits.shape == (2, 0, 3)
    assert model.step(state, [2, 2])[1].tolist() == model.prefill([(0, 2), (1, 2)])[1].tolist()
    assert model.extend(model.prefill([])[0], np.zeros((0, 2), np.int64))[1].shape == (0, 2, 3)


def test_layers_tell_of_the_newest_token_alone_so_their_texts_are_read_step_by_step() -> None:
    class Both(Layered):
        capabilities = frozenset({"batch_invariant", "layer_logits", "extend"})

    assert dola(Both([restless(2), restless(3)], {}, ABC, otherwise=restless(1)._function)).capabilities == {"batch_invariant"}


def test_tokens_that_are_refused_together_leave_the_state() -> None:
    main, other = Extending(limit=5), Extending(limit=4)
    model = contrastive(main, other)
    state, _ = model.prefill([(0,), (0, 1)])
    for tokens, error in (([[0, 1, 2]] * 2, ContextOverflow), ([[0], [3]], TokenOutOfRange), ([[0]], UsageError), ([[0], [0, 1]], UsageError)):
        with pytest.raises(error):
            model.extend(state, tokens)
    _, logits = model.extend(state, [[1, 2], [2, 2]])
    assert logits[:, -1].tolist() == model.prefill([(0, 1, 2), (0, 1, 2, 2)])[1].tolist()
    with pytest.raises(StaleState):
        model.extend(state, [[0], [0]])


def test_a_part_that_fails_on_the_way_leaves_no_state_behind() -> None:
    first, last = Extending(), Extending()
    model = proxy(first, Table({(): (0.5, 0.25, 0.25), (0,): (0.5, 0.25, 0.25)}, ABC), last)
    state, _ = model.prefill([()])
    with pytest.raises(ModelError, match='no probabilities after "ab"'):
        model.extend(state, [[0, 1, 2]])
    assert (first.live, last.live) == (0, 0)


def test_a_text_is_scored_in_pieces(tiny: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    model = guidance(tiny, 2, "a dog", prompt="The cat")
    ids = tiny.vocabulary.encode(" sat on the mat")
    stepped = ulam.score(guidance(CachedModel(tiny), 2, "a dog", prompt="The cat"), ids, "top_p=0.9")
    monkeypatch.setattr(Llama, "step", None)
    score = ulam.score(model, ids, "top_p=0.9")
    assert score.model_log_probs.tolist() == stepped.model_log_probs.tolist()
    assert np.isfinite(score.model_log_probs).all()


# what is wrong with the arguments


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (alphabet("abd"), 'token 2 is "c" in one and "d" in two'),
        (alphabet("ab"), 'token 2 is "c" in one and nothing in two'),
        (alphabet("abcd"), 'token 3 is nothing in one and "d" in two'),
        (alphabet("ab", end="c"), 'token 2 is "c" in one and "c" (an end) in two'),
        (Vocabulary([b"a", b"b", b"c"], start=1), 'token 1 is "b" in one and "b" (the start) in two'),
        (Vocabulary([b"a", b"b", b"c"], names={0: "x"}), 'token 0 is "a" in one and "x" with the text "a" in two'),
        (Vocabulary([b"\xff", b"b", b"c"]), "token 0 is \"a\" in one and b'\\xff' in two"),
    ],
)
def test_vocabularies_must_be_equal(other: Vocabulary, message: str) -> None:
    one, two = (Table({}, v, otherwise=(1.0, *[0.0] * (len(v) - 1)), name=name) for v, name in ((ABC, "one"), (other, "two")))
    makes: dict[str, Callable[[], Any]] = {
        "contrastive": lambda: contrastive(one, two),
        "proxy": lambda: proxy(one, one, two),
        "ensemble": lambda: ensemble([one, two], [1, 0]),
    }
    for name, make in makes.items():
        with pytest.raises(VocabularyMismatch) as caught:
            make()
        assert caught.value.what == f"{name}: {message}"
        assert caught.value.exit_code == 2


def test_equal_vocabularies_need_not_be_the_same_object() -> None:
    assert (
        contrastive(IID((0.5, 0.5), alphabet("ab")), IID((0.5, 0.5), words(["a", "b"]))).name == "contrastive(iid, alpha=0.1, weight=1, amateur_temperature=1)"
    )


WRONG_NUMBERS: list[tuple[Callable[[Any], Any], list[Any]]] = [
    (lambda x: guidance(abc(), x, "a"), [-0.1, float("inf"), float("nan"), "high", True, np.ones(2)]),
    (lambda x: context_aware(abc(), "a", x), [-1, float("inf"), None]),
    (lambda x: contrastive(abc(), abc(), alpha=x), [-0.1, 1.1]),
    (lambda x: contrastive(abc(), abc(), weight=x), [-0.1, float("inf")]),
    (lambda x: contrastive(abc(), abc(), amateur_temperature=x), [0, -1, float("inf")]),
    (lambda x: proxy(abc(), abc(), abc(), x), [float("inf"), float("-inf"), float("nan")]),
    (lambda x: ensemble([abc(), abc()], x), [[0, 0], [1, -1], [1, float("inf")], [1, "a"]]),
    (lambda x: ensemble([abc()], mode=x), ["sum", 1]),
    (lambda x: dola(restless_layers(), x), [[], [4], [-1], [0.5], "all", [True]]),
    (lambda x: dola(restless_layers(), alpha=x), [1.5]),
]


@pytest.mark.parametrize(("make", "value"), [(make, value) for make, values in WRONG_NUMBERS for value in values])
def test_values_outside_their_range(make: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(OutOfRange):
        make(value)


def test_a_message_names_the_combinator_and_the_nearest_value() -> None:
    with pytest.raises(OutOfRange) as caught:
        guidance(abc(), -1, "a")
    assert caught.value.what == "guidance: scale=-1 is outside [0, inf). Nearest allowed value: 0. To switch it off: 1"
    with pytest.raises(OutOfRange) as caught:
        dola(restless_layers(), [0, 4])
    assert caught.value.what == "dola: layers=4 is not a layer below the last: 0 to 3"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: guidance(abc(), 2), UsageError, "prompt and negative are equal"),
        (lambda: guidance(abc(), 2, "a", prompt=[0]), UsageError, "prompt and negative are equal"),
        (lambda: guidance(abc(), 2, "x"), UsageError, "'x' is not in the alphabet"),
        (lambda: guidance(abc(), 2, [3]), TokenOutOfRange, "guidance: negative: token id 3 is outside 0 to 2"),
        (lambda: guidance(abc(), 2, 7), UsageError, "guidance: negative: expected a list of token ids"),
        (lambda: guidance(abc(), 2, "\ud800"), UsageError, "guidance: negative holds half of a surrogate pair"),
        (lambda: guidance(Table({}, Vocabulary([b"a"]), otherwise=(1,)), 2, "a"), NeedsTokenizer, "no tokenizer"),
        (lambda: guidance("stories", 2, "a"), UsageError, "'stories' is not a model"),
        (lambda: context_aware(abc(), ""), UsageError, "the context is empty"),
        (lambda: contrastive(abc(), "stories"), UsageError, "contrastive: 'stories' is not a model"),
        (lambda: contrastive(abc(), RecipeModel(abc(), "presence_penalty=1")), UsageError, "tells prompt and generated tokens apart"),
        (lambda: ensemble([]), UsageError, "there is no model"),
        (lambda: ensemble([abc(), abc()], [1]), UsageError, "1 weights for 2 models"),
        (lambda: dola(abc()), Unsupported, "dola: abc does not tell what its layers say"),
        (lambda: dola(CachedModel(abc())), Unsupported, "dola: abc does not tell"),
        (lambda: dola("stories"), Unsupported, "dola: 'stories' does not tell"),
    ],
)
def test_what_cannot_be_meant(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert getattr(caught.value, "fix", "") is not None


# wrong versions of the combination itself


class WordsOfThePromptAlone(Part):
    """A part's words stand in the place of the prompt, so that the row depends on how its tokens came."""

    def row(self, ids: Prefix) -> Prefix:
        return self.before or ids


class ForgetsOthers(Combination):
    """Only the main part is forked; the others keep the order of their rows."""

    def select(self, state: Any, rows: Any) -> Any:
        chosen = super().select(state, rows)
        order = np.resize(np.arange(len(state.lengths)), len(chosen.lengths))
        others = zip(self.parts[1:], state.states[1:], strict=True)
        chosen.states = (chosen.states[0], *(part.model.select(own, order) for part, own in others))
        return chosen


class ReleasesNothing(Combination):
    def release(self, state: Any) -> None:
        pass


class RoomOfTheMainPart(Combination):
    def _room(self, name: str) -> int | None:
        return self.parts[0].model.context_limit


class LosesTheStateOfARefusal(Combination):
    def step(self, state: Any, tokens: Any) -> Any:
        try:
            return super().step(state, tokens)
        except UsageError:
            self.release(state)
            raise


class ReadsTheNewestTwice(Combination):
    """The newest token is read twice."""

    def extend(self, state: Any, tokens: Any) -> Any:
        after, logits = super().extend(state, tokens)
        return self.step(after, tokens[:, -1])[0], logits


class TurnsTokensAtOnce(Combination):
    """[K, B, V] instead of [B, K, V]."""

    def extend(self, state: Any, tokens: Any) -> Any:
        after, logits = super().extend(state, tokens)
        return after, np.swapaxes(logits, 0, 1).reshape(logits.shape)


class SharesTheBatch(Combination):
    """The rule looks at all rows."""

    def _read(self, lengths: Any, calls: Any) -> Any:
        state, logits = super()._read(lengths, calls)
        return state, logits + 1e-15 * logits.sum(axis=0)


def combined(kind: type[Combination], part: type[Part] = Part) -> Combination:
    parts = [part(Extending(limit=30)), part(Counted(limit=28), (1,))]
    return kind("mine", parts, lambda rows: rows[0] + 0.5 * rows[1], {})


def test_the_right_one_passes() -> None:
    assert check_model(combined(Combination)).asserted["limit"] == 3


@pytest.mark.parametrize(
    ("kind", "part", "promise"),
    [
        (Combination, WordsOfThePromptAlone, "prefill"),
        (ForgetsOthers, Part, "select"),
        (ReleasesNothing, Part, "stale"),
        (RoomOfTheMainPart, Part, "limit"),
        (LosesTheStateOfARefusal, Part, "refusals"),
        (SharesTheBatch, Part, "batch"),
        (ReadsTheNewestTwice, Part, "extend"),
        (TurnsTokensAtOnce, Part, "extend"),
    ],
)
def test_wrong_versions_are_rejected_by_the_check_of_models(kind: type[Combination], part: type[Part], promise: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_model(combined(kind, part))
    assert caught.value.promise == promise
