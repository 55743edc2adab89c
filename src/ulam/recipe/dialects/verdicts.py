"""How faithfully an engine can do what a recipe says: a verdict for every stage, and the engine's parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from ...core.errors import Inexact


class Verdict(IntEnum):
    """From best to worst. Two recipes are equal in law if they give the same distribution for every row and history, ties at a cut and
    values within 1e-5 of a threshold aside; precision and the random stream are not part of the law.

    EXACT                  the engine, with these parameters, is equal in law
    EXACT_BECAUSE_NEUTRAL  the engine lacks the stage or has it elsewhere, and here that cannot matter
    REORDERED              every stage exists, but the engine swaps two that do not commute
    APPROXIMATE            the engine's function differs on rows that do occur
    UNSUPPORTED            no parameter for the stage, or a value that the engine refuses or changes
    """

    EXACT = 0
    EXACT_BECAUSE_NEUTRAL = 1
    REORDERED = 2
    APPROXIMATE = 3
    UNSUPPORTED = 4

    @property
    def faithful(self) -> bool:
        return self <= Verdict.EXACT_BECAUSE_NEUTRAL

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Fit:
    """What an engine makes of one stage: its parameters, how faithful they are, and why, if there is something to say."""

    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    verdict: Verdict = Verdict.EXACT
    note: str = ""

    def worse(self, verdict: Verdict, note: str) -> Fit:
        """This fit with a verdict that is at least as bad; the note of the worse one stays in front."""
        notes = [note, self.note] if verdict > self.verdict else [self.note, note]
        return Fit(self.parameters, max(self.verdict, verdict), "; ".join(dict.fromkeys(each for each in notes if each)))


def unsupported(note: str) -> Fit:
    return Fit({}, Verdict.UNSUPPORTED, note)


def approximate(parameters: dict[str, Any], note: str) -> Fit:
    return Fit(parameters, Verdict.APPROXIMATE, note)


@dataclass(frozen=True)
class Judged:
    """A stage of a recipe as it was written, and what became of it."""

    stage: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class Export:
    """A recipe in the parameters of an engine.

    engine      its name
    parameters  to give to the engine: plain numbers, strings, lists and maps
    stages      a verdict for every stage of the recipe, in its order
    notes       what else is to be known: defaults that had to be written out, how to pass the parameters
    """

    engine: str
    parameters: dict[str, Any]
    stages: tuple[Judged, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the stages."""
        return max((each.verdict for each in self.stages), default=Verdict.EXACT)

    def refusal(self) -> Inexact:
        """The error that says which stage the engine cannot do, and why."""
        worst = max(self.stages, key=lambda each: each.verdict)
        error = Inexact(
            f"{self.engine}: {worst.stage} is {worst.verdict}: {worst.note}",
            fix="what comes nearest: recipe.to(..., strict=False), or ulam recipe convert --allow-inexact",
        )
        error.export = self
        return error
