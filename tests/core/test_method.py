"""The base of all methods: names, text, neutral rows, stacking, and what a call promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from ulam.core.arrays import Array, column
from ulam.core.context import Context, History
from ulam.core.errors import NeedsTokenizer, OutOfRange, TokenOutOfRange, UsageError
from ulam.core.method import Transform, host, snake, stack, stack_key
from ulam.core.parameter import parameter
from ulam.core.vocabulary import Vocabulary


@dataclass(frozen=True)
class Scale(Transform):
    """Multiplies, and notes what it was given."""

    by: float = parameter(float, "(0, 10]", neutral=1, help="factor")
    last: int = parameter(int, "[0, inf)", words=("all",), default="all", neutral=0, help="window")
    map: Any = parameter(dict, "(-inf, inf)", default=(), help="map")

    def apply(self, z: Array, context: Context) -> Array:
        assert z.shape[-1] > 1
        assert not context.rows or len(context.rows) == len(z)
        return z * column(self.by, z)


Z = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize(("name", "typed"), [("TopNSigma", "top_n_sigma"), ("TopK", "top_k"), ("MirostatV2", "mirostat_v2"), ("XTC", "xtc"), ("MinP", "min_p")])
def test_names_as_typed(name: str, typed: str) -> None:
    assert snake(name) == typed


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (Scale(0.5), "scale=0.5"),
        (Scale(1, 4), "scale(1, last=4)"),
        (Scale(2, map={1: 3}), "scale(2, map={1: 3})"),
    ],
)
def test_stages_as_text(stage: Scale, text: str) -> None:
    assert str(stage) == text


def test_stages_are_values() -> None:
    assert Scale(1, map={1: 2, 0: 1}) == Scale(1.0, map={0: 1, 1: 2})
    assert len({Scale(1), Scale(1.0), Scale(2)}) == 2


def test_neutral_rows_come_back_bit_for_bit_beside_others() -> None:
    stage = stack([Scale(1), Scale(2), Scale(1)])
    out = stage(Z)
    assert out.tolist() == [[1.0, 2.0], [6.0, 8.0], [5.0, 6.0]]
    assert stage.neutral(3).tolist() == [True, False, True]
    assert Scale(2, last=0)(Z) is Z
    assert stage(torch.asarray(Z)).tolist() == out.tolist()


def test_histories_follow_their_rows() -> None:
    seen: list[Any] = []

    @dataclass(frozen=True)
    class Notes(Scale):
        def apply(self, z: Array, context: Context) -> Array:
            seen.append(([row.generated for row in context.rows], np.asarray(self.by).tolist(), z[:, 0].tolist()))
            return z

    stack([Notes(1), Notes(2), Notes(3)])(Z, Context([History(generated=[i]) for i in range(3)]))
    assert seen == [([[1], [2]], [2.0, 3.0], [3.0, 5.0])]


def test_one_token_and_no_rows_are_left_alone() -> None:
    assert Scale(3)(np.array([[4.0]])).tolist() == [[4.0]]
    assert Scale(3)(np.zeros((0, 5))).shape == (0, 5)


def test_half_precision_is_raised_and_nothing_is_written_to() -> None:
    z = np.array([[1.0, 2.0]], np.float16)
    assert Scale(2)(z).dtype == np.float32
    z = Z.copy()
    Scale(2)(z)
    assert np.array_equal(z, Z)


def test_stacking_keeps_equal_stages_and_makes_arrays_of_others() -> None:
    assert stack([Scale(2), Scale(2)]) == Scale(2)
    both = stack([Scale(2, 3), Scale(4, 5)])
    assert both.by.tolist() == [2.0, 4.0]  # type: ignore[attr-defined]
    assert both.last.tolist() == [3, 5]  # type: ignore[attr-defined]
    assert both.take(np.array([1])).by.tolist() == [4.0]  # type: ignore[attr-defined]


def test_numbers_of_rows_are_as_many_as_the_rows() -> None:
    for count in (0, 1, 3):
        with pytest.raises(UsageError, match=f"scale has {count} numbers for 2 rows") as caught:
            Scale(np.full(count, 2.0))(Z[:2], Context())  # type: ignore[arg-type]
        assert caught.value.fix
    assert Scale(np.zeros(0))(Z[:0], Context()).shape == (0, Z.shape[1])  # type: ignore[arg-type]


def test_a_stack_can_be_shown() -> None:
    assert str(stack([Scale(2, 3), Scale(4, 5)])) == "scale([2, 4], last=[3, 5])"


def test_what_must_agree_to_be_stacked() -> None:
    assert stack_key(Scale(2, 3)) == stack_key(Scale(4, 5))
    assert stack_key(Scale(2, 3)) != stack_key(Scale(2, "all"))  # type: ignore[arg-type]
    assert stack_key(Scale(2, map={1: 1})) != stack_key(Scale(2))


def test_binding_turns_texts_into_ids() -> None:
    vocabulary = Vocabulary([b"a", b"b", b"c"], encode=lambda text: ["abc".index(c) for c in text])
    assert Scale(2, map={"c": 1, 0: 2}).bind(vocabulary) == Scale(2, map={2: 1, 0: 2})
    with pytest.raises(NeedsTokenizer):
        Scale(2, map={"ab": 1}).bind(vocabulary)
    with pytest.raises(TokenOutOfRange):
        Scale(2, map={3: 1}).bind(vocabulary)
    with pytest.raises(OutOfRange, match="stands twice"):
        Scale(2, map={"c": 1, 2: 2}).bind(vocabulary)


def test_draws_are_made_in_float64_on_the_host() -> None:
    assert host(torch.asarray([[0.1]], dtype=torch.float32)).dtype == np.float64
