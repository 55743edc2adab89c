"""Property tests of every transform against its definition, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.methods import reference
from tests.strategies import Rows, histories, rows
from ulam.core.context import Context, History
from ulam.methods import find

torch.set_num_threads(1)

shares = st.sampled_from([0.0, 1e-12, 0.05, 0.25, 0.5, 0.75, 0.9, 0.999999, 1.0]) | st.floats(0, 1)
windows = st.sampled_from(["all", 0, 1, 2, 3, 5, 100])
scopes = st.sampled_from(["prompt", "generated", "all"])


def applied(name: str, row: Rows, past: History | None = None, **parameters: Any) -> list[float]:
    stage = find(name).stage(**parameters)
    context = Context([past] if past else [])
    out = stage(row[None, :], context)[0]  # type: ignore[operator]
    on_torch = stage(torch.asarray(row[None, :].copy()), context)[0].numpy()  # type: ignore[operator]
    assert np.array_equal(out > -np.inf, on_torch > -np.inf)
    return out.tolist()


def close(found: list[float], wanted: list[float], allowed: float = 1e-12) -> bool:
    return bool(np.allclose(found, wanted, rtol=allowed, atol=allowed))


@given(rows(), st.integers(0, 15))
def test_top_k(row: Rows, k: int) -> None:
    assert applied("top_k", row, k=k) == reference.top_k(row.tolist(), k)


@given(rows(), shares)
def test_top_p(row: Rows, p: float) -> None:
    assert applied("top_p", row, p=p) == reference.top_p(row.tolist(), p)


@given(rows(), shares)
def test_min_p(row: Rows, a: float) -> None:
    assert applied("min_p", row, a=a) == reference.min_p(row.tolist(), a)


@given(rows(), shares)
def test_typical_p(row: Rows, p: float) -> None:
    assert applied("typical_p", row, p=p) == reference.typical_p(row.tolist(), p)


@given(rows(), st.sampled_from([0.0, 1e-6, 0.3, 1.0, 1.7, 50.0, 1e6]) | st.floats(0.01, 100))
def test_temperature(row: Rows, T: float) -> None:
    found, wanted = (np.array(reference.probabilities(z)) for z in (applied("temperature", row, T=T), reference.temperature(row.tolist(), T)))
    # dividing m/T and s/T apart rounds a logit by a few units in its last place
    assert np.allclose(found, wanted, rtol=0, atol=1e-15 * (2 + np.abs(row[row > -np.inf]).max() / max(T, 1e-3)))


@st.composite
def questions(draw: st.DrawFn) -> tuple[Rows, History, str, list[int]]:
    """A row, a history over its tokens, a scope, and the tokens of that scope."""
    row = draw(rows(2, 8))
    past = draw(histories(len(row)))
    scope = draw(scopes)
    return row, past, scope, list({"prompt": past.prompt, "generated": past.generated, "all": [*past.prompt, *past.generated]}[scope])


@given(
    questions(),
    st.sampled_from([0.5, 1.0, 1.1, 1.5, 30.0]),
    windows,
    st.sampled_from([(0, 1.0), (3, 1.0), (0, 0.0), (0, 0.5)]),
    st.sampled_from(["logits", "log_probs"]),
)
def test_repetition_penalty(question: tuple[Rows, History, str, list[int]], r: float, window: Any, fade_slope: tuple[int, float], on: str) -> None:
    row, past, scope, tokens = question
    fade, slope = fade_slope if window != "all" else (0, fade_slope[1])
    assume(np.abs(row[row > -np.inf]).max() <= 1e4)
    found = applied("repetition_penalty", row, past, r=r, window=window, scope=scope, fade=fade, slope=slope, on=on)
    assert close(found, reference.repetition_penalty(row.tolist(), tokens, r, window, fade, slope, on))


@given(questions(), st.sampled_from([-2.0, 0.0, 0.5, 1e3]), windows, st.sampled_from([0, 1, 4]))
def test_presence_penalty(question: tuple[Rows, History, str, list[int]], a: float, window: Any, fade: int) -> None:
    row, past, scope, tokens = question
    fade = 0 if window == "all" else fade
    found = applied("presence_penalty", row, past, a=a, window=window, scope=scope, fade=fade)
    assert close(found, reference.presence_penalty(row.tolist(), tokens, a, window, fade))


@given(questions(), st.sampled_from([-2.0, 0.0, 0.5, 1e3]), windows, st.sampled_from([0, 1, 4]))
def test_frequency_penalty(question: tuple[Rows, History, str, list[int]], a: float, window: Any, fade: int) -> None:
    row, past, scope, tokens = question
    fade = 0 if window == "all" else fade
    found = applied("frequency_penalty", row, past, a=a, window=window, scope=scope, fade=fade)
    assert close(found, reference.frequency_penalty(row.tolist(), tokens, a, window, fade))


@given(rows(2, 8), st.dictionaries(st.integers(0, 7), st.floats(-1e31, 1e31), max_size=4))
def test_logit_bias(row: Rows, bias: dict[int, float]) -> None:
    bias = {token: x for token, x in bias.items() if token < len(row)}
    assert applied("logit_bias", row, map=bias) == reference.logit_bias(row.tolist(), bias)
