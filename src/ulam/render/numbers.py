"""Probabilities and bits for people, the same wherever they are shown."""

from __future__ import annotations

NEAR = 1e-13
"""What is nearer to 0 or 1 than this is so by rounding."""


def probability(p: float) -> str:
    """Three digits: `0.296`, `0.0625`, `3.1e-05`. It reads 0 or 1 only if it is, up to rounding: `>0.999`."""
    text = f"{p:.3g}"
    return ">0.999" if text == "1" and p < 1 - NEAR else text


def bits(x: float, *, unit: bool = False) -> str:
    """Four digits: `2.755`, `4.5`, `0`; `infinite`. With the unit: `3 bits`, `1 bit`."""
    if x == float("inf"):
        return "infinite"
    text = f"{x if abs(x) > NEAR else 0:.4g}"
    return f"{text} bit{'' if text == '1' else 's'}" if unit else text
