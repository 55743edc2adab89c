"""What a method is: a frozen dataclass of parameters with one rule.

`Transform` maps logits to logits, `Chooser` draws a token. A method's file adds `CLAIMS`, words from `claims`, each a
law that the conformance tests check, and `CASES`, small rows worked out by hand. The base does what all
methods share, so that no file can get it wrong: parameters are checked when the stage is made; a row whose
parameter is neutral, or whose vocabulary is one token (a constraint may ban that too), comes back bit for bit; other rows go to `apply`.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, as_logits, keep, like, log_softmax, namespace, take_rows, to_numpy
from .context import Context, History
from .errors import OutOfRange, UlamError, UsageError
from .noise import Address, Noise, Purpose
from .parameter import Parameter, parameters
from .schedule import Schedule
from .values import Word, print_value
from .vocabulary import Vocabulary

S = TypeVar("S", bound="Stage")


def snake(name: str) -> str:
    """`TopNSigma` to `top_n_sigma`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Stage:
    """One item of a recipe. `name` is what the user types: the class name in lower case with underscores."""

    name: ClassVar[str]
    kind: ClassVar[str]
    together: ClassVar[dict[str, Any]] = {}
    """Values, by parameter, at which the stage is the identity if all have them: for a method where no parameter is neutral alone."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = snake(cls.__name__)

    def __post_init__(self) -> None:
        for each in parameters(self):
            object.__setattr__(self, each.name, each.check(getattr(self, each.name), self.name))

    def written(self) -> list[tuple[Parameter, Any]]:
        """The parameters that are not at their default, with their values."""
        values = [(p, getattr(self, p.name)) for p in parameters(self)]
        return [(p, value) for p, value in values if p.required or isinstance(value, np.ndarray) or value != p.default]

    def __str__(self) -> str:
        """The stage as recipe text, defaults left out."""
        shown = [(p, printed(p, value)) for p, value in self.written()]
        if not shown:
            return self.name
        if len(shown) == 1 and shown[0][0].first:
            return f"{self.name}={shown[0][1]}"
        return f"{self.name}({', '.join(text if p.required else f'{p.name}={text}' for p, text in shown)})"

    def bind(self: S, vocabulary: Vocabulary) -> S:
        """The same stage with tokens and sequences given as text turned into ids. Raises `NeedsTokenizer`, `TokenOutOfRange`."""
        found: dict[str, Any] = {}
        for p in parameters(self):
            value = getattr(self, p.name)
            try:
                if p.kind is dict:
                    found[p.name] = [(ids_of(p.items, key, vocabulary), number) for key, number in value]
                elif p.kind is list and p.items != "text":
                    found[p.name] = [ids_of(p.items, each, vocabulary) for each in value]
            except UlamError as error:
                error.stage, error.parameter = self.name, p.name
                raise
        return cast(S, dataclasses.replace(cast(Any, self), **found)) if found else self

    def init(self, history: History) -> Any:
        """What the stage carries for one row whose tokens so far are `history`; None for a stage that carries nothing.

        What is a function of the history alone is only a cache: made anew from a longer history it has the same bits.
        """
        return None

    def advance(self, state: Any, token: int, z: Array) -> Any:
        """The state after one more generated token. Consumes `state`: it may be changed and returned.

        z is the row [V], nats, from which the stage's recipe chose the token: what entered the chooser.
        """
        return state

    def fork(self, state: Any) -> Any:
        """A copy of a state, so that the two can go on in different ways."""
        return copy.deepcopy(state)

    def row(self: S, b: int) -> S:
        """The stage of one row of a stack: parameters that are arrays are its numbers."""
        arrays = {p.name: getattr(self, p.name)[b].item() for p in parameters(self) if isinstance(getattr(self, p.name), np.ndarray)}
        return unchecked(self, arrays) if arrays else self

    @property
    def scheduled(self) -> tuple[Parameter, ...]:
        """The parameters that are not the same at every position."""
        return tuple(p for p in parameters(self) if isinstance(getattr(self, p.name), Schedule))

    def settled(self: S, z: Array, context: Context) -> S:
        """The stage with the numbers that its schedules have in these rows."""
        found: dict[str, Any] = {}
        for p in self.scheduled:
            values = getattr(self, p.name).of_rows(z, context)
            found[p.name] = np.rint(values).astype(np.int64) if p.kind is int else values
        return unchecked(self, found) if found else self

    def neutral(self, rows: int) -> NDArray[np.bool_]:
        """Which of `rows` rows this stage leaves as they are, by its parameters alone."""
        out = np.zeros(rows, bool)
        for p in parameters(self):
            if p.neutral is not MISSING:
                value = getattr(self, p.name)
                out |= value == p.neutral if isinstance(value, (int, float, np.ndarray)) else value == p.check(p.neutral, self.name)
        if self.together:
            out |= np.all([np.broadcast_to(getattr(self, name) == value, rows) for name, value in self.together.items()], axis=0)
        return out

    def take(self: S, rows: NDArray[np.int64]) -> S:
        """The stage for some rows: parameters that are arrays keep those rows."""
        arrays = {p.name: getattr(self, p.name)[rows] for p in parameters(self) if isinstance(getattr(self, p.name), np.ndarray)}
        return unchecked(self, arrays) if arrays else self


def ids_of(items: str, value: Any, vocabulary: Vocabulary) -> int | tuple[int, ...]:
    """A token or a sequence as ids of a vocabulary."""
    if items == "token":
        return vocabulary.resolve(value)
    return tuple(vocabulary.encode(value)) if isinstance(value, str) else tuple(map(vocabulary.check, value))


def printed(p: Parameter, value: Any) -> str:
    """A parameter's value as recipe text; pairs are a map again, words have no quotes. Numbers of many rows, which no recipe has, are a list."""
    if p.kind is dict:
        return print_value(dict(value))
    if isinstance(value, np.ndarray):
        return print_value(value.tolist())
    return print_value(Word(value) if isinstance(value, str) else value)


