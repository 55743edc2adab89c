"""Combinations are language models: they keep every rule, their laws are those of plain Python, and samples score as they were drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ulam
from tests.models.combined import RESTLESS, expected_row, restless, restless_layers, row_of
from tests.models.counted import Counted
from ulam.core.errors import (
    ContextOverflow,
    EmptyPrompt,
    ModelError,
    StaleState,
    TokenOutOfRange,
    UsageError,
)
from ulam.core.vocabulary import Vocabulary
from ulam.decode.recipe_model import RecipeModel
from ulam.exact.laws import Outcome
from ulam.models import CachedModel, LanguageModel, Table, alphabet, context_aware, contrastive, dola, ensemble, guidance, proxy
from ulam.models.builtin import Llama
from ulam.models.prefixes import Prefix
from ulam.testing import check_model

ABC = alphabet("abc")
END = alphabet("ab", end="$")
START = Vocabulary([b"", b"a", b"b"], names={0: "<s>"}, start=0, ends=[0], encode=lambda text: [i + 1 for i in alphabet("ab").encode(text)])


# the rules of all models


@pytest.mark.parametrize("vocabulary", [ABC, END, START], ids=["abc", "with an end", "with a start"])
@pytest.mark.parametrize("name", list(RESTLESS))
def test_it_keeps_the_rules_of_models(name: str, vocabulary: Vocabulary) -> None:
    model = RESTLESS[name](vocabulary)
    assert isinstance(model, LanguageModel)
    report = check_model(model)
    assert set(report.not_applicable) == {"extend", "layer_logits", "limit"}
    check_model(CachedModel(model))


def test_combinations_of_the_built_in_model_keep_the_rules(tmp_path: Any, tiny: Llama) -> None:
    for model, extra in ((guidance(tiny, 2, "a dog", prompt="The cat"), {"extend"}), (dola(tiny), set())):
        assert model.capabilities == {"batch_invariant", *extra}
        check_model(model, prompts=["The cat"])
    assert check_model(restless_layers()).asserted["layer_logits"] > 0


def test_parts_that_are_not_batch_invariant_make_none_that_is() -> None:
    class Plain(Counted):
        capabilities = frozenset()

    assert contrastive(Counted(), Plain()).capabilities == frozenset()
    assert contrastive(Counted(), Counted()).capabilities == {"batch_invariant"}


def test_the_shortest_context_counts_and_what_stands_before_the_text() -> None:
    model = context_aware(Counted(limit=9), [0, 1])
    assert model.context_limit == 7
    check_model(model)
    assert contrastive(Counted(limit=5), Counted()).context_limit == 5
    assert ensemble([Counted(limit=5), Counted(limit=3)]).context_limit == 3
    assert proxy(Counted(), Counted(), Counted()).context_limit is None
    with pytest.raises(ContextOverflow, match="guidance: 4 tokens before the text leave no room for it"):
        guidance(Counted(limit=4), 2, [0, 1, 2, 0])


# what the parts read


def test_every_part_has_its_own_words_and_shares_the_rest() -> None:
    """Prompt and generated tokens alike, by prefill, step and select."""
    inner = Counted()
    model = guidance(inner, 2, "bb", prompt="c")
    state, _ = model.prefill([(), (0, 1)])
    state, _ = model.step(model.select(state, [1, 0]), [2, 0])
    assert inner.calls == [
        ("prefill", [(2,), (2, 0, 1)]),
        ("prefill", [(1, 1), (1, 1, 0, 1)]),
        ("step", [(2, 0, 1, 2), (2, 0)]),
        ("step", [(1, 1, 0, 1, 2), (1, 1, 0)]),
    ]


def test_words_stand_after_the_start_token() -> None:
    inner = Counted(vocabulary=START)
    model = context_aware(inner, "ba")
    model.prefill([(0,), (0, 1), (2, 2)])
    assert inner.calls == [("prefill", [(0, 2, 1), (0, 2, 1, 1), (2, 1, 2, 2)]), ("prefill", [(0,), (0, 1), (2, 2)])]
    with pytest.raises(EmptyPrompt) as empty:
        model.prefill([(0,), ()])
    assert empty.value.row == 1
    assert empty.value.fix == "begin with the start token: [0]"
    assert contrastive(inner, inner).prefill([()])[1].shape == (1, 3)  # nothing stands before: the parts know whether they can begin


def test_no_negative_prompt_is_the_start_token() -> None:
    inner = Counted(vocabulary=START)
    ulam.sample(guidance(inner, 2, prompt="ab"), "", max_tokens=1, seed=1)
    assert inner.calls == [("prefill", [(0, 1, 2)]), ("prefill", [(0,)])]


def test_texts_and_ids_are_the_same_words() -> None:
    one, other = (guidance(restless(1), 2, negative, prompt=prompt) for negative, prompt in (("ba", "c"), ([1, 0], np.array([2]))))
    assert one.fingerprint == other.fingerprint
    assert one.prefill([(0,)])[1].tolist() == other.prefill([(0,)])[1].tolist()


def test_the_fingerprint_knows_everything() -> None:
    one, two = restless(1), restless(2)
    models = [
        *(guidance(one, scale, negative, prompt=prompt) for scale, negative, prompt in ((2, "a", ""), (3, "a", ""), (2, "b", ""), (2, "", "a"))),
        *(context_aware(one, context, alpha) for context, alpha in (("a", 1), ("a", 2), ("b", 1))),
        *(contrastive(one, two, *more) for more in ((), (0.2,), (0.1, 2), (0.1, 1, 2))),
        contrastive(two, one),
        *(proxy(*parts) for parts in ((one, two, two), (two, one, two), (two, two, one), (one, two, two, 0.5))),
        *(ensemble([one, two], *more) for more in ((), ([1, 2],), (None, "mixture"))),
        *(dola(restless_layers(), layers) for layers in ([0], [0, 1])),
    ]
    assert len({model.fingerprint for model in models}) == len(models)
    assert ensemble([one, two], [2, 4]).fingerprint == ensemble([one, two], [1, 2]).fingerprint
    assert ensemble([one, two], [2, 2]).name == 'ensemble(restless 1, restless 2, weights=[0.5, 0.5], mode="product")'
    assert repr(guidance(one, 2, "a")) == "Combination(guidance(restless 1, scale=2))"


# laws, samples, scores


@pytest.mark.parametrize("name", list(RESTLESS))
@pytest.mark.parametrize("prompt", [(), (2, 0)])
def test_the_exact_law_is_that_of_plain_python(name: str, prompt: Prefix) -> None:
    expected: dict[Outcome, float] = {}
    open_texts: dict[Prefix, float] = {(): 1.0}
    for length in range(1, 4):
        grown = {(*text, token): mass * p for text, mass in open_texts.items() for token, p in enumerate(expected_row(name, (*prompt, *text))) if p}
        open_texts = grown
        if length == 3:
            expected = {Outcome(text, "length"): mass for text, mass in grown.items()}
    for recipe in (None, ""):
        found = ulam.law(RESTLESS[name](ABC), recipe, list(prompt), 3)
        assert dict(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", list(RESTLESS))
def test_under_a_recipe_the_loop_and_the_walk_have_one_law(name: str) -> None:
    model, recipe = RESTLESS[name](END), "temperature=0.7 top_k=2"
    loop, walk = ulam.law(model, recipe, "a", 3), ulam.law(RecipeModel(model, recipe), None, "a", 3)
    assert dict(loop) == pytest.approx(dict(walk), rel=1e-9)
    assert len(loop) > 3


@pytest.mark.parametrize("name", list(RESTLESS))
def test_a_sample_scores_as_it_was_drawn(name: str) -> None:
    model = RESTLESS[name](START)
    for sample in ulam.sample(model, ["", "ab"], "top_p=0.9", n=5, max_tokens=6, seed=3):
        score = ulam.score(model, sample.tokens, "top_p=0.9", prompt=sample.prompt)
        assert score.model_log_probs.tolist() == sample.model_log_probs.tolist()
        assert score.recipe_log_probs is not None
        assert score.recipe_log_probs.tolist() == sample.recipe_log_probs.tolist()


def test_it_is_combined_again() -> None:
    """A combination is a part as any other, and so is a model under a recipe."""
    inner = ensemble([restless(1), RecipeModel(restless(2), "temperature=0.5")], mode="mixture")
    model = contrastive(inner, RESTLESS["guidance"](ABC))
    check_model(model)
    p, q = row_of(1, (0,)), row_of(2, (0,))
    sharp = [float(x) ** 2 / sum(float(y) ** 2 for y in q) for x in q]
    assert np.exp(inner.prefill([(0,)])[1][0]).tolist() == pytest.approx([(float(a) + b) / 2 for a, b in zip(p, sharp, strict=True)], rel=1e-12)


def test_a_text_in_words(tiny: Llama) -> None:
    one = ulam.sample(context_aware(tiny, "The cat sat", 0), " on", "", max_tokens=8, seed=5)[0]
    other = ulam.sample(tiny, [[0, *tiny.vocabulary.encode("The cat sat"), *tiny.vocabulary.encode(" on")]], "", max_tokens=8, seed=5)[0]
    assert one.tokens == other.tokens
    assert one.model_log_probs.tolist() == other.model_log_probs.tolist()


# states


def test_states_of_all_parts_are_given_back() -> None:
    parts = [Counted(), Counted(), Counted()]
    model = proxy(*parts)
    state, _ = model.prefill([(0,), (1,)])
    fork = model.select(state, [1, 1, 0])
    assert [part.live for part in parts] == [5, 5, 5]
    state, _ = model.step(state, [0, 0])
    assert [part.live for part in parts] == [5, 5, 5]
    model.release(fork)
    model.release(state)
    model.release(state)
    assert [part.live for part in parts] == [0, 0, 0]
    with pytest.raises(StaleState):
        model.select(state, [0])
    ulam.sample(model, "a", "", n=3, max_tokens=4, seed=1)
    assert [part.live for part in parts] == [0, 0, 0]


def test_a_part_that_fails_leaves_no_state_behind() -> None:
    first, last = Counted(), Counted()
    short = Table({(): (0.5, 0.25, 0.25)}, ABC)
    model = proxy(first, short, last)
    state, _ = model.prefill([()])
    with pytest.raises(ModelError, match='no probabilities after "b"'):
        model.step(state, [1])
    with pytest.raises(ModelError):
        model.prefill([(1,)])
    assert (first.live, last.live) == (0, 0)
    with pytest.raises(StaleState):
        model.step(state, [1])


def test_what_is_refused_leaves_all_parts_as_they_were() -> None:
    model = contrastive(Counted(limit=3), Counted(limit=2))
    state, _ = model.prefill([(0,), (0, 1)])
    for tokens, error in (([0, 0], ContextOverflow), ([0, 3], TokenOutOfRange), ([0], UsageError)):
        with pytest.raises(error):
            model.step(state, tokens)
    with pytest.raises(ContextOverflow) as long:
        model.prefill([(0,), (0, 1, 2)])
    assert long.value.row == 1
    state, logits = model.step(model.select(state, [0]), [2])
    assert logits.tolist() == model.prefill([(0, 2)])[1].tolist()
    assert model.prefill([])[1].shape == (0, 3)
