"""Settings that arrive without an order (flags, request fields) become a recipe in one fixed order.

What adds to logits comes first, then penalties, then constraints, then temperature, top_k, top_p, min_p, then the remaining transforms,
then the chooser. A stage that is not listed, of one's own, stands last before the chooser. The recipe that comes out is always shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..core.method import Stage
from ..methods import catalogue, find
from .parse import build

ORDER = (
    *("logit_bias", "sequence_bias", "length_decay"),
    *("repetition_penalty", "frequency_penalty", "presence_penalty", "dry"),
    *("ban_tokens", "allow_tokens", "ban_words", "no_repeat_ngram", "suppress_at_start", "min_tokens", "force_tokens"),
    *("regex", "choice", "json_schema", "json", "grammar", "banned_strings"),
    *("temperature", "top_k", "top_p", "min_p"),
    *("dynamic_temperature", "top_a", "typical_p", "epsilon_cutoff", "eta_cutoff", "tail_free", "top_n_sigma", "top_h", "p_less", "xtc"),
    *("smoothing", "skew", "top_p_decay", "green_list"),
)


def arrange(settings: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Stages from first-parameter values by method name (None for a method without parameters), in canonical order."""
    return in_order([build(find(name).stage, [] if value is None else [value], {}) for name, value in settings.items()])


def in_order(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages in canonical order."""
    names = list(catalogue())
    place = {name: number for number, name in enumerate((*ORDER, *(n for n in names if n not in ORDER)))}
    return tuple(sorted(stages, key=lambda stage: (stage.kind == "chooser", place[stage.name])))
