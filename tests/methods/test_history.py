"""Stages with a coin and stages that look back: against their definitions, and their law against their draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ulam
from tests.methods import reference_history as reference
from tests.methods.test_against_reference import applied, close
from tests.strategies import Rows, rows
from ulam.core.context import Context, History
from ulam.core.errors import NeedsTokenizer, NoGlobalForm, OutOfRange, TokenOutOfRange
from ulam.core.method import stack
from ulam.core.noise import Address, PhiloxNoise, Purpose
from ulam.decode.recipe_model import RecipeModel
from ulam.methods import find
from ulam.methods.transforms.xtc import XTC
from ulam.models.alphabet import alphabet, words
from ulam.models.table import Table
from ulam.recipe import Recipe
from ulam.testing.inputs import letters

torch.set_num_threads(1)

# xtc

P = (0.15, 0.5, 0.05, 0.3)
HEADS = (0.75, 0, 0.25, 0)
HALF = (0.45, 0.25, 0.15, 0.15)
"""P under xtc=0.5: (P + HEADS) / 2."""


@given(rows(2), st.sampled_from([1e-9, 0.05, 0.125, 0.25, 0.5, 0.7, 1.0]) | st.floats(1e-6, 1), st.lists(st.integers(0, 1), max_size=2))
def test_the_branch_of_xtc(row: Rows, threshold: float, exempt: list[int]) -> None:
    assert applied("xtc", row, probability=1, threshold=threshold, exempt=exempt) == reference.xtc(row.tolist(), threshold, exempt)


@given(rows(2), st.floats(0, 1), st.sampled_from([0.05, 0.1, 0.25]), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_law_of_xtc_is_the_mixture(row: Rows, probability: float, threshold: float, T: float) -> None:
    found = Recipe([XTC(probability, threshold), *Recipe(f"temperature={T}").stages]).distribution(row)
    assert close(found.probs.tolist(), reference.mixture(row.tolist(), probability, threshold, [], T), 1e-9)


def test_law_draw_log_prob_and_score_of_xtc_agree() -> None:
    """One number, four ways: the law of the recipe, the enumerated law of the draw, the model it makes, the score of a text."""
    model, recipe = Table({(): P}, alphabet("abcd")), Recipe("xtc=0.5")
    drawn = ulam.law(lambda noise: ulam.sample(model, [[]], recipe, max_tokens=1, noise=noise), of=lambda samples: samples[0].tokens[0])
    assert recipe.distribution(np.log(P)).probs.tolist() == pytest.approx(HALF, abs=1e-15)
    assert [drawn.prob(i) for i in range(4)] == pytest.approx(HALF, abs=1e-15)
    assert np.exp(RecipeModel(model, recipe).prefill([[]])[1][0]).tolist() == pytest.approx(HALF, abs=1e-15)
    for token, p in enumerate(HALF):
        scored = ulam.score(model, [token], recipe)
        assert scored.recipe_log_prob == pytest.approx(math.log(p), abs=1e-14)
        assert scored.removed_by == (None,)


def test_texts_of_xtc_have_the_law_of_their_scores() -> None:
    """Two steps, an end token, and stages before and behind the coin."""
    model = Table({(): (0.5, 0.3, 0.2), (0,): (0.1, 0.6, 0.3), (1,): (0.4, 0.35, 0.25)}, alphabet("ab", end="$"), otherwise=lambda prefix: (0.25, 0.25, 0.5))
    recipe = Recipe("temperature=0.8 xtc(0.4, threshold=0.2, exempt=[end]) top_p=0.95")
    law = ulam.law(lambda noise: ulam.sample(model, [[]], recipe, max_tokens=2, noise=noise), of=lambda samples: samples[0].tokens)
    probs = dict(law)
    assert math.fsum(probs.values()) == pytest.approx(1, abs=1e-12)
    assert len(probs) == 7
    for text, p in probs.items():
        assert math.log(p) == pytest.approx(ulam.score(model, list(text), recipe).recipe_log_prob, abs=1e-12)
    assert {outcome.tokens: p for outcome, p in ulam.law(model, recipe, max_tokens=2)} == pytest.approx(probs, abs=1e-12)


def test_the_log_prob_of_a_draw_is_never_that_of_the_branch() -> None:
    seen = set()
    for seed in range(40):
        drawn = Recipe("xtc=0.5").choose(np.log(P), seed=seed)
        assert drawn.recipe_log_prob == pytest.approx(math.log(HALF[drawn.token]), abs=1e-14)
        seen.add(drawn.token)
    assert seen == {0, 1, 2, 3}


def test_the_coin_has_an_address_of_its_own() -> None:
    """Purpose xtc, the row's sequence and position; under greedy the coin alone decides."""
    recipe, noise = Recipe("xtc=0.5 greedy"), PhiloxNoise(9)
    for sequence, position in ((0, 0), (3, 0), (3, 1), (2**40, 17)):
        heads = bool(noise.uniform(Address([sequence], [position], Purpose.xtc)).values[0] < 0.5)
        assert recipe.choose(np.log(P), seed=9, sequence=sequence, position=position).token == (0 if heads else 1)


