"""Law: the exact distribution of what a procedure returns, and how far two of them are apart."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from ..core.errors import LawNotNormalised, UsageError
from ..core.vocabulary import Vocabulary
from .distances import entropy, hellinger, kl, renyi, samples_to_tell

Number: TypeAlias = float | Fraction


@dataclass(frozen=True, order=True)
class Outcome:
    """A text as a law counts it: its tokens, the end token included, and why it has no more (`stop`, `length`, `constraint`, `error`).

    Its length is the number of its tokens.
    """

    tokens: tuple[int, ...]
    finish_reason: str

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def failed(self) -> bool:
        """Whether there was no token to go on with."""
        return self.finish_reason in ("constraint", "error")


class Interval(NamedTuple):
    """A number that is not known better, because a part of the law is not covered."""

    low: float
    high: float


class Law:
    """Outcomes and their probabilities, most probable first, then by outcome.

    probs            probability by outcome: floats, or fractions, which stay exact through `map`, `given`, `marginal` and `mean`
    uncovered        probability of what was not enumerated; `prob`, `total_variation` and `mass` are then intervals, and what has
                     no useful bound is refused
    paths            how many paths it took
    model_log_probs  for the texts of a model under a recipe (no `of`): the log-probability of each under the bare model, nats
    vocabulary       of the tokens in the outcomes, to show them as text

    Everything is in nats. Raises `LawNotNormalised` unless the probabilities and `uncovered`, none of them negative, add to one,
    within 1e-12 + 2^-50 a path.
    """

    def __init__(
        self,
        probs: Mapping[Any, Number],
        *,
        uncovered: float = 0.0,
        paths: int = 1,
        model_log_probs: Mapping[Any, float] | None = None,
        vocabulary: Vocabulary | None = None,
    ):
        total = sum(probs.values()) if all(isinstance(p, Fraction) for p in probs.values()) else math.fsum(probs.values())
        if not abs(total + uncovered - 1) <= rounding(paths):
            what = f"the probabilities of {len(probs)} outcomes add to {float(total):.15g}"
            raise LawNotNormalised(what, fix="a procedure that states its probabilities as they are")
        if not min(0, uncovered, *probs.values()) >= 0:
            raise LawNotNormalised(f"a probability is {float(min(uncovered, *probs.values())):.3g}", fix="probabilities from 0 to 1")
        order = in_order(probs)
        self._probs: dict[Any, Number] = {outcome: probs[outcome] for outcome in order}
        self.uncovered, self.paths, self.model_log_probs, self.vocabulary = uncovered, paths, model_log_probs, vocabulary

    @property
    def outcomes(self) -> tuple[Any, ...]:
        return tuple(self._probs)

    @property
    def probs(self) -> tuple[Number, ...]:
        """Probabilities of `outcomes`, in their order; lower bounds if part of the law is not covered."""
        return tuple(self._probs.values())

    @property
    def exact(self) -> bool:
        """Whether the probabilities are fractions."""
        return all(isinstance(p, Fraction) for p in self._probs.values())

    def __len__(self) -> int:
        return len(self._probs)

    def __iter__(self) -> Iterator[tuple[Any, Number]]:
        return iter(self._probs.items())

    def __repr__(self) -> str:
        best = ", ".join(f"{self.text(o)!r}: {float(p):.4g}" for o, p in list(self)[:3]) + (", ..." if len(self) > 3 else "")
        known = f"{self.entropy() / math.log(2):.4g} bits" if not self.uncovered else f"{self.uncovered:.3g} not covered"
        return f"Law({len(self)} {'outcome' if len(self) == 1 else 'outcomes'}, {known}; {best})"

    def text(self, outcome: Any) -> str:
        """An outcome for people: the text of its tokens, special tokens by name; samples of one run are separated by a bar."""
        if isinstance(outcome, Outcome):
            tokens = " ".join(map(str, outcome.tokens)) if self.vocabulary is None else "".join(map(self.vocabulary.show, outcome.tokens))
            return tokens + (f" ({outcome.finish_reason})" if outcome.failed else "")
        if isinstance(outcome, tuple) and outcome and all(isinstance(each, Outcome) for each in outcome):
            return " | ".join(map(self.text, outcome))
        return str(outcome)

    # one law

    def prob(self, outcome: Any) -> Number | Interval:
        """Probability of an outcome; 0.0 for one that does not occur. Raises `UsageError` for what is no outcome of this law's kind."""
        return self._bounded(self._at(outcome, self._probs))

    def mass(self, predicate: Callable[[Any], bool]) -> Number | Interval:
        """Probability of an event: of all outcomes for which `predicate` is true."""
        return self._bounded(total(p for o, p in self if predicate(o)))

    def mode(self) -> Any:
        """The most probable outcome, the first among equals."""
        first, second = [*map(float, self.probs[:2]), 0.0, 0.0][:2]
        if self.uncovered and second + self.uncovered > first:
            raise self._partial("mode")
        return self.outcomes[0]

    def surprisal(self, outcome: Any) -> float:
        """-ln of its probability, nats."""
        return -log_of(self._at(outcome, self._known("surprisal")))

    def entropy(self) -> float:
        """Nats."""
        return entropy(self._floats("entropy"))

    def renyi(self, alpha: float) -> float:
        """Renyi entropy of order alpha >= 0, nats: 0 counts outcomes, 1 is the entropy, inf is -ln of the mode's probability."""
        return renyi(self._floats("renyi"), alpha)

    def collision_probability(self) -> Number:
        """That two independent draws agree: the sum of squares."""
        return total(p * p for p in self._known("collision_probability").values())

    def mean(self, f: Callable[[Any], Any] | None = None) -> Any:
        """Mean of f(outcome), or of the outcomes themselves."""
        value = f or number_of
        return total(p * value(o) for o, p in self._known("mean").items())

    def variance(self, f: Callable[[Any], Any] | None = None) -> Any:
        """Variance of f(outcome), or of the outcomes themselves."""
        value, middle = f or number_of, self.mean(f)
        return total(p * (value(o) - middle) ** 2 for o, p in self)

    # laws made of this one

    def map(self, f: Callable[[Any], Hashable]) -> Law:
        """The law of f(outcome)."""
        pushed: dict[Any, list[Number]] = defaultdict(list)
        for outcome, p in self:
            pushed[f(outcome)].append(p)
        return Law({o: total(ps) for o, ps in pushed.items()}, uncovered=self.uncovered, paths=self.paths, vocabulary=self.vocabulary)

    def given(self, predicate: Callable[[Any], bool]) -> Law:
        """The law conditional on an event. Raises `UsageError` if the event has probability 0."""
        kept = {o: p for o, p in self._known("given").items() if predicate(o)}
        mass = total(kept.values())
        if not mass:
            raise UsageError("no outcome of positive probability is in this event, so there is no law given it", fix="an event that some outcome is in")
        return Law({o: p / mass for o, p in kept.items()}, paths=self.paths, vocabulary=self.vocabulary)

    def marginal(self, positions: int | Sequence[int]) -> Law:
        """The law of the token at a position, or of the tuple of tokens at several; None beyond the end of an outcome."""
        if isinstance(positions, int):
            return self.map(lambda o: item(o, positions))
        return self.map(lambda o: tuple(item(o, i) for i in positions))

    def prefix(self, k: int) -> Law:
        """The law of the first k tokens."""
        return self.map(lambda o: items(o)[:k])

    # two laws

    def total_variation(self, other: Law) -> float | Interval:
        """Half the sum of absolute differences: 0 for equal laws, 1 for laws with nothing in common."""
        both = self._beside(other)
        apart = float(total(abs(p - q) for p, q in both)) / 2
        open_ = (self.uncovered + other.uncovered) / 2
        return Interval(max(0.0, apart - open_), min(1.0, apart + open_)) if open_ else min(1.0, apart)

    def kl(self, other: Law) -> float:
        """Kullback-Leibler divergence of this law from the other, sum of p ln(p/q), nats; inf where the other has 0 and this has not."""
        return kl(self._pairs(other, "kl"))

    def chi_square(self, other: Law) -> float:
        """Pearson's chi-square divergence, sum of (p - q)^2 / q; inf where the other has 0 and this has not."""
        return math.fsum((p - q) ** 2 / q if q else math.inf for p, q in self._pairs(other, "chi_square") if p or q)

    def hellinger(self, other: Law) -> float:
        """Hellinger distance, sqrt(1 - sum of sqrt(p q)), in [0, 1]."""
        return hellinger(self._pairs(other, "hellinger"))

    def samples_to_tell_from(self, other: Law, false_alarm: float = 1e-9, miss: float = 1e-6) -> float:
        """Draws that are enough to tell which of the two laws they come from, by the likelihood ratio; inf for equal laws.

        With so many, one threshold on the ratio has both error probabilities below these: each is bounded by Markov's
        inequality on the root of the ratio, BC^n apart from the threshold, BC the sum of sqrt(p q) (Bhattacharyya 1943).
        """
        return samples_to_tell(self._pairs(other, "samples_to_tell_from"), false_alarm, miss)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "outcomes": [{"text": self.text(o), **plain(o), "prob": float(p)} for o, p in self],
            "uncovered_prob": self.uncovered,
            "paths": self.paths,
        }

    def table(self, other: Law | None = None, top: int = 12) -> str:
        """The most probable outcomes with bars, beside another law if there is one; entropy and distances in bits. For a terminal."""
        from .comparison import Comparison
        from .lines import to_lines

        return "\n".join(to_lines(self, None if other is None else Comparison(self, other), top=top))

    def _repr_html_(self) -> str:
        from .page import to_html

        return to_html(self)

    # inside

    def _at(self, outcome: Any, probs: Mapping[Any, Number]) -> Number:
        """The probability of an outcome, 0.0 for an unknown one of the same type."""
        if outcome in probs:
            return probs[outcome]
        kinds = {type(each) for each in probs}
        if kinds and type(outcome) not in kinds and not (isinstance(outcome, (int, float)) and kinds & {int, float}):
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            told = "law.map(law.text).prob(...) counts texts" if Outcome in kinds else "an outcome of law.outcomes"
            raise UsageError(f"{outcome!r} is no outcome of this law, which is of {names}", fix=told)
        return 0.0

    def _partial(self, name: str) -> UsageError:
        what = f"{name} is not known: {self.uncovered:.3g} of the law is not covered"
        return UsageError(what, fix="a larger max_paths; prob, mass and total_variation have bounds")

    def _known(self, name: str) -> dict[Any, Number]:
        if self.uncovered:
            raise self._partial(name)
        return self._probs

    def _floats(self, name: str) -> list[float]:
        return [float(p) for p in self._known(name).values()]

    def _bounded(self, p: Number) -> Number | Interval:
        return Interval(float(p), min(1.0, float(p) + self.uncovered)) if self.uncovered else p

    def _beside(self, other: Law) -> list[tuple[Number, Number]]:
        """Both probabilities of every outcome of either. Raises `UsageError` if the laws are of different things."""
        if not isinstance(other, Law):
            raise UsageError(f"{other!r} is no law", fix="ulam.law(...)")
        kinds = [{type(o) for o in law.outcomes} for law in (self, other)]
        if all(kinds) and kinds[0].isdisjoint(kinds[1]):
            names = [" and ".join(sorted(kind.__name__ for kind in each)) for each in kinds]
            raise UsageError(f"one law is of {names[0]} and the other of {names[1]}", fix="bring both to one kind of outcome: law.map(f)")
        return [(self._probs.get(o, 0), other._probs.get(o, 0)) for o in dict.fromkeys([*self._probs, *other._probs])]

    def _pairs(self, other: Law, name: str) -> list[tuple[float, float]]:
        both = self._beside(other)
        for law in (self, other):
            law._known(name)
        return [(float(p), float(q)) for p, q in both]


