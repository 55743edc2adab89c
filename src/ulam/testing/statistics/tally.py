"""What a statistical test found."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import UsageError
from ..report import ConformanceError

SUPPORT = "support"
"""The part that can raise no false alarm: what is impossible was drawn, or it was not."""


@dataclass(frozen=True)
class Part:
    """One part of a tally.

    statistic  what was computed: G, or the number of draws that `finding` is about
    p          at most so probable is something as far off anywhere in this part, if the law is right
    """

    name: str
    statistic: float
    p: float
    finding: str


def check_chance(value: float, name: str) -> float:
    """Raises `UsageError` for the probability of an error that is not between 0 and 1."""
    if not 0 < value < 1:
        raise UsageError(f"{name}={value} is outside (0, 1)", fix=f"{name}=1e-9")
    return value


def support(drawn: int) -> Part:
    """The part about impossible outcomes, of which so many were drawn."""
    return Part(SUPPORT, drawn, float(drawn == 0), f"impossible outcomes: {drawn} drawn, 0 expected")


@dataclass(frozen=True)
class Tally:
    """n draws, compared in so many cells. If the law is right, `ok` is false with a probability of at most `alpha`.

    Raises `UsageError` for an alpha outside (0, 1).
    """

    n: int
    cells: int
    alpha: float
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        check_chance(self.alpha, "alpha")

    @property
    def worst(self) -> Part:
        """The part that is furthest off."""
        return min(self.parts, key=lambda part: part.p)

    @property
    def p(self) -> float:
        """At most so probable is something as far off anywhere, if the law is right; 0 after an impossible draw."""
        return min(1.0, self.worst.p * sum(part.name != SUPPORT for part in self.parts))

    @property
    def ok(self) -> bool:
        return self.p > self.alpha

    @property
    def reason(self) -> str | None:
        """What is wrong, in one line, or None."""
        return None if self.ok else f"{self.worst.finding} (p = {self.p:.1g}, {self.n} draws)"

    def required(self, subject: str = "the sampler") -> Tally:
        """This tally, if it is ok. Raises `ConformanceError`, which names the part that is furthest off."""
        if self.reason:
            raise ConformanceError(subject, self.worst.name, self.reason)
        return self

    def __str__(self) -> str:
        head = f"{self.n} draws, {self.cells} cells: {'ok' if self.ok else 'wrong'}, p = {self.p:.2g}, alpha = {self.alpha:g}"
        return "\n".join([head, *(f"  {part.name:<12} p = {part.p:<8.2g} {part.finding}" for part in self.parts)])
