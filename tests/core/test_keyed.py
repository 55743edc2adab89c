"""The keyed function: numbers of the written semantics, and whole-number Python; exact tails against fractions and SciPy."""

from __future__ import annotations

import math
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.methods import reference_keyed as reference
from ulam.core.context import History
from ulam.core.errors import OutOfRange, TokenOutOfRange, UsageError
from ulam.core.keyed import binomial_tail, context_hashes, gamma_tail, row_uniforms, scored, uniforms, windows
from ulam.methods import find

texts = st.lists(st.integers(0, 2), max_size=12)


@pytest.mark.parametrize(
    ("context", "token", "domain", "u"),
    [([7], 0, 1, 0.663684930), ([7], 1, 1, 0.682390706), ([7], 0, 2, 0.288909034), ([7], 0, 3, 0.555882183), ([7, 8], 0, 1, 0.036961510)],
)
def test_u_of_the_written_semantics(context: list[int], token: int, domain: int, u: float) -> None:
    assert uniforms(42, context_hashes([context]), token, domain)[0] == pytest.approx(u, abs=5e-10)


def test_hash_and_words_of_the_written_semantics() -> None:
    assert int(context_hashes([[7]])[0]) == 0x6D3572669B2CDE42
    # counter and key of zeros: words 6627e8d5 e169c58d, of which the upper 52 bits count
    assert float(uniforms(0, 0, 0, 0)) == float(F(2 * (0x6627E8D5E169C58D >> 12) + 1, 2**53))
    assert int(context_hashes(np.empty((1, 0)))[0]) == 0xCBF29CE484222325  # FNV's own value of nothing


ids = st.integers(0, 2**32 - 1)


@given(st.integers(0, 2**64 - 1), st.lists(ids, min_size=1, max_size=5), ids, st.integers(0, 70))
def test_u_is_that_of_whole_numbers(key: int, context: list[int], token: int, domain: int) -> None:
    (h,) = context_hashes([context])
    assert int(h) == reference.fnv1a(context)
    assert F(float(uniforms(key, h, token, domain))) == reference.U(key, context, token, domain)


def test_u_broadcasts_and_rows_come_in_blocks() -> None:
    hashes = context_hashes([[1], [2], [3]])
    whole = uniforms(5, hashes[:, None], np.arange(4), 2)
    assert whole.shape == (3, 4)
    assert whole.tolist() == row_uniforms(5, hashes, 4, 2).tolist() == [[float(reference.U(5, [c], i, 2)) for i in range(4)] for c in (1, 2, 3)]
    wide = row_uniforms(5, hashes, 2**17 + 1, 2)  # one row a block
    assert [wide[b, 2**17] for b in range(3)] == [float(reference.U(5, [c], 2**17, 2)) for c in (1, 2, 3)]
    assert row_uniforms(5, hashes[:0], 4, 2).shape == (0, 4)


@pytest.mark.parametrize("bad", [-1, 2**32])
def test_ids_that_are_none(bad: int) -> None:
    with pytest.raises(TokenOutOfRange, match=f"token id {bad} is outside 0 to 2"):
        context_hashes([[0, bad]])
    with pytest.raises(TokenOutOfRange):
        find("gumbel_watermark").stage(3, width=1).detect([0, 1, bad])  # type: ignore[attr-defined]


def test_an_id_that_is_none_is_told_in_a_text_too_short_to_score() -> None:
    for name in ("gumbel_watermark", "synthid", "green_list"):
        with pytest.raises(TokenOutOfRange, match="token id -1 is outside"):
            find(name).stage(3, width=4).detect([2, -1])  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["a text", ["a", "b"], [1.7, 2.2, 3.9], [True, False, True], [[1, 2], [3, 4]], [2**70, 1, 2]])
def test_what_is_no_list_of_ids_is_not_scored(text: Any) -> None:
    for name in ("gumbel_watermark", "synthid", "green_list"):
        with pytest.raises(UsageError, match="a detector reads a list of token ids") as caught:
            find(name).stage(3, width=1).detect(text)  # type: ignore[attr-defined]
        assert caught.value.fix


