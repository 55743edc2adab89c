"""What combinators make of rows: the cases worked out by hand, plain Python on random rows, neutral values; wrong versions are rejected."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.models.combined import MAKE, PLAIN, Row, layered, said, says
from ulam import models
from ulam.models import FunctionModel, combinators, context_aware, contrastive, ensemble, guidance, log_ratios, proxy

CASES = [(name, case) for name, combinator in combinators().items() for case in combinator.cases]


def assert_case(name: str, case: Any) -> None:
    found = said(MAKE[name](case.rows, **case.parameters))
    assert [p > 0 for p in found] == [p > 0 for p in case.expect], case.excludes
    assert found == pytest.approx([float(p) for p in case.expect], rel=1e-12), case.excludes


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.excludes}" for name, case in CASES])
def test_rows_worked_out_by_hand(name: str, case: Any) -> None:
    assert_case(name, case)
    assert PLAIN[name](*case.rows, **case.parameters) == pytest.approx([float(p) for p in case.expect], rel=1e-12)


def test_every_combinator_has_three_to_six_cases() -> None:
    assert list(combinators()) == sorted(MAKE) == sorted(PLAIN)
    assert all(3 <= len(combinator.cases) <= 6 for combinator in combinators().values())


# random rows

levels = st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.1, 0.3, 0.5, 1.0]) | st.floats(0.001, 1)
numbers: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "context_aware": {"alpha": st.floats(0, 3)},
    "contrastive": {"alpha": st.sampled_from([0, 0.1, 0.37, 1]), "weight": st.floats(0, 3), "amateur_temperature": st.floats(0.3, 3)},
    "dola": {"alpha": st.sampled_from([0, 0.1, 0.37])},
    "ensemble": {"mode": st.sampled_from(["product", "mixture"]), "weights": st.lists(st.sampled_from([0, 0.2, 1, 5]), min_size=3, max_size=3)},
    "guidance": {"scale": st.sampled_from([0, 0.5, 1]) | st.floats(0, 4)},
    "proxy": {"alpha": st.floats(-2, 2)},
}


@st.composite
def given_rows(draw: st.DrawFn, count: int) -> list[list[float]]:
    width = draw(st.integers(1, 5))
    rows = [draw(st.lists(levels, min_size=width, max_size=width).filter(any)) for _ in range(count)]
    return [[p / math.fsum(row) for p in row] for row in rows]


@pytest.mark.parametrize("name", list(MAKE))
@given(st.data())
def test_it_is_what_plain_python_says(name: str, data: st.DataObject) -> None:
    rows = data.draw(given_rows({"proxy": 3, "ensemble": 3, "dola": 4}.get(name, 2)))
    more = {key: data.draw(strategy) for key, strategy in numbers[name].items()}
    assume(name != "ensemble" or any(more["weights"]))
    if name in ("contrastive", "dola"):  # no token within rounding of the threshold, where either answer is right
        ratios = [p / max(rows[0]) for p in rows[0]]
        assume(all(abs(ratio - more["alpha"]) > 1e-9 or ratio == more["alpha"] == 1 for ratio in ratios))
    try:
        expected = PLAIN[name](*rows, **more)
    except ZeroDivisionError:  # no token is possible
        assert not np.isfinite(MAKE[name](rows, **more).prefill([()])[1]).any()
        return
    assert said(MAKE[name](rows, **more)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


# neutral values


def raw(row: Row) -> FunctionModel:
    """Logits that are no log-probabilities, so that bits would change if they were made so."""
    return FunctionModel(lambda tokens: [*row], "abc"[: len(row)])


def test_neutral_values_are_the_main_models_bits() -> None:
    z, other = [0.1, 2.7, -math.inf], [1.0, 0.0, 0.3]
    main, mate = raw(z), raw(other)
    neutral = {
        "guidance": guidance(main, 1, "a"),
        "context_aware": context_aware(main, "a", 0),
        "contrastive": contrastive(main, mate, 0, 0),
        "proxy": proxy(main, mate, mate, 0),
        "ensemble of one": ensemble([main]),
        "ensemble, one that counts": ensemble([mate, main], [0, 3]),
        "mixture of one": ensemble([main], mode="mixture"),
    }
    for name, model in neutral.items():
        state, logits = model.prefill([(), (1,)])
        assert logits.tolist() == [z, z], name
        assert model.step(state, [0, 1])[1].tolist() == [z, z], name


def test_half_precision_and_float32_are_worked_out_in_float64() -> None:
    z = np.array([0.1, 2.7, -1.3], np.float32)
    narrow, wide = [FunctionModel(lambda tokens: z, "abc"), FunctionModel(lambda tokens: z.astype(np.float64), "abc")]
    assert proxy(narrow, narrow, narrow, 0.3).prefill([()])[1].tolist() == proxy(wide, wide, wide, 0.3).prefill([()])[1].tolist()


def test_parts_in_torch_stay_in_torch() -> None:
    torch = pytest.importorskip("torch")

    class Torch(type(says((1,)))):  # a table whose logits are a tensor
        def _read(self, prefixes: Any) -> Any:
            return torch.asarray(super()._read(prefixes)).float()

    rows = ((0.5, 0.3, 0.15, 0.05), (0.7, 0.1, 0.1, 0.1), (0.1, 0.7, 0.1, 0.1))
    expected = PLAIN["proxy"](*rows)
    parts = [Torch(row) for row in rows]
    for base, rest, kind in ((parts[0], parts[1:], torch.Tensor), (parts[0], [*map(says, rows[1:])], torch.Tensor), (says(rows[0]), parts[1:], np.ndarray)):
        logits = proxy(base, *rest).prefill([()])[1]
        assert isinstance(logits, kind)
        assert np.exp(np.asarray(logits[0], np.float64)) / np.exp(np.asarray(logits[0], np.float64)).sum() == pytest.approx(expected, rel=1e-5)
    for mode in ("product", "mixture"):
        logits = ensemble(parts, mode=mode).prefill([()])[1]
        assert np.exp(log_ratios.log_softmax(logits)[0].numpy()) == pytest.approx(PLAIN["ensemble"](*rows, mode=mode), rel=1e-5)


def test_a_row_without_log_probabilities_is_not_hidden() -> None:
    """NaN and rows without a token stay what they are; the loop then fails the row."""
    broken, fine = raw([math.nan, 0.0]), raw([1.0, 0.0])
    for model in (proxy(broken, fine, fine), proxy(fine, fine, broken), ensemble([fine, broken], mode="mixture"), contrastive(fine, broken)):
        assert np.isnan(model.prefill([()])[1]).any()
    assert (ensemble([says((1, 0)), says((0, 1))]).prefill([()])[1] == -np.inf).all()


# dola


def test_every_row_has_a_layer_of_its_own() -> None:
    """After a the second layer is the far one, after anything else the first."""
    last, near, far = (0.5, 0.3, 0.2), (0.45, 0.35, 0.2), (0.1, 0.1, 0.8)
    model = layered(last, near, near)
    model.lower[0]._rows, model.lower[1]._rows = {}, {}
    for layer, rows in zip(model.lower, ((near, far), (far, near)), strict=True):
        layer._function = lambda prefix, rows=rows: rows[prefix[-1] != 0]  # type: ignore[assignment]
        layer._otherwise = None
        layer.order = None
    found = MAKE["contrastive"]((last, far), alpha=0.1)
    combined = combinators()["dola"].make(model, [0, 1])
    _, logits = combined.prefill([(0,), (1,)])
    for row in logits:
        assert row.tolist() == pytest.approx(found.prefill([()])[1][0].tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("words", "count", "expected"), [("even", 5, [0, 2, 4]), ("low", 5, [0]), ("high", 5, [2, 4]), ("low", 8, [0, 2]), ("high", 8, [4, 6]), ("even", 1, [0])]
)
def test_words_for_layers(words: str, count: int, expected: list[int]) -> None:
    rows = [(0.5, 0.5)] * (count + 1)
    assert MAKE["dola"](rows, layers=words).name == f"dola(iid, layers={expected}, alpha=0.1)".replace("iid", "table")


# wrong versions

moved, contrast = log_ratios.moved, log_ratios.contrast


def in_probabilities(base: Any, up: Any, down: Any, weight: float) -> Any:
    return np.log(np.maximum(np.exp(base) + weight * (np.exp(up) - np.exp(down)), 1e-300))


WRONG: list[tuple[str, str, str, Callable[..., Any]]] = [
    ("guidance", "guidance", "moved", lambda b, u, d, w: moved(b, u, d, w + 1)),
    ("guidance", "guidance", "moved", lambda b, u, d, w: moved(d, u, d, w)),
    ("guidance", "guidance", "moved", in_probabilities),
    ("context_aware", "context_aware", "moved", lambda b, u, d, w: moved(d, d, u, w)),
    ("context_aware", "context_aware", "moved", lambda b, u, d, w: moved(b, u, d, w - 1)),
    ("proxy", "proxy", "moved", lambda b, u, d, w: moved(b, d, u, w)),
    ("proxy", "proxy", "moved", lambda b, u, d, w: moved(b, u, d, 1)),
    ("proxy", "proxy", "moved", lambda b, u, d, w: moved(u, b, d, w)),
    ("contrastive", "contrastive", "contrast", lambda e, a, alpha, w: contrast(e, a, np.nextafter(alpha + 1e-9, 1), w)),
    ("contrastive", "contrastive", "contrast", lambda e, a, alpha, w: (1 + w) * e - w * a),
    ("contrastive", "contrastive", "contrast", lambda e, a, alpha, w: contrast(a, e, alpha, w)),
    ("ensemble", "ensemble", "log_sum", lambda parts: sum(parts)),
    ("ensemble", "ensemble", "fsum", lambda weights: 1.0),
    ("dola", "dola", "farthest", lambda last, lower: lower[0]),
    ("dola", "dola", "farthest", lambda last, lower: lower[-1]),
    ("dola", "dola", "read_layers", lambda layers, count: list(layers)),
    ("dola", "dola", "read_layers", lambda layers, count: list(range(count))),
    *((name, "log_ratios", "floored", lambda z: z) for name in ("guidance", "context_aware", "proxy", "contrastive", "dola")),
    *((name, "log_ratios", "floored", lambda z: np.maximum(z, -700)) for name in ("guidance", "context_aware", "proxy", "contrastive", "dola")),
]


@pytest.mark.parametrize(("name", "module", "attribute", "wrong"), WRONG)
def test_wrong_versions_are_rejected_by_the_cases(name: str, module: str, attribute: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "ulam.models.log_ratios" if module == "log_ratios" else f"ulam.models.combine.{module}"
    monkeypatch.setattr(importlib.import_module(place), attribute, wrong)

    def passes(case: Any) -> bool:
        try:
            assert_case(name, case)
        except AssertionError:
            return False
        return True

    with np.errstate(all="ignore"):
        assert not all(map(passes, combinators()[name].cases))


# the files


@pytest.mark.parametrize("name", list(combinators()))
def test_a_combinator_is_a_file_with_headings(name: str) -> None:
    combinator = combinators()[name]
    module = importlib.import_module(f"ulam.models.combine.{name}")
    assert combinator.make is getattr(models, name)
    assert combinator.make.__module__ == module.__name__
    assert combinator.make.__doc__
    starts = [line.split()[0] for line in combinator.doc.splitlines() if line[:1].isupper()]
    assert starts[1:] == ["Math", "Shapes", "Neutral", "Edges", "Errors", "Cost", "Source", "Elsewhere"]
    assert combinator.doc.lower().replace("-", "_").startswith(f"{name}: ")
    assert combinator.summary[0].islower()
    text = inspect.getsource(module)
    assert "\nfrom .." in text
    assert not re.search(r"^from \.\w", text, re.MULTILINE)  # no combinator imports another
    assert len(text.splitlines()) <= 200


@pytest.mark.parametrize("name", list(combinators()))
def test_defaults_are_those_of_the_parameters(name: str) -> None:
    combinator = combinators()[name]
    signature = inspect.signature(combinator.make).parameters
    for parameter in combinator.parameters:
        assert signature[parameter.name].default in (parameter.default, None), parameter.name  # None: a weight of 1 for each
        assert parameter.help
