"""What the conformance kit cannot know about one transform: its constants, its edges, its errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ulam.core.context import Context, History
from ulam.core.errors import NeedsTokenizer, OutOfRange, TokenOutOfRange
from ulam.core.schedule import schedule_of
from ulam.core.values import Call
from ulam.core.vocabulary import Vocabulary
from ulam.methods import find
from ulam.recipe import Recipe

INF = math.inf


def stage(name: str, *values: Any, **parameters: Any) -> Any:
    make: Any = find(name).stage
    return make(*values, **parameters)


def run(name: str, row: list[float], *values: Any, past: History | None = None, dtype: type = np.float64, **parameters: Any) -> list[float]:
    return stage(name, *values, **parameters)(np.array([row], dtype), Context([past] if past else []))[0].tolist()


# ---- temperature


def test_temperature_does_not_centre_the_row() -> None:
    """A penalty that acts on the sign of a logit sees after a temperature the sign it would see without one."""
    assert run("temperature", [4.0, 2.0, -2.0], 2) == [2.0, 1.0, -1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("T", [1e-300, 1e-45, 1e-9, 1e9, 1e45, 1e300])
def test_temperature_keeps_order_and_ties_at_both_ends(T: float, dtype: type) -> None:
    out = run("temperature", [3.0, 5.0, 5.0, -INF, 2.0], T, dtype=dtype)
    assert out[1] == out[2] > out[0] >= out[4] >= out[3] == -INF
    assert not any(math.isnan(x) or x == INF for x in out)


def test_a_temperature_of_almost_nothing_is_not_zero() -> None:
    """T > 0 leaves tied maxima tied, T = 0 keeps the first."""
    assert run("temperature", [1.0, 1.0], 5e-324) == [1.0 / 1e-37] * 2
    assert run("temperature", [1.0, 1.0], 0) == [1.0, -INF]


# ---- truncations


def test_top_k_tells_apart_what_differs_in_the_last_bit() -> None:
    one = 1.0 + 2.0**-52
    assert run("top_k", [1.0, one, 1.0], 1) == [-INF, one, -INF]


def test_top_k_beyond_the_vocabulary_changes_nothing() -> None:
    assert run("top_k", [1.0, -INF, 2.0], 2**62) == [1.0, -INF, 2.0]


def test_truncations_count_only_what_is_possible() -> None:
    row = [-INF, 0.0, 0.0, -INF, -INF]
    assert run("top_k", row, 4) == row
    assert run("top_p", row, 0.5) == [-INF, 0.0, -INF, -INF, -INF]
    assert run("typical_p", row, 0.5) == [-INF, 0.0, -INF, -INF, -INF]
    assert run("min_p", row, 1) == row


@pytest.mark.parametrize("name", ["top_p", "typical_p"])
def test_a_mass_reached_through_a_logarithm_counts_as_reached(name: str) -> None:
    """1/2 + 1/4 is 0.75 although exp(ln 1/2) + exp(ln 1/4) need not be."""
    for scale in range(-40, 40):
        row = [math.log(0.5) + scale / 7, math.log(0.25) + scale / 7, math.log(0.25) + scale / 7]
        assert run(name, row, 0.75)[2] == -INF


def test_top_p_takes_its_mass_from_what_earlier_stages_left() -> None:
    row = np.log([0.5, 0.3, 0.15, 0.05])
    first = stage("top_k", 2)(row[None, :])
    assert (stage("top_p", 0.6)(first)[0] > -INF).tolist() == [True, False, False, False]  # 0.5 / 0.8 = 0.625
    assert (stage("top_p", 0.6)(row[None, :])[0] > -INF).tolist() == [True, True, False, False]


@pytest.mark.parametrize("a", [1e-300, 5e-324])
def test_min_p_keeps_its_place_where_float32_has_no_number(a: float) -> None:
    out = run("min_p", [0.0, -600.0, -800.0], a, dtype=np.float32)
    assert out == [0.0, -600.0, -INF]


def test_min_p_and_temperature_commute_with_a_power() -> None:
    row = np.log([[0.4, 0.3, 0.2, 0.07, 0.03]])
    for T in (0.5, 2.0):
        before = stage("temperature", T)(stage("min_p", 0.3)(row))
        after = stage("min_p", 0.3 ** (1 / T))(stage("temperature", T)(row))
        assert np.array_equal(before, after)


def test_the_most_likely_token_is_not_always_typical() -> None:
    row = np.log([0.4, 0.2, 0.15, 0.1, 0.07, 0.05, 0.02, 0.01]).tolist()
    assert [i for i, x in enumerate(run("typical_p", row, 0.2)) if x > -INF] == [1]


# ---- penalties


def test_penalties_do_nothing_without_a_history() -> None:
    row = [2.0, 1.0, -1.0]
    for name in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
        assert run(name, row, 1.5) == row
        assert run(name, row, 1.5, past=History()) == row
        assert run(name, row, 1.5, past=History(generated=[0, 1]), window=0) == row


def test_the_default_scopes() -> None:
    past = History(prompt=[0], generated=[1])
    assert run("repetition_penalty", [2.0, 2.0], 2, past=past) == [1.0, 1.0]
    assert run("presence_penalty", [2.0, 2.0], 2, past=past) == [2.0, 0.0]
    assert run("frequency_penalty", [2.0, 2.0], 2, past=past) == [2.0, 0.0]


def test_a_repetition_penalty_of_a_logit_at_zero_is_none() -> None:
    assert run("repetition_penalty", [0.0, 0.0], 3, past=History(generated=[0])) == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("r", [1e-300, 1e300])
def test_a_repetition_penalty_makes_no_finite_logit_infinite(r: float, dtype: type) -> None:
    out = run("repetition_penalty", [5e8, -5e8, 0.0, -INF, 3e30], r, past=History(generated=[0, 1, 2, 3]), dtype=dtype)
    assert all(math.isfinite(x) for x in (out[0], out[1], out[2]))
    assert out[3] == -INF
    assert out[4] == dtype(3e30)  # not in the history


def test_a_repetition_penalty_on_log_probs_does_not_depend_on_the_constant() -> None:
    past = History(generated=[0, 2])
    one, other = (run("repetition_penalty", [2 + c, 1 + c, 0 + c], 1.3, past=past, on="log_probs") for c in (0.0, 50.0))
    assert one == pytest.approx(other, abs=1e-13)
    assert run("repetition_penalty", [2.0, 1.0, 0.0], 1.3, past=past) != run("repetition_penalty", [52.0, 51.0, 50.0], 1.3, past=past)


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"fade": 3}, "fade"),
        ({"window": 4, "fade": 3, "slope": 0.5}, "slope"),
        ({"window": 4, "fade": np.array([0, 3]), "slope": np.array([0.5, 0.5])}, "slope"),
    ],
)
def test_fades_and_slopes_that_exclude_each_other(parameters: dict[str, Any], wrong: str) -> None:
    with pytest.raises(OutOfRange) as caught:
        stage("repetition_penalty", 1.2, **parameters)
    assert caught.value.parameter == wrong
    assert caught.value.fix


def test_a_fade_and_a_slope_may_stand_in_different_rows() -> None:
    both = stage("repetition_penalty", 1.5, window=1, fade=np.array([2, 0]), slope=np.array([1.0, 0.5]))
    past = History(generated=[0, 1])
    assert both(np.array([[3.0, 3.0]] * 2), Context([past, past])).tolist() == [[2.0, 2.0], [3.0, 2.0]]


def test_schedules_are_compared_over_all_their_numbers() -> None:
    """The ends of two schedules are not reached together: a fade and a slope, or a floor and its mass, may meet in between."""
    for parameters in ({"fade": "steps({0: 0, 9: 3})", "slope": "steps({0: 0.5, 99: 1})"}, {"fade": "linear(3, 0, over=9)", "slope": "linear(1, 0, over=9)"}):
        with pytest.raises(OutOfRange, match="fade and slope exclude each other"):
            Recipe(f"repetition_penalty(1.2, window=4, fade={parameters['fade']}, slope={parameters['slope']})")
    with pytest.raises(OutOfRange, match="is above p"):
        Recipe("top_p_decay(linear(0.2, 0.9, over=100), floor=linear(0.1, 0.8, over=1))")
    with pytest.raises(OutOfRange, match="is above p"):  # row 0 has its floor at the last step too
        stage("top_p_decay", schedule_of(Call("linear", (0.9, 0.2, 10), ()), "top_p_decay", "p"), floor=np.array([0.5, 0.1]))
    assert len(Recipe("top_p_decay(linear(0.95, 0.5, over=9), floor=linear(0.5, 0.1, over=99))").transforms) == 1


def test_a_history_of_another_model_is_told_so() -> None:
    for name in ("presence_penalty", "repetition_penalty", "dry"):
        with pytest.raises(TokenOutOfRange, match="token id 7 of the history") as caught:
            run(name, [0.0, 0.0], 1.5, past=History([7, 7, 7, 7]), scope="all")
        assert caught.value.fix


def test_a_negative_window_is_told_what_is_off_and_what_is_all() -> None:
    with pytest.raises(OutOfRange, match=r"window=-1 is outside \[0, inf\). Nearest allowed value: 0 \(neutral"):
        stage("presence_penalty", 1, window=-1)
    with pytest.raises(OutOfRange, match="window=al is not one of all"):
        stage("presence_penalty", 1, window="al")


# ---- logit_bias


def test_a_bias_by_text_needs_a_vocabulary() -> None:
    unbound = stage("logit_bias", {" cat": 2.5})
    with pytest.raises(NeedsTokenizer, match=r'logit_bias: " cat" is no id') as caught:
        unbound(np.zeros((1, 3)))
    assert "recipe.bind(vocabulary)" in str(caught.value)
    vocabulary = Vocabulary([b"a", b" cat", b"b"], encode=lambda text: [1] if text == " cat" else [0, 2])
    assert unbound.bind(vocabulary)(np.zeros((1, 3))).tolist() == [[0.0, 2.5, 0.0]]
    with pytest.raises(NeedsTokenizer, match=r"is 2 tokens here \(\[0, 2\]\), not one") as caught:
        stage("logit_bias", {"ab": 1}).bind(vocabulary)
    assert "stage logit_bias" in str(caught.value)
    assert "sequence_bias" in str(caught.value)
    assert caught.value.parameter == "map"


def test_a_bias_beyond_the_vocabulary_names_it() -> None:
    with pytest.raises(TokenOutOfRange, match=r"logit_bias: token id 7 is outside 0 to 2 \(V = 3\)"):
        run("logit_bias", [0.0, 0.0, 0.0], {7: 1})


def test_an_infinite_bias_is_refused() -> None:
    for x in (-INF, INF, math.nan):
        with pytest.raises(OutOfRange, match=r"map\[1\].*is not finite"):
            stage("logit_bias", {1: x})
    with pytest.raises(OutOfRange, match=r"fix: ban_tokens=\[1\]$"):
        stage("logit_bias", {1: -INF})
    with pytest.raises(OutOfRange, match=r"fix: ban_words=\[\[1, 2\]\]$"):
        stage("sequence_bias", {(1, 2): -INF})


# ---- as text

TEXTS = [
    ("top_k", (40,), {}, "top_k=40"),
    ("min_p", (0.05,), {}, "min_p=0.05"),
    ("typical_p", (0.9,), {}, "typical_p=0.9"),
    ("repetition_penalty", (1.1,), {"window": 256, "scope": "generated"}, "repetition_penalty(1.1, window=256, scope=generated)"),
    ("repetition_penalty", (1.1,), {"window": 64, "fade": 32}, "repetition_penalty(1.1, window=64, fade=32)"),
    ("repetition_penalty", (1.1,), {"slope": 0.5, "on": "log_probs"}, "repetition_penalty(1.1, slope=0.5, on=log_probs)"),
    ("presence_penalty", (0.5,), {"scope": "generated"}, "presence_penalty=0.5"),
    ("frequency_penalty", (-0.5,), {"scope": "all"}, "frequency_penalty(-0.5, scope=all)"),
    ("logit_bias", ({50256: -5, " cat": 2.5},), {}, 'logit_bias={50256: -5, " cat": 2.5}'),
]


@pytest.mark.parametrize(("name", "values", "parameters", "text"), TEXTS)
def test_stages_print_as_they_are_typed(name: str, values: tuple[Any, ...], parameters: dict[str, Any], text: str) -> None:
    assert str(stage(name, *values, **parameters)) == text
