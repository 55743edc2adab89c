"""The head of a row: the tokens that a server shows, and what can be known of a recipe's law from them.

Known are the log-probabilities of K tokens under the model, the mass m = 1 - sum p of all others together, and a ceiling that none
of the others exceeds (the K-th largest shown). How many others there are is not known.

A stage that cuts inside the head makes the row whole: whatever the others were, they are gone, and every later stage works on
what is left as it would on the full row. Until then the stages below say what they do to the ceiling and to the mass of the others,
as an interval that is certain; all other stages refuse by name. Nothing is guessed: where the interval does not decide what
stays, the row is refused too. Ties at a cut aside, as in `Verdict`: which of two equal tokens stays is the server's order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import SLACK, upper_set
from ..core.context import Context, History
from ..core.errors import Inexact
from ..core.method import Stage, Transform
from ..core.parameter import Item, parameters
from ..core.tempering import tempered
from ..methods import claims_of
from ..recipe import Recipe

DELTA = SLACK["float64"]
NOTHING = 2.0**-40
"""Mass below which no token is missing."""

ROUNDING = 2.0**-45
"""How far the sum of what is shown may be off."""

CHOOSERS = ("categorical", "greedy", "gumbel_max")
PENALTIES = ("frequency_penalty", "presence_penalty")
GREEDY = ("greedy", "temperature")
"""What leaves one token; no other temperature cuts."""

FIRST = "a cut first, such as top_k=20 or min_p=0.1"
NARROWER = "a cut that keeps less"
SETS = ("logit_bias", "ban_tokens", "allow_tokens")


@dataclass(frozen=True)
class Head:
    """What is known of a row.

    log_probs  [K] nats under the model, in any order
    missing    the mass of all other tokens
    ceiling    log-probability that no other token exceeds
    """

    log_probs: NDArray[np.float64]
    missing: float
    ceiling: float

    @classmethod
    def of(cls, log_probs: Sequence[float] | NDArray[np.float64], asked: int) -> Head:
        """From what was shown when the `asked` most likely tokens were asked for. If fewer came, only the missing mass bounds the others."""
        shown = np.asarray(log_probs, dtype=np.float64)
        missing = 1 - math.fsum(np.exp(shown))
        if missing <= NOTHING:
            return cls(shown, 0.0, -math.inf)
        last = float(np.sort(shown)[-asked]) if len(shown) >= asked else 0.0
        return cls(shown, missing, min(last, math.log(missing)))


def nowhere(item: Item) -> int | None:
    """No token has a name."""
    return None


@dataclass(frozen=True)
class Look:
    """What stages may look at besides the row: the history in columns of the row, and where a token stands.

    spare   columns after the K shown tokens, for tokens of the history that the server does not show now
    find    the column of a token given as text, as id or as `end`; None if it is not shown
    prompt  whether the tokens of the prompt are known
    """

    history: History = field(default_factory=History)
    spare: int = 0
    find: Callable[[Item], int | None] = nowhere
    prompt: bool = True

    @property
    def context(self) -> Context:
        return Context([self.history])


@dataclass(frozen=True)
class Row:
    """A row on its way through the stages: logits z [1, W] of the shown tokens, and three logarithms about all others.

    On this scale the weight of a token is exp z; at the start that is its probability. `cap` bounds the logit of every other token; the sum of
    their weights is between exp low and exp high. A cap of -inf says that there are none.
    """

    z: NDArray[np.float64]
    cap: float
    low: float
    high: float

    @property
    def whole(self) -> bool:
        return self.cap == -math.inf

    @property
    def known(self) -> float:
        """The logarithm of the weight of all shown tokens."""
        return float(np.logaddexp.reduce(self.z[0]))

    def cut(self, z: NDArray[np.float64]) -> Row:
        """The row with these logits and no other token."""
        return Row(z, -math.inf, -math.inf, -math.inf)


def log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def refusal(stage: Stage | Recipe, why: str, fix: str = "") -> Inexact:
    """`fix` is what helps besides having the server draw."""
    name = stage.name if isinstance(stage, Stage) else str(stage) if stage.transforms else "the model as it is"
    return Inexact(f"{name} {why}", fix=f'{fix}; or draws="server"' if fix else 'draws="server"')


def undecided(stage: Stage, row: Row) -> Inexact:
    count = int(np.isfinite(row.z).sum())
    return refusal(stage, f"cuts among tokens that this server does not show: it shows {count}", "" if stage.name in (*GREEDY, "top_k") else NARROWER)


def needs_all(stage: Stage, shown: int) -> Inexact:
    fix = FIRST if isinstance(stage, Transform) else f"{', '.join(CHOOSERS[:-1])} or {CHOOSERS[-1]}"
    return refusal(stage, f"needs the whole row, and this server shows {shown} tokens of it", fix)


def check(recipe: Recipe, shown: int, prompt: bool) -> None:
    """Raises `Inexact` for a recipe of which it is plain without any row that `shown` tokens do not suffice.

    prompt  whether the tokens of the prompt are known
    """
    cut = False
    for stage in recipe.transforms:
        if stage.neutral(1).all():
            continue
        check_known(stage, prompt)
        if not cut and stage.name not in RULES:
            raise needs_all(stage, shown)
        first = next(iter(vars(stage).values()), None)
        if stage.name == "top_k" and not cut and isinstance(first, int) and first > shown:
            raise refusal(stage, f"keeps {first} tokens, and this server shows {shown}", f"top_k={shown}")
        cut = cut or stage.name in CUTS or (stage.name == "temperature" and (stage.scheduled != () or first == 0))
    if recipe.chooser.name not in CHOOSERS:
        raise needs_all(recipe.chooser, shown)


def check_known(stage: Stage, prompt: bool) -> None:
    """Raises `Inexact` for a stage that looks at what no server shows, whatever was cut before it."""
    claims = claims_of(stage)
    if stage.name in SETS:
        return
    if "shift" not in claims:
        raise refusal(stage, "depends on the logits as they are, and a server shows log-probabilities")
    if "relabel" not in claims:
        raise refusal(stage, "depends on how the tokens are numbered, and the rows here have numbers of their own")
    if any(p.kind in (list, dict) and getattr(stage, p.name) for p in parameters(stage)):
        raise refusal(stage, "names tokens of the vocabulary, which a server does not show")
    if not prompt and "history" not in claims and getattr(stage, "scope", "all") != "generated":
        raise refusal(stage, "looks at the tokens of the prompt, which this server does not show")


def walk(head: Head, recipe: Recipe, look: Look) -> tuple[Row, list[Transform]]:
    """The row after the first stages, up to the one that makes it whole, and the stages after that. Raises `Inexact`."""
    size = len(head.log_probs)
    z = np.concatenate([head.log_probs, np.full(max(1, look.spare), -np.inf)])[None, :]
    row = Row(z, head.ceiling, log(head.missing - ROUNDING), log(head.missing + ROUNDING))
    written = [stage for stage in recipe.transforms if not stage.neutral(1).all()]
    for stage in written:
        check_known(stage, look.prompt)
    if recipe.chooser.name not in CHOOSERS:
        raise needs_all(recipe.chooser, size)
    stages = [translated(stage, look.find, size) for stage in written]
    for at, (stage, unseen) in enumerate(stages):
        if row.whole:
            return row, [each for each, _ in stages[at:]]
        stage = stage.settled(row.z, look.context)
        if stage.name not in RULES:
            raise needs_all(stage, size)
        with np.errstate(all="ignore"):
            row = RULES[stage.name](row, stage, look, unseen)
        if not row.whole and row.known == -math.inf:
            raise refusal(stage, "leaves none of the tokens that this server shows")
    if not row.whole and recipe.chooser.name == "greedy":
        row = first_only(row, recipe.chooser)
    return row, []


def cut(head: Head, recipe: Recipe, look: Look) -> tuple[NDArray[np.float64], Recipe]:
    """Logits [W] and a recipe that have the law of `recipe` exactly. Raises `Inexact` if what is shown does not decide it."""
    row, rest = walk(head, recipe, look)
    if not row.whole:
        raise refusal(recipe, f"leaves tokens that this server does not show, of mass {head.missing:.3g} under the model", FIRST)
    return row.z[0], Recipe([*rest, recipe.chooser])


def bounds(head: Head, recipe: Recipe | str, look: Look | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the largest probability [K] that each shown token can have under the recipe; equal where its law is known.

    Raises `Inexact` where a stage needs the whole row, or where it is not decided which tokens it drops.
    """
    recipe, look = Recipe(recipe), look or Look()
    row, rest = walk(head, recipe, look)
    size, history = len(head.log_probs), look.history
    if row.whole:
        found = Recipe([*rest, recipe.chooser]).distribution(row.z[0], history.prompt, history.generated)
        exact = np.exp(found.log_probs[:size])
        return exact, exact
    z = row.z[0, :size]
    return np.exp(z - np.logaddexp(row.known, row.high)), np.exp(z - np.logaddexp(row.known, row.low))


