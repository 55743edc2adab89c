"""The errors of the house: what went wrong, where, and the one thing that mends it.

Every error that a user or the world can cause is a `UlamError`. Its text is *what* (naming the value
and the place) and, on a second line, `fix:` with something to paste. `exit_code` is what the command
line returns for it: 2 usage, 5 a model or an optional package cannot be loaded, 6 the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UlamError(Exception):
    """Base of all typed errors.

    what       one sentence: the value, the place, what is wrong with it
    fix        a value or a command that mends it, or None
    stage      the stage it happened in, as typed, or None
    parameter  the name of the parameter, or None
    row        the row of the batch, or None
    position   the number of tokens generated so far, or None
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        fix: str | None = None,
        stage: str | None = None,
        parameter: str | None = None,
        row: int | None = None,
        position: int | None = None,
    ):
        super().__init__(what)
        self.what, self.fix, self.stage, self.parameter, self.row, self.position = what, fix, stage, parameter, row, position

    def __str__(self) -> str:
        where = [f"stage {self.stage}"] if self.stage and self.stage not in self.what else []
        where += [f"row {self.row}"] if self.row is not None else []
        where += [f"position {self.position}"] if self.position is not None else []
        text = self.what + (f" ({', '.join(where)})" if where else "")
        return text + (f"\n  fix: {self.fix}" if self.fix else "")


class UsageError(UlamError):
    """Something typed that cannot be meant: an unknown flag, two recipes, nothing to read."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe whose text or order cannot be read."""


class UnknownMethod(RecipeError):
    """A stage name that no method has."""


class MethodError(UsageError):
    """A class or a package that is to be a method and cannot be one."""


class UnknownParameter(RecipeError):
    """A parameter that the method does not have, one given twice, or one missing."""


class OutOfRange(RecipeError):
    """A value outside its range or of the wrong type; the text names the nearest right one."""


class NeedsTokenizer(RecipeError):
    """A token was given as text and no vocabulary is at hand to turn it into an id."""


class EmptyPrompt(UsageError):
    """An empty prompt for a model that has no start token."""


class ContextOverflow(UsageError):
    """A prompt that is longer than the model's context."""


class TokenOutOfRange(UsageError):
    """A token id that the vocabulary does not have."""


class VocabularyMismatch(UsageError):
    """Models that are to be combined and whose tokens differ; the text names the first token that does."""


class Unsupported(UsageError):
    """Something that a model cannot do."""


class Inexact(UlamError):
    """A recipe that an engine cannot do exactly. `export` holds what comes nearest, and why."""

    exit_code = 6
    export: Any = None


class InvalidLogits(UlamError):
    """A row with NaN, +inf or no finite entry."""


class EmptySupport(UlamError):
    """A stage that left no token of a row.

    constraint  whether it was a constraint, which may do so
    """

    constraint = False


class StaleState(UlamError):
    """A model state that an earlier step has consumed."""


class NoGlobalForm(UsageError):
    """A recipe whose weights over whole texts are not defined: a stage depends on a constant added to the logits, or tosses a coin."""


class NotEnumerable(UsageError):
    """A procedure that reads a number from a continuum, so that its outcomes cannot be listed."""


class NotDeterministic(UlamError):
    """A procedure that does not repeat itself when it gets the same answers: it draws outside the noise."""


class AddressReused(UlamError):
    """Two different questions at one address of the noise, where each would have the other's answer."""


class LawNotNormalised(UlamError):
    """A law whose probabilities do not add to one: a probability was stated wrongly."""


class BudgetExceeded(UsageError):
    """A law with more paths, questions or outcomes than allowed.

    needed  how many paths it has, or about as many, if that is known
    count   the same for people, `about 18 000` if it is an estimate
    fits    the largest length whose law is within the budget, if that is known
    """

    needed: float | None = None
    count: str | None = None
    fits: int | None = None


class ModelError(UlamError):
    """A model that cannot be found or opened safely, or an extra that is not installed."""

    exit_code = 5


class ServerError(UlamError):
    """A server that cannot be reached, refuses, or answers what cannot be.

    status  the HTTP status, if there was one
    """

    status: int | None = None


class TrainingTextError(UsageError):
    """Training text that is empty, too small, or not text."""


class TrainingDiverged(UlamError):
    """A training loss that became NaN or infinite; the best model so far is kept."""


def nearest(word: str, known: Iterable[str], aliases: dict[str, str] | None = None) -> list[str]:
    """The known words nearest to `word`, best first, at most three; none if nothing is near.

    A known word of another tool (`aliases`, theirs to ours) comes before near spellings.
    """
    if aliases and word in aliases:
        return [aliases[word]]
    return get_close_matches(word, list(known), n=3, cutoff=0.7)


def did_you_mean(word: str, known: Iterable[str], aliases: dict[str, str] | None = None) -> str:
    """A sentence that names the nearest known words, or an empty string."""
    near = nearest(word, known, aliases)
    return f" Did you mean {' or '.join(near)}?" if near else ""