def test_certain_coins_are_no_coins() -> None:
    assert Recipe("xtc=0").distribution(np.log(P)).probs.tolist() == Recipe("").distribution(np.log(P)).probs.tolist()
    assert Recipe("xtc=1").distribution(np.log(P)).probs.tolist() == pytest.approx(HEADS, abs=1e-15)
    assert Recipe("xtc=0 top_k=2").simplified() == Recipe("top_k=2")


def test_a_neutral_coin_shifts_no_draw() -> None:
    """Alone, beside a coin that cannot fall, and in a batch with a recipe whose first coin can: the same draws; and a law that can be enumerated."""
    alone, two, three = Recipe("xtc=0.5"), Recipe("xtc=0 xtc=0.5"), Recipe("xtc=0.75 xtc=0.5")
    model = Table({}, alphabet("abcd"), otherwise=lambda prefix: P, fingerprint="same")
    first, second = (ulam.sample(model, [[]] * 40, recipe, max_tokens=3, seed=4) for recipe in (alone, two))
    assert [one.tokens for one in first] == [one.tokens for one in second]
    mixed = ulam.sample(model, [[]] * 80, [two, three] * 40, max_tokens=3, seed=4, sequence=[i // 2 for i in range(80)])
    apart = ulam.sample(model, [[]] * 40, two, max_tokens=3, seed=4, sequence=list(range(40)))
    assert [one.tokens for one in mixed[::2]] == [one.tokens for one in apart]
    assert [one.recipe_log_probs.tobytes() for one in mixed[::2]] == [one.recipe_log_probs.tobytes() for one in apart]
    law = ulam.law(lambda noise: ulam.sample(model, [[]], two, max_tokens=1, noise=noise), of=lambda samples: samples[0].tokens[0])
    assert [law.prob(i) for i in range(4)] == pytest.approx(HALF, abs=1e-15)


def test_a_row_without_a_coin_has_the_same_bits_beside_rows_with_one() -> None:
    model = Table({}, alphabet("abcd"), otherwise=lambda prefix: P, fingerprint="same")
    mixed = ulam.sample(model, [[]] * 8, ["xtc=0", "xtc=0.5"] * 4, max_tokens=5, seed=4)
    bare = ulam.sample(model, [[]] * 8, "", max_tokens=5, seed=4)
    assert [one.recipe_log_probs.tobytes() for one in mixed[::2]] == [one.recipe_log_probs.tobytes() for one in bare[::2]]
    assert Recipe("xtc=0 " * 5).distribution(np.log(P)).log_probs.tobytes() == Recipe("").distribution(np.log(P)).log_probs.tobytes()


def test_one_left_by_a_temperature_of_zero_stays() -> None:
    assert Recipe("temperature=0 xtc=1").distribution(np.log(P)).probs.tolist() == [0, 1, 0, 0]
    assert Recipe("xtc=1 temperature=0").distribution(np.log(P)).probs.tolist() == [1, 0, 0, 0]


def test_rows_have_their_own_coins_and_thresholds() -> None:
    stage = stack([XTC(0.5, 0.1), XTC(0, 0.1), XTC(0.25, 0.4)])
    assert stage.chance(3).tolist() == [0.5, 0, 0.25]
    out = stage(np.log([P, P, P]))
    assert (out > -np.inf).tolist() == [[True, False, True, False], [True] * 4, [True] * 4]


def test_the_chance_may_follow_a_schedule() -> None:
    recipe = Recipe("xtc(linear(0, 1, over=2))")
    for generated, p in (([], 0.0), ([0], 0.5), ([0, 0], 1.0)):
        wanted = [p * h + (1 - p) * t for h, t in zip(HEADS, P, strict=True)]
        assert recipe.distribution(np.log(P), generated=generated).probs.tolist() == pytest.approx(wanted, abs=1e-15)


def test_exempt_tokens_are_named() -> None:
    """The word end is every end token; a text is one token."""
    vocabulary = words(["a", "\n", "<1>", "<2>"], ends=(2, 3))
    bound = Recipe('xtc(0.5, exempt=[end, "\\n"])').bind(vocabulary)
    assert bound.transforms[0] == XTC(0.5, exempt=[2, 3, 1])
    for stage, error in (
        (XTC(1, exempt=["a"]), NeedsTokenizer),
        (Recipe("xtc(1, exempt=[end])").transforms[0], NeedsTokenizer),
        (XTC(1, exempt=[4]), TokenOutOfRange),
    ):
        with pytest.raises(error, match="xtc: "):
            stage(np.log([P]))
    with pytest.raises(NeedsTokenizer, match="end"):
        Recipe("xtc(0.5, exempt=[end])").bind(alphabet("ab"))


def test_a_text_has_no_one_weight_under_xtc() -> None:
    model = RecipeModel(Table({(): P}, alphabet("abcd")), "xtc=0.5")
    state, _ = model.prefill([[]])
    with pytest.raises(NoGlobalForm, match="xtc tosses a coin"):
        model.log_normalizers(state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_xtc_on_torch(dtype: Any) -> None:
    z = torch.tensor([[1.0, 3.0, 0.0, 2.0, 3.0]], dtype=dtype)
    assert (find("xtc").stage(1)(z, Context()) > -math.inf).tolist() == [[True, False, True, True, False]]  # type: ignore[operator]


# stages that look back


@st.composite
def questions(draw: st.DrawFn) -> tuple[Rows, History, str, list[int]]:
    """A row, a history of few tokens so that much of it repeats, a scope, and the tokens of that scope."""
    row = draw(rows(2, 6))
    tokens = st.lists(st.integers(0, min(len(row) - 1, 2)), max_size=14)
    past = History(draw(tokens), draw(tokens))
    scope = draw(st.sampled_from(["prompt", "generated", "all"]))
    return row, past, scope, list({"prompt": past.prompt, "generated": past.generated, "all": [*past.prompt, *past.generated]}[scope])


sequences = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), max_size=3)


@given(
    questions(),
    st.sampled_from([0.0, 0.8, 3.0]),
    st.sampled_from([1.0, 1.75, 4.0]),
    st.integers(1, 6),
    st.sampled_from(["all", 0, 1, 2, 3, 5, 8, 100]),
    sequences,
)
def test_dry(question: tuple[Rows, History, str, list[int]], multiplier: float, base: float, allowed: int, window: Any, breakers: list[list[int]]) -> None:
    row, past, scope, tokens = question
    found = applied("dry", row, past, multiplier=multiplier, base=base, allowed_length=allowed, window=window, breakers=breakers, scope=scope)
    assert close(found, reference.dry(row.tolist(), tokens, multiplier, base, allowed, window, breakers))


@pytest.mark.parametrize(
    ("multiplier", "base", "length", "penalty"),
    [(1e-300, 10.0, 311, 1e9), (5e-324, 10.0, 331, 4.940656458412465e5), (1e-300, 1e200, 4, 1e30), (1e-300, 1e300, 3, 1.0), (0.8, 10.0, 1000, 1e30)],
)
def test_dry_overflows_no_earlier_than_its_penalty(multiplier: float, base: float, length: int, penalty: float) -> None:
    found = applied("dry", np.zeros(3), History([1] * (length + 1)), multiplier=multiplier, base=base, breakers=[])
    assert found == [0, pytest.approx(-penalty, rel=1e-12), 0]


@given(questions(), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.3, 1.0]), st.lists(st.integers(0, 2)))
def test_top_p_decay(question: tuple[Rows, History, str, list[int]], p: float, decay: float, share: float, reset: list[int]) -> None:
    row, past, _, _ = question
    found = applied("top_p_decay", row, past, p=p, decay=decay, floor=share * p, reset=reset)
    assert found == reference.top_p_decay(row.tolist(), list(past.generated), p, decay, share * p, reset)