def translated(stage: Transform, find: Callable[[Item], int | None], nothing: int) -> tuple[Transform, list[float]]:
    """A stage that names tokens, with columns of the row instead, and its value for each token that is not shown (1 in a set).

    nothing  a column that no token has
    """
    if stage.name not in SETS:
        return stage, []
    named: Any = stage
    given = named.map if stage.name == "logit_bias" else [(token, 1.0) for token in named.tokens]
    placed = [(find(token), value) for token, value in given]
    columns = [(at, value) for at, value in placed if at is not None] or [(nothing, 1.0)]
    changed: Any = {"map": columns} if stage.name == "logit_bias" else {"tokens": [at for at, _ in columns]}
    return dataclasses.replace(named, **changed), [value for at, value in placed if at is None]


def number(value: Any) -> float:
    """A parameter of one row, which a schedule has made an array."""
    return float(np.reshape(value, -1)[0])


def temper(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    if number(stage.T) == 0:
        return first_only(row, stage)
    T = min(max(number(stage.T), 1e-37), 1e30)  # as the stage itself
    z = tempered(np.append(row.z, [[row.cap]], axis=1), stage.T)  # the cap with the rest, so that a tie with it stays one
    return Row(z[:, :-1], float(z[0, -1]), *powers(row, 1 / T))


def powers(row: Row, b: float) -> tuple[float, float]:
    """Logarithms of bounds of the sum of w^b, over weights w of at most exp cap that add to something from exp low to exp high.

    The sum is extreme where the weights are as unequal as they can be: as many as fit at the cap, and one with the rest. For b >= 1 that is the
    most, and many tiny weights have a sum near 0; for b < 1 it is the least, and there is no most.
    """

    def unequal(mass: float) -> float:
        ratio = mass - row.cap
        if ratio == -math.inf:
            return -math.inf
        if ratio > 50:
            return b * row.cap + ratio
        full, part = divmod(math.exp(ratio), 1.0)
        return b * row.cap + log(full + part**b)

    if b >= 1:
        return -math.inf, math.inf if row.high == math.inf else unequal(row.high) + ROUNDING
    return unequal(row.low) - ROUNDING, math.inf


def first_only(row: Row, stage: Stage) -> Row:
    """The most likely token alone."""
    at = int(np.argmax(row.z))
    if not row.z[0, at] >= row.cap:
        raise undecided(stage, row)
    z = np.full_like(row.z, -np.inf)
    z[0, at] = row.z[0, at]
    return row.cut(z)


def top_k(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    k = int(number(stage.k))
    ranked = np.sort(row.z[0][np.isfinite(row.z[0])])[::-1]
    if k > len(ranked):
        raise refusal(stage, f"keeps {k} tokens, and this server shows {len(ranked)} that are possible", NARROWER)
    if not ranked[k - 1] >= row.cap:
        raise undecided(stage, row)
    return row.cut(stage(row.z))


def top_p(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    p, ranked = number(stage.p), np.sort(row.z[0])[::-1]
    mass = np.cumsum(np.exp(ranked - ranked[0]))
    totals = [float(mass[-1] + np.exp(others - ranked[0])) for others in (row.low, row.high)]
    counts = [int((mass < p * total * (1 - DELTA)).sum()) + 1 for total in totals]
    certain = int((ranked >= row.cap).sum())
    if counts[1] > certain:
        held = float(mass[certain - 1]) / totals[1] if certain else 0.0
        raise refusal(stage, f"needs tokens of mass {p:.6g}, and those that this server shows may hold {held:.3g}", NARROWER)
    if counts[0] != counts[1]:
        raise undecided(stage, row)
    return row.cut(np.where(upper_set(row.z, np.array([[counts[0]]])), row.z, -np.inf))


def min_p(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    top = float(row.z.max())
    if not (top >= row.cap and row.cap < top + math.log(number(stage.a)) - DELTA):
        raise undecided(stage, row)
    return row.cut(stage(row.z))


def bias(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    """A bias of a token that is not shown moves at most what such a token can weigh."""
    up = math.fsum(math.expm1(min(value, 700.0)) for value in unseen if value > 0)
    high = float(np.logaddexp(row.high, row.cap + log(up)))
    return Row(stage(row.z), row.cap + max([0.0, *unseen]), without(row, sum(value < 0 for value in unseen)), high)


def ban(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    return Row(stage(row.z), row.cap, without(row, len(unseen)), row.high)


def without(row: Row, count: int) -> float:
    """The logarithm of the least weight of the others after so many of them have lost theirs."""
    return row.low + log(1 - count * math.exp(min(row.cap - row.low, 700.0))) if row.low > -math.inf and count else row.low


def allow(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    z = stage(row.z)
    return Row(z, row.cap, -math.inf, min(row.high, row.cap + math.log(len(unseen)))) if unseen else row.cut(z)


def penalise(row: Row, stage: Any, look: Look, unseen: Sequence[float]) -> Row:
    if number(stage.a) < 0:
        raise refusal(stage, "with a negative value may lift tokens that this server does not show")
    return Row(stage(row.z, look.context), row.cap, without(row, look.spare), row.high)


RULES: dict[str, Callable[[Row, Any, Look, Sequence[float]], Row]] = {
    "temperature": temper,
    "top_k": top_k,
    "top_p": top_p,
    "min_p": min_p,
    "logit_bias": bias,
    "ban_tokens": ban,
    "allow_tokens": allow,
    **dict.fromkeys(PENALTIES, penalise),
}
"""What a stage does to a row that is not whole. `unseen` is its value for each token that it names and that is not shown."""

CUTS = ("top_k", "top_p", "min_p", "allow_tokens")
"""Stages that may make a row whole."""