def rounding(paths: int) -> float:
    """How far from one the probabilities of so many paths may add."""
    return 1e-12 + 2.0**-50 * paths


def log_of(p: Number) -> float:
    """ln p, also of a fraction that is too small for a float; `-inf` for 0."""
    if not p:
        return -math.inf
    return math.log(p.numerator) - math.log(p.denominator) if isinstance(p, Fraction) else math.log(p)


def total(numbers: Any) -> Any:
    """A sum: exact for fractions, without rounding on the way for floats."""
    numbers = list(numbers)
    return math.fsum(numbers) if any(isinstance(x, float) for x in numbers) else sum(numbers)


def in_order(probs: Mapping[Any, Number]) -> list[Any]:
    """Outcomes by falling probability, equal up to rounding by outcome, or by how they are written if they cannot be compared."""
    try:
        return sorted(probs, key=lambda o: (-float(f"{float(probs[o]):.11e}"), o))
    except TypeError:
        return sorted(probs, key=lambda o: (-float(f"{float(probs[o]):.11e}"), repr(o)))


def number_of(outcome: Any) -> Any:
    if isinstance(outcome, bool) or not isinstance(outcome, (int, float, Fraction)):
        raise UsageError(f"the outcome {outcome!r} is no number", fix="a function of the outcome: law.mean(len)")
    return outcome


def items(outcome: Any) -> Any:
    """The tokens of an outcome, or the outcome if it is a sequence itself."""
    if isinstance(outcome, Outcome):
        return outcome.tokens
    if isinstance(outcome, (str, tuple)):
        return outcome
    raise UsageError(f"the outcome {outcome!r} has no positions", fix="law.map(f) first")


def item(outcome: Any, position: int) -> Any:
    sequence = items(outcome)
    return sequence[position] if -len(sequence) <= position < len(sequence) else None


def plain(outcome: Any) -> dict[str, Any]:
    return {"tokens": list(outcome.tokens), "finish_reason": outcome.finish_reason} if isinstance(outcome, Outcome) else {}
