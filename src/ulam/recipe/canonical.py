"""Settings that arrive without an order (flags, request fields) become a recipe in one fixed order.

The order of `semantics.md` 1.9: what adds to logits, then penalties, then temperature, top_k, top_p, min_p, then the
remaining transforms by name, then the chooser. The recipe that comes out is always shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..core.method import Stage
from ..methods import catalogue, find
from .parse import build

FIRST = ("logit_bias", "repetition_penalty", "frequency_penalty", "presence_penalty", "temperature", "top_k", "top_p", "min_p")


def arrange(settings: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Stages from first-parameter values by method name (None for a method without parameters), in canonical order."""
    return in_order([build(find(name).stage, [] if value is None else [value], {}) for name, value in settings.items()])


def in_order(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages in canonical order."""
    names = list(catalogue())
    place = {name: number for number, name in enumerate((*FIRST, *(n for n in names if n not in FIRST)))}
    return tuple(sorted(stages, key=lambda stage: (stage.kind == "chooser", place[stage.name])))
