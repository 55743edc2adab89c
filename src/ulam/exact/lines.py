"""A law as lines of a terminal: the most probable outcomes, what is removed, entropy and distances."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len

from ..render.bars import Row, table
from ..render.columns import wrap
from ..render.numbers import NEAR, bits, probability
from ..render.receipt import receipt
from ..render.terminal import visible
from .comparison import Comparison
from .laws import Law, Outcome
from .size import told

TOP = 12
"""Outcomes that are shown at first."""

LN2 = math.log(2)


class Names(NamedTuple):
    """What two laws are called: each over its column, and the second one in a sentence."""

    law: str = "law"
    other: str = "other"
    whole: str = "the other law"

    @property
    def mass(self) -> str:
        return f"{self.whole}'s mass" if self.whole.startswith("the ") else f"the mass of {self.whole}"


UNNAMED = Names()


def to_lines(law: Law, beside: Comparison | None = None, names: Names = UNNAMED, top: int = TOP, width: int | None = None) -> list[str]:
    """The `top` most probable outcomes with bars, what is left out or removed, entropy and distances.

    `beside` compares `law` with another one. Lines are wrapped if there is a `width`; the table is as wide, else 100 columns.
    """
    columns = [law.probs] if beside is None else [law.probs, beside.probs]
    shown = zip(texts(law, law.outcomes[:top]), *columns, strict=False)
    rows = [Row(text, [probability(float(p)) for p in probs], float(probs[0])) for text, *probs in shown]
    heads = [noun(law), names.law, names.other][: 1 + len(columns)]
    lines, size = table(heads, rows, width or 100, bars=len(law) > 1)
    complete = len(law) <= top
    facts = [] if complete else [f"{'rest':<{size}}   {probability(rest(law, top))} in {many(len(law) - top, noun(law))}"]
    if beside is not None and beside.rest > 0:
        facts = [f"{fact}; {removed(beside)} removed ({probability(beside.rest)} of {names.mass})" for fact in facts] or [gone(beside, names)]
    lines += [line for fact in facts for line in indented(fact, width)]
    return lines + receipt(measures(law, beside, names, complete), width, " ").split("\n")


def indented(fact: str, width: int | None) -> list[str]:
    """A line, wrapped if there is a width; characters of two columns make room for themselves."""
    return [" " + fact] if width is None else wrap(" " + fact, max(24, width - (cell_len(fact) - len(fact))))


def measures(law: Law, beside: Comparison | None, names: Names, complete: bool) -> list[str]:
    """Entropy and distances, in bits. That the divergence from a law which removes something is infinite, a rest row implies."""
    if law.uncovered:
        return [f"{probability(law.uncovered)} of the law is not covered"]
    entropy = f"entropy {bits(law.entropy() / LN2, unit=True)}"
    if beside is None:
        return [entropy]
    far = beside.total_variation
    parts = [entropy + (f" ({names.other} {bits(beside.entropy / LN2)})" if beside.entropy is not None else "")]
    parts += [f"total variation {probability(far if far > NEAR else 0)}", divergence(names.law, names.other, beside.kl)]
    back = beside.reverse_kl
    return parts + ([divergence(names.other, names.law, back)] if back is not None and (complete or back < math.inf) else [])


def divergence(of: str, from_: str, nats: float) -> str:
    return f"KL({of}‖{from_}) {bits(nats / LN2, unit=True)}"


def removed(beside: Comparison) -> str:
    """The outcomes that only the other law says, behind a row that says what else is left out."""
    return f"all other {noun(beside.law)}s" if beside.removed is None else many(beside.removed, noun(beside.law))


def gone(beside: Comparison, names: Names) -> str:
    """A sentence about them, where nothing else is left out."""
    what = f"all other {noun(beside.law)}s" if beside.removed is None else many(beside.removed, f"other {noun(beside.law)}")
    have = "has" if beside.removed == 1 else "have"
    return f"{what} of {names.whole} {have} probability 0 under the {names.law} ({probability(beside.rest)} of {names.mass})"


def texts(law: Law, outcomes: Sequence[Any]) -> list[str]:
    """Outcomes for people; texts that look alike have bars between their tokens."""
    shown = [visible(law.text(outcome)) or "(empty)" for outcome in outcomes]
    alike = {text for text, count in Counter(shown).items() if count > 1}
    if law.vocabulary is None or not alike:
        return shown
    token = law.vocabulary.show
    return [
        visible("|".join(map(token, outcome.tokens))) + (f" ({outcome.finish_reason})" if outcome.failed else "")
        if text in alike and isinstance(outcome, Outcome)
        else text
        for text, outcome in zip(shown, outcomes, strict=True)
    ]


def noun(law: Law) -> str:
    return "text" if all(isinstance(outcome, Outcome) for outcome in law.outcomes) else "outcome"


def rest(law: Law, top: int) -> float:
    """The mass of all outcomes but the first `top`."""
    return math.fsum(map(float, law.probs[top:]))


def many(count: int, word: str) -> str:
    """`1 text`, `6 561 texts`."""
    return f"{told(count)} {word}{'' if count == 1 else 's'}"
