"""The methods for the next token, found by their files: to add one, add a file."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from ..core.claims import Case
from ..core.errors import UnknownMethod, did_you_mean
from ..core.method import Stage
from ..core.values import print_value
from . import choosers, constraints, transforms

ALIASES = {
    "temp": "temperature",
    "topk": "top_k",
    "topp": "top_p",
    "nucleus": "top_p",
    "minp": "min_p",
    "typical": "typical_p",
    "typ_p": "typical_p",
    "repeat_penalty": "repetition_penalty",
    "rep_pen": "repetition_penalty",
    "argmax": "greedy",
    "gumbel": "gumbel_max",
    "multinomial": "categorical",
}
"""Names in other tools, for did-you-mean and for flags. A recipe takes only our own."""


@dataclass(frozen=True)
class Method:
    """One file of the catalogue."""

    name: str
    stage: type[Stage]
    claims: tuple[str, ...]
    cases: tuple[Case, ...]
    doc: str

    @property
    def kind(self) -> str:
        return self.stage.kind

    @property
    def summary(self) -> str:
        """The first line of the docstring, without the name: `drop tokens less likely than ...`."""
        line = self.doc.strip().splitlines()[0].split(": ", 1)[-1].rstrip(".")
        return line[:1].lower() + line[1:]


def read(module: ModuleType) -> Method:
    """The method that a module holds. Raises `TypeError` for a module that is no method file, saying what it lacks."""
    held: dict[str, Any] = vars(module)
    stages = [x for x in held.values() if isinstance(x, type) and issubclass(x, Stage) and x.__module__ == module.__name__]
    lacks = [name for name in ("CLAIMS", "CASES") if name not in held] + ([] if module.__doc__ else ["a docstring"])
    if len(stages) != 1 or lacks:
        lacks += [] if len(stages) == 1 else [f"one stage class (it has {len(stages)})"]
        raise TypeError(f"{module.__name__} is no method file: it lacks {', '.join(lacks)}")
    stage, file = stages[0], module.__name__.rpartition(".")[2]
    if module.__name__.startswith(f"{__name__}.") and stage.name != file:
        raise TypeError(f"{module.__name__}: what is typed is {stage.name}, so the file must be {stage.name}.py")
    return Method(stage.name, stage, tuple(held["CLAIMS"]), tuple(held["CASES"]), module.__doc__ or "")


def claims_of(stage: Stage) -> tuple[str, ...]:
    """What the file of a stage claims; nothing for a stage that no method file holds."""
    return tuple(getattr(sys.modules[type(stage).__module__], "CLAIMS", ()))


@cache
def catalogue() -> dict[str, Method]:
    """Every method by name: transforms, constraints, choosers, alphabetical inside a kind."""
    found: dict[str, Method] = {}
    for folder in (transforms, constraints, choosers):
        for entry in sorted(pkgutil.iter_modules(folder.__path__), key=lambda e: e.name):
            method = read(importlib.import_module(f"{folder.__name__}.{entry.name}"))
            found[method.name] = method
    return found


def find(name: str, place: str = "") -> Method:
    """The method called `name`. Raises `UnknownMethod` with the nearest known names; `place` says where it stood."""
    methods = catalogue()
    if name in methods:
        return methods[name]
    hint = did_you_mean(name, methods, ALIASES) or f" Stages: {', '.join(methods)}."
    raise UnknownMethod(f"unknown stage {print_value(name)}{place}.{hint}", stage=name)