@given(texts, texts, st.integers(1, 4))
def test_what_is_scored(prompt: list[int], tokens: list[int], width: int) -> None:
    hashes, after = scored(tokens, width, prompt)
    wanted = reference.scored(tokens, width, prompt)
    assert list(zip(hashes.tolist(), after.tolist(), strict=True)) == [(reference.fnv1a(context), token) for context, token in wanted]


def test_nothing_is_scored_in_a_short_text() -> None:
    assert [len(windows([1, 2], width)) for width in (1, 2, 3)] == [2, 1, 0]
    for name in ("gumbel_watermark", "synthid", "green_list"):
        found = find(name).stage(3, width=3).detect([1, 2, 3])  # type: ignore[attr-defined]
        assert (str(found.score), found.p_value, found.n) == ("0.0", 1.0, 0)


@given(texts, st.integers(1, 3), st.sampled_from(["gumbel_watermark", "synthid"]))
def test_what_is_carried_is_what_the_history_gives(tokens: list[int], width: int, name: str) -> None:
    stage: Any = find(name).stage
    stage = stage(3, width=width)
    for start in (0, len(tokens) // 2):
        state = stage.init(History((), tokens[:start]))
        for i, token in enumerate(tokens[start:], start + 1):
            state = stage.advance(state, token, None)
            assert state == stage.init(History([9], tokens[:i]))
    assert state.again == (len(tokens) >= width and not reference.is_marked(tokens, width, "plain")) if tokens else state.context is None


# ---- tails


@pytest.mark.parametrize("chance", [F(1, 2), F(1, 4), F(9, 10)])
def test_binomial_tails_are_sums_of_fractions(chance: F) -> None:
    for n in range(13):
        law = [math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(n + 1)]
        for k in range(-1, n + 2):
            assert binomial_tail(k, n, float(chance)) == pytest.approx(float(sum(law[max(k, 0) :])), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("n", "chance"), [(100, 0.25), (3000, 0.5), (40_000, 0.01)])
def test_binomial_tails_of_long_texts(n: int, chance: float) -> None:
    middle, width = n * chance, math.sqrt(n * chance * (1 - chance))
    for k in {math.ceil(middle + x * width) for x in (-9, -3, -1, -0.1, 0, 0.1, 1, 3, 9, 20)}:
        assert binomial_tail(k, n, chance) == pytest.approx(stats.binom.sf(k - 1, n, chance), rel=1e-9, abs=1e-300)


@given(st.floats(0, 60))
def test_gamma_tails_of_few(x: float) -> None:
    """P(Gamma(n, 1) >= x) = e^-x sum of x^k / k! for k < n."""
    for n in (1, 2, 3, 7):
        assert gamma_tail(x, n) == pytest.approx(math.exp(-x) * math.fsum(x**k / math.factorial(k) for k in range(n)), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("n", [1, 2, 50, 1000, 40_000])
def test_gamma_tails_of_many(n: int) -> None:
    for x in (-9, -3, -1, -0.01, 0, 0.01, 1, 3, 9, 20):
        place = max(0.0, n + x * math.sqrt(n))
        assert gamma_tail(place, n) == pytest.approx(stats.gamma.sf(place, n), rel=1e-9, abs=1e-300)


def test_tails_at_the_ends() -> None:
    assert (binomial_tail(0, 0, 0.5), binomial_tail(1, 0, 0.5), gamma_tail(0.0, 0), gamma_tail(0.0, 3)) == (1.0, 0.0, 1.0, 1.0)
    assert binomial_tail(3000, 3000, 0.5) == 0.0  # below the least float


@pytest.mark.parametrize("name", ["green_list", "gumbel_watermark", "synthid"])
def test_keys_have_64_bits(name: str) -> None:
    stage: Any = find(name).stage
    assert str(stage(2**64 - 1)) == f"{name}=18446744073709551615"
    for bad in (2**64, -1, 0.5, "secret"):
        with pytest.raises(OutOfRange):
            stage(bad)
