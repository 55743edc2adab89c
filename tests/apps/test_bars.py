"""Probabilities, bits, bars, and tables that fit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ulam.render.bars import Row, bar, scale, shortened, table
from ulam.render.numbers import bits, probability


@pytest.mark.parametrize(
    ("p", "text"),
    [(8 / 27, "0.296"), (1 / 16, "0.0625"), (1.0, "1"), (0.0, "0"), (0.9996, ">0.999"), (0.9994, "0.999"), (3.14e-5, "3.14e-05"), (1 - 1e-15, "1")],
)
def test_probabilities(p: float, text: str) -> None:
    assert probability(p) == text


@given(st.floats(0, 1))
def test_a_probability_reads_0_or_1_only_if_it_is(p: float) -> None:
    assert (probability(p) == "0") == (p == 0)
    assert (probability(p) == "1") == (p >= 1 - 1e-13)
    assert math.isclose(float(probability(p).lstrip(">")), p, rel_tol=0.006)


@pytest.mark.parametrize(("x", "text", "unit"), [(2.7548875, "2.755", "2.755 bits"), (4.5, "4.5", "4.5 bits"), (1.0, "1", "1 bit"), (-1e-17, "0", "0 bits")])
def test_bits(x: float, text: str, unit: str) -> None:
    assert (bits(x), bits(x, unit=True)) == (text, unit)
    assert bits(math.inf, unit=True) == bits(math.inf) == "infinite"


@pytest.mark.parametrize(
    ("length", "drawn"),
    [(50, "█" * 50), (14.8148, "█" * 14 + "▊"), (7.4074, "█" * 7 + "▍"), (0.5, "▌"), (0.9999, "▉"), (0.01, "▏"), (0, ""), (0.29 * 50, "█" * 14 + "▌")],
)
def test_a_bar_is_drawn_in_eighths(length: float, drawn: str) -> None:
    assert bar(length) == drawn


@given(st.floats(0, 50))
def test_a_bar_is_as_long_as_it_says(length: float) -> None:
    whole, part = bar(length).count("█"), bar(length).lstrip("█")
    eighths = 8 * whole + ("▏▎▍▌▋▊▉".index(part) + 1 if part else 0)
    assert length * 8 - 1 < eighths <= max(length * 8 + 1e-6, 1 if length else 0)


@pytest.mark.parametrize(("largest", "power"), [(1.0, 0), (0.148, 0), (0.1, 1), (0.0999, 1), (0.0011, 2), (0.001, 3), (0.0, 0), (3e-9, 8)])
def test_the_scale_is_the_power_of_ten_above(largest: float, power: int) -> None:
    assert scale(largest) == power


def test_a_long_text_loses_its_middle() -> None:
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 7) == "abc…ijk"
    assert shortened("漢字漢字漢字", 8) == "漢字 …字"  # two columns each; half of one is a space


ROWS = st.lists(st.tuples(st.text("ab漢é ", max_size=60), st.floats(1e-9, 1)), min_size=1, max_size=4)


@given(ROWS, st.integers(60, 140), st.booleans())
def test_a_table_fits_and_its_columns_stand_under_each_other(found: list[tuple[str, float]], width: int, bars: bool) -> None:
    rows = [Row(text, [probability(p), "#"], p) for text, p in sorted(found, key=lambda each: -each[1])]
    lines, size = table(["text", "law", "model"], rows, width, bars=bars)
    assert max(map(cell_len, lines)) <= width
    at = lines[0].index("law")
    assert at == 1 + size + 3
    for line, row in zip(lines[1:], rows, strict=True):
        assert cell_len(line[: line.index(f"   {row.numbers[0]} ") + 3]) == at
    assert bars or not any("█" in line for line in lines)
