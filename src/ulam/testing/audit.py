"""An audit: every check of a method, one by one, whatever the others say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..core.method import Chooser, Stage
from ..core.parameter import parameters
from ..exact import law
from ..methods import Method
from ..models.alphabet import alphabet
from ..models.table import Table
from ..recipe import Recipe
from .cases import assert_cases, assert_half
from .check import assert_all, assert_claim, drawn_from
from .claims import TESTS
from .inputs import irregular, probes, settings
from .masks import CONSTRAINT_PROMISES
from .promises import CHOOSER_PROMISES, PROMISES, agrees_with, assert_ranges
from .report import ConformanceError
from .subject import Subject, probabilities

LENGTH = 3  # tokens of the texts whose law is enumerated
WIDTH = 4


@dataclass(frozen=True)
class Finding:
    """One check of an audit.

    group   claims, numbers, rows or law
    name    the claim, or the name of the check
    inputs  how many it was asserted on; 0 where it is not applicable
    told    what is wrong with the smallest failing input found, or why it is not applicable; empty if it holds
    ok      None where it is not applicable
    """

    group: str
    name: str
    inputs: int
    told: str
    ok: bool | None


def audit(method: Method, *, inputs: int = 300) -> Iterator[Finding]:
    """Every check of a method: what it claims, its numbers, its rows, its law. A check that fails does not stop the others."""
    subject, questions = Subject(method), probes(method.stage, inputs)
    draws = issubclass(method.stage, Chooser)
    if draws:
        questions = drawn_from(questions)
    for word in method.claims:
        if word in TESTS:
            yield finding("claims", word, lambda word=word: (assert_claim(subject, word, questions), ""))
        else:
            yield Finding("claims", word, 0, "it is not one of the claims: " + ", ".join(TESTS), False)
    if not method.claims:
        yield Finding("claims", "claims", 0, f'{method.stage.__module__} makes none: CLAIMS = ("shift", "batch", ...)', None)
    if method.cases:
        yield finding("numbers", "cases", lambda: (assert_cases(subject), ""))
    else:
        yield Finding("numbers", "cases", 0, f"{method.stage.__module__} has none: CASES = (Case(...), ...)", None)
    yield finding("numbers", "ranges", lambda: (assert_ranges(method), "no parameter"))
    yield from on_torch(subject, method, questions)
    for name, test in {"transform": PROMISES, "constraint": CONSTRAINT_PROMISES, "chooser": CHOOSER_PROMISES}[method.kind].items():
        group = "numbers" if name == "float32" else "law" if draws and name not in PROMISES else "rows"
        yield finding(group, name, lambda name=name, test=test: assert_all(subject, name, test, questions))
    yield finding("law", "enumerated", lambda: (laws_agree(method), "no setting"))


def finding(group: str, name: str, check: Callable[[], tuple[int, str]]) -> Finding:
    """What a check found. Anything that the method raises is against it."""
    try:
        count, why = check()
    except ConformanceError as error:
        return Finding(group, name, 0, str(error), False)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        return Finding(group, name, 0, "\n  ".join([told, *getattr(error, "__notes__", [])]), False)
    return Finding(group, name, count, "" if count else why, True if count else None)


def on_torch(subject: Subject, method: Method, questions: Any) -> Iterator[Finding]:
    """The same distributions on torch, where it is installed, and the cases in its half precision."""
    try:
        import torch
    except ImportError:
        yield Finding("numbers", "torch", 0, "torch is not installed", None)
        return
    there = Subject(method, torch.asarray)
    yield finding("numbers", "torch", lambda: assert_all(there, "library", agrees_with(subject), questions))
    if method.cases:
        yield finding("numbers", "bfloat16", lambda: assert_half(there))


def laws_agree(method: Method) -> int:
    """The law of whole texts as the loop draws them, alone and after temperature, against the product of the rows' laws; the number of laws."""

    def row(prefix: tuple[int, ...]) -> Any:
        return probabilities(irregular(WIDTH, 7 + sum(prefix) + len(prefix))[None, :])[0]

    table = Table({}, alphabet("abcd"), otherwise=row, fingerprint="audit")
    tried = 0
    for setting in settings(method.stage, WIDTH)[:8]:
        stage: Stage = method.stage(**setting)
        for first in ([], list(Recipe("temperature=0.7").stages)):
            recipe = Recipe([*first, stage])
            wrong = apart(table, recipe)
            if wrong:
                raise ConformanceError(method.name, "its law", f"{wrong} under {recipe}")
            tried += 1
    return tried if parameters(method.stage) or tried else 0


def apart(table: Table, recipe: Recipe) -> str | None:
    """Where the loop's law and the recipe's own differ."""
    from ..decode.recipe_model import RecipeModel

    drawn, stated = law(table, recipe, [0], LENGTH), law(RecipeModel(table, recipe), None, [0], LENGTH)
    distance = drawn.total_variation(stated)
    if isinstance(distance, float) and distance <= 1e-12 and {*drawn.outcomes} == {*stated.outcomes}:
        return None
    return f"texts of {LENGTH} tokens are drawn with another law than the recipe states (total variation {distance:.3g})"
