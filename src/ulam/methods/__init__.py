"""The methods for the next token, found by their files: to add one, add a file, or register one of your own.

    from dataclasses import dataclass
    import ulam
    from ulam.core.arrays import namespace, row_max
    from ulam.methods import Transform, parameter

    @ulam.register
    @dataclass(frozen=True)
    class Lead(Transform):
        h: float = parameter(float, "[0, inf)", neutral=0, fixed=True, help="nats that every token but the most likely ones loses")

        def apply(self, z, context):                  # rows of logits [B, V], NumPy or torch
            return namespace(z).where(z < row_max(z), z - self.h, z)

From then on `lead=0.7` is a stage like any other. A package makes its methods known wherever it is installed by an entry
point in the group `ulam.methods`, whose value is the module of one method: `lead = "my_package.lead"`. `ulam audit
my_package.lead:Lead` checks what it claims.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

from ..core.claims import Case
from ..core.errors import MethodError, UnknownMethod, did_you_mean
from ..core.method import Chooser, Constraint, Stage, Transform
from ..core.parameter import parameter, parameters
from ..core.values import WORD, print_value
from . import choosers, constraints, transforms
from .installed import installed

__all__ = ["ALIASES", "Case", "Chooser", "Constraint", "Method", "Transform", "catalogue", "claims_of", "find", "parameter", "read", "register"]

S = TypeVar("S", bound=Stage)

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
    "tfs": "tail_free",
    "nsigma": "top_n_sigma",
    "smoothing_factor": "smoothing",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "min_new_tokens": "min_tokens",
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


REGISTERED: dict[str, Method] = {}


def own(stage: type[Stage]) -> Method:
    """A stage class of one's own as a method: what it claims and its cases stand beside it in its module, or nowhere."""
    module = sys.modules[stage.__module__]
    doc = stage.__doc__ if stage.__doc__ and not stage.__doc__.startswith(f"{stage.__name__}(") else module.__doc__
    return Method(stage.name, stage, tuple(getattr(module, "CLAIMS", ())), tuple(getattr(module, "CASES", ())), doc or stage.name)


def register(stage: type[S]) -> type[S]:
    """Make a stage class of one's own a method of this process: in the recipe grammar, the flags, the checks. Returns the class.

    `stage` is a frozen dataclass of `Transform`, `Constraint` or `Chooser` whose fields are `parameter(...)`; what is typed is its
    name in lower case with underscores. The same name again replaces an earlier one of one's own. Raises `MethodError`
    for what is no such class, for the name of a method of the house, and for what other tools call one (`ALIASES`).
    """
    check_stage(stage)
    if stage.name in shipped():
        raise MethodError(f"{stage.name} is a method of ulam already", fix="another class name, or: name = ...")
    REGISTERED[stage.name] = own(stage)
    catalogue.cache_clear()
    return stage


def check_stage(stage: Any) -> None:
    """Raises `MethodError` for a class that cannot be a stage of a recipe."""
    what = getattr(stage, "__name__", repr(stage))
    if not isinstance(stage, type) or not issubclass(stage, (Transform, Chooser)):
        raise MethodError(f"{what} is no stage", fix="a subclass of ulam.methods.Transform, Constraint or Chooser")
    if "__dataclass_params__" not in vars(stage):
        raise MethodError(f"{what} is no dataclass of its own, so its parameters would not be seen", fix="@dataclass(frozen=True)")
    if not WORD.fullmatch(stage.name):
        raise MethodError(f"{what} would be typed as {print_value(stage.name)}, which is no word", fix="name = ...")
    if stage.name in ALIASES:
        raise MethodError(f"{what} would be typed as {stage.name}, which elsewhere is {ALIASES[stage.name]}", fix="another class name, or: name = ...")
    try:
        parameters(stage)
    except TypeError as error:
        raise MethodError(str(error), fix="x: float = parameter(float, ...)") from None


@cache
def catalogue() -> dict[str, Method]:
    """Every method by name: those of the house, those of installed packages, those that were registered; by kind, then by name."""
    brought: dict[str, tuple[str, Method]] = {}
    for point, place in installed():
        try:
            method = read(importlib.import_module(place))
        except Exception as error:  # whatever a module of others does when it is read
            raise MethodError(f"the entry point {point} in ulam.methods, {place}, holds no method: {error}", fix="its package, or uninstall it") from error
        check_stage(method.stage)
        other = "ulam" if method.name in shipped() else brought.setdefault(method.name, (place, method))[0]
        if other != place:
            raise MethodError(f"{place} brings a method called {method.name}, which {other} has already", fix="another name in that package, or uninstall it")
    found = {**shipped(), **{name: method for name, (_, method) in brought.items()}, **REGISTERED}
    kinds = [method.kind for method in shipped().values()]
    return dict(sorted(found.items(), key=lambda item: (kinds.index(item[1].kind), item[0])))


@cache
def shipped() -> dict[str, Method]:
    """The methods of the house: transforms, constraints, choosers, alphabetical inside a kind."""
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
