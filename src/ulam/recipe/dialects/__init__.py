"""Dialects: the settings of other engines, read and written. One file an engine.

    from ulam.recipe.dialects import find
    find("llama.cpp").read({"temperature": 0.7}).recipe      # top_k=40 top_p=0.95 min_p=0.05 temperature=0.7: its defaults written out

`Recipe.from_("llama.cpp", {...})` and `Recipe.to("llama.cpp")` are the short way.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ...core.errors import UsageError, did_you_mean
from .dialect import Dialect, Layout, Reading, Slot, Values
from .export import export
from .verdicts import Export, Fit, Judged, Verdict

__all__ = ["Dialect", "Export", "Fit", "Judged", "Layout", "Reading", "Slot", "Values", "Verdict", "engines", "export", "find"]


@cache
def engines() -> dict[str, Dialect]:
    """The dialects by name: every one that a file of this folder holds."""
    found: dict[str, Dialect] = {}
    for info in pkgutil.iter_modules(__path__):
        for held in vars(importlib.import_module(f"{__name__}.{info.name}")).values():
            if isinstance(held, Dialect):
                found[held.name] = held
    return dict(sorted(found.items()))


def find(name: str) -> Dialect:
    """The dialect of an engine; `_`, `-` and `.` are equal. Raises `UsageError`."""
    key = plain(name)
    for each in engines().values():
        if plain(each.name) == key:
            return each
    known = list(engines())
    raise UsageError(f'unknown engine "{name}".{did_you_mean(name, known)}', fix="one of " + ", ".join(known))


def plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
