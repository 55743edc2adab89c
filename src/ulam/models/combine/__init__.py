"""Combinators: models made out of models, one file each, found by their files: to add one, add a file.

A file holds a function of its own name, which makes the combination (`models/combination.py`), the parameters that are numbers
(`PARAMETERS`), and `CASES` worked out by hand.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ...core.parameter import Parameter
from ..combination import Combination, PartsCase
from .context_aware import context_aware
from .contrastive import contrastive
from .dola import dola
from .ensemble import ensemble
from .guidance import guidance
from .proxy import proxy

__all__ = ["Combinator", "combinators", "context_aware", "contrastive", "dola", "ensemble", "guidance", "proxy"]


@dataclass(frozen=True)
class Combinator:
    """One file of the folder."""

    name: str
    make: Callable[..., Combination]
    parameters: tuple[Parameter, ...]
    cases: tuple[PartsCase, ...]
    doc: str

    @property
    def summary(self) -> str:
        """The first line of the docstring, without the name: `move away from ...`."""
        line = self.doc.strip().splitlines()[0].split(": ", 1)[-1].rstrip(".")
        return line[:1].lower() + line[1:]


@cache
def combinators() -> dict[str, Combinator]:
    """Every combinator by name, alphabetical."""
    found: dict[str, Combinator] = {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda e: e.name):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found[entry.name] = Combinator(entry.name, getattr(module, entry.name), module.PARAMETERS, module.CASES, module.__doc__ or "")
    return found