def unchecked(stage: S, changes: dict[str, Any]) -> S:
    """A copy with some fields changed, their values known to be right."""
    copy = object.__new__(type(stage))
    copy.__dict__.update(stage.__dict__)
    copy.__dict__.update(changes)
    return copy


class Transform(Stage):
    """Logits to logits. Write `apply`; call the stage.

    A stage that leaves it to chance whether it acts names the purpose of its coin, `coin`, and the probability that it acts,
    `chance`. `apply` is then what it does when it acts, with no draw in it: the recipe tosses the coin, one a row and position.
    """

    kind = "transform"
    coin: ClassVar[Purpose | None] = None

    def chance(self, rows: int) -> NDArray[np.float64]:
        """The probability [B] that the stage acts."""
        return np.ones(rows)

    def __call__(self, logits: Array, context: Context | None = None) -> Array:
        """Logits [B, V], nats, to logits [B, V] of the same type (half precision becomes float32); nothing is written to."""
        z = as_logits(logits)
        context = context or Context()
        if z.ndim != 2:
            raise UsageError(f"{self.name}: logits have shape {list(z.shape)}; a stage takes rows [B, V]", stage=self.name, fix="logits[None, :]")
        rows, width = z.shape
        if self.scheduled:
            return self.settled(z, context)(z, context)
        if context.rows and len(context.rows) != rows:
            raise UsageError(f"{self.name}: {rows} rows of logits and {len(context.rows)} histories", stage=self.name, fix="one history a row, or none at all")
        for p in parameters(self):
            value: Any = getattr(self, p.name)
            numbers = len(cast(Any, value)) if isinstance(value, np.ndarray) else rows
            if numbers != rows:
                what = f"{p.at(self.name)} has {numbers} numbers for {rows} rows of logits"
                raise UsageError(what, stage=self.name, parameter=p.name, fix="a number, or an array [B] of one a row")
        active = ~self.neutral(rows)
        if (width == 1 and self.kind == "transform") or not active.any():
            return z
        with np.errstate(all="ignore"):  # overflow has its right limit, and a failing row fails alone, by a check and not by a warning
            if active.all():
                return self.apply(z, context)
            index = np.flatnonzero(active)
            changed = self.take(index).apply(take_rows(z, index), context.select(index) if context.rows else context)
        places = np.zeros(rows, np.int64)
        places[index] = np.arange(len(index))
        xp = namespace(z)
        return xp.where(like(z, active, xp.bool)[:, None], take_rows(changed, places), z)

    def apply(self, z: Array, context: Context) -> Array:
        """The rule, for rows of float32 or float64 with a finite entry and a parameter that is not neutral; V >= 2 but for a constraint."""
        raise NotImplementedError(f"{self.name} has no rule")  # abstract


class Constraint(Transform):
    """A transform that only says which tokens are allowed. Write `allowed`. It may leave none: such a row is `EmptySupport`."""

    kind = "constraint"

    def allowed(self, z: Array, context: Context) -> Array:
        """Mask [B, V], or [1, V] for all rows, of the tokens that may come; the logits `z` lend it their shape, their library and nothing else."""
        raise NotImplementedError(f"{self.name} has no rule")  # abstract

    def apply(self, z: Array, context: Context) -> Array:
        return keep(z, self.allowed(z, context))


class Chooser(Stage):
    """A distribution and noise to a token. Write `choose`, and `law` if it does not draw from the row as it is.

    What a chooser carries from draw to draw is in `context.state(self, b)`, and goes on by `advance`. `feedback` says that it depends
    on the rows it drew from, and not on the history alone; `keyed`, that `law` is an average over its keys, and the draws of one key have
    another. No parameter of a chooser is a schedule.
    """

    kind = "chooser"
    feedback: ClassVar[bool] = False
    keyed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for p in self.scheduled:
            what = f"{p.at(self.name)}={getattr(self, p.name)} is a schedule, and a chooser has the same numbers at every position"
            raise OutOfRange(what, stage=self.name, parameter=p.name)

    def law(self, z: Array, context: Context) -> Array:
        """Log-probabilities [B, V] of the token that `choose` returns; for a keyed watermark, on average over its keys."""
        return log_softmax(z)

    def choose(self, z: Array, noise: Noise, address: Address, context: Context) -> NDArray[np.int64]:
        """Token ids [B] for logits [B, V]."""
        raise NotImplementedError(f"{self.name} has no rule")  # abstract


def stack(stages: Sequence[S]) -> S:
    """One stage for many rows: the same method with numeric parameters as arrays [B]. `stack_key` must agree."""
    first = stages[0]
    if all(stage == first for stage in stages):
        return first
    return unchecked(first, {p.name: np.asarray([getattr(s, p.name) for s in stages]) for p in parameters(first) if stackable(p, getattr(first, p.name))})


def stackable(p: Parameter, value: Any) -> bool:
    return not p.scalar and not isinstance(value, (str, Schedule))


def stack_key(stage: Stage) -> tuple[Any, ...]:
    """What two stages must share to be stacked: the method, and every value that is not a number."""
    return (type(stage), *((p.name, getattr(stage, p.name)) for p in parameters(stage) if not stackable(p, getattr(stage, p.name))))


def host(z: Array) -> NDArray[np.float64]:
    """Logits as NumPy float64, where draws are made."""
    return to_numpy(z).astype(np.float64)