@given(questions(), st.dictionaries(st.lists(st.integers(0, 1), min_size=1, max_size=4).map(tuple), st.sampled_from([-3.0, 0.5, 1e31]), max_size=5))
def test_sequence_bias(question: tuple[Rows, History, str, list[int]], bias: dict[tuple[int, ...], float]) -> None:
    row, past, scope, tokens = question
    assert close(applied("sequence_bias", row, past, map=bias, scope=scope), reference.sequence_bias(row.tolist(), tokens, bias))


@given(rows(2, 6), st.integers(0, 9), st.sampled_from([0.5, 1.0, 1.05, 3.0]), st.integers(0, 9), st.sets(st.integers(0, 1)))
def test_length_decay(row: Rows, position: int, factor: float, start: int, ends: set[int]) -> None:
    context = Context([History([0, 1], [0] * position)], letters(len(row), tuple(sorted(ends))))
    found = find("length_decay").stage(factor, start)(row[None, :], context)[0].tolist()  # type: ignore[operator]
    assert close(found, reference.length_decay(row.tolist(), position, factor, start, sorted(ends)))


# what is carried from token to token is what a recount gives

CARRYING = [
    "presence_penalty=0.5",
    "presence_penalty(0.5, scope=all)",
    "frequency_penalty(0.25, scope=all)",
    "frequency_penalty=0.25",
    "repetition_penalty=1.2",
    "repetition_penalty(1.2, slope=0.5)",
    "repetition_penalty(1.2, slope=0.5, scope=prompt)",
    "repetition_penalty(1.2, window=3, fade=2)",
    "dry(0.8, breakers=[])",
    "dry(0.8, allowed_length=1, breakers=[2, [0, 1]])",
    "dry(0.8, allowed_length=6, breakers=[[0, 1, 1]])",
    "dry(0.8, window=7, breakers=[2, [0, 1], [1, 1, 0]])",
    "dry(0.8, window=steps({0: 3, 5: 9}), allowed_length=steps({0: 3, 4: 1}), breakers=[3])",
    "top_p_decay(0.9, reset=[1])",
]


@pytest.mark.parametrize("text", CARRYING)
@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 19))
def test_carried_is_recounted_bitwise(text: str, prompt: list[int], generated: list[int], fork: int) -> None:
    recipe, z = Recipe(text), np.array([0.5, -1.0, 2.0, 0.25])
    state = recipe.init(prompt)
    for t, token in enumerate(generated):
        past = {"prompt": prompt, "generated": generated[:t]}
        assert recipe.distribution(z, **past, state=state or None).log_probs.tobytes() == recipe.distribution(z, **past).log_probs.tobytes()
        other = recipe.fork(state)
        if t == fork:  # the other continuation goes its own way
            recipe.advance(other, 3 - token, z, **past)
        state = recipe.advance(state, token, z, **past)


def test_a_tally_grows_with_its_ids() -> None:
    state = find("frequency_penalty").stage(1).init(History())
    for token in (7, 2, 7, 40):
        state = find("frequency_penalty").stage(1).advance(state, token, None)
    assert {i: int(n) for i, n in enumerate(state.counts) if n} == {2: 1, 7: 2, 40: 1}
    with pytest.raises(TokenOutOfRange, match="token id 40 of the history is outside 0 to 9"):
        find("frequency_penalty").stage(1)(np.zeros((1, 10)), Context([History(generated=[7, 2, 7, 40])]))  # type: ignore[operator]


# texts as tokens

VOCABULARY = words(["a", "b", ".\n", 'say "', "<end>", "."], ends=(4,))


def test_texts_stand_for_every_token_that_contains_them() -> None:
    assert Recipe("top_p_decay=0.9").bind(VOCABULARY).transforms[0] == find("top_p_decay").stage(0.9, reset=[2, 5])
    assert Recipe("top_p_decay(0.9, reset=[end, 0])").bind(VOCABULARY).transforms[0] == find("top_p_decay").stage(0.9, reset=[0, 4])
    assert Recipe("dry=0.8").bind(VOCABULARY).transforms[0] == find("dry").stage(0.8, breakers=[[2], [3]])
    assert Recipe('dry(0.8, breakers=["ab", ".", [1, 1], 0])').bind(VOCABULARY).transforms[0] == find("dry").stage(
        0.8, breakers=[[0, 1], [2], [5], [1, 1], [0]]
    )


def test_texts_without_a_vocabulary() -> None:
    z, past = np.zeros((1, 4)), Context([History([0, 1, 2, 0, 1])])
    assert find("dry").stage(0.8)(z, past).tolist() == [[0, 0, -0.8, 0]]  # type: ignore[operator]
    assert np.isfinite(find("top_p_decay").stage(0.9)(z, past)).sum() == 4  # type: ignore[operator]
    for stage in (find("dry").stage(0.8, breakers=["."]), find("top_p_decay").stage(0.9, reset=["."]), find("sequence_bias").stage({"ab": 1})):
        with pytest.raises(NeedsTokenizer, match="no vocabulary is bound"):
            stage(z, past)  # type: ignore[operator]
    with pytest.raises(NeedsTokenizer, match="which tokens end a text"):
        find("length_decay").stage(1.1, 0)(z, past)  # type: ignore[operator]
    with pytest.raises(ulam.UlamError, match="not in the alphabet"):
        find("dry").stage(0.8, breakers=["xy"]).bind(VOCABULARY)


def test_the_floor_is_at_most_the_mass() -> None:
    with pytest.raises(OutOfRange, match=r"floor=0.5 is above p=0.4"):
        find("top_p_decay").stage(0.4, floor=0.5)
