"""Exact mode: the whole output law of a procedure, of a model under a recipe, or of a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import fsum
from typing import Any, TypeAlias, cast

from ..core.errors import BudgetExceeded, NotDeterministic, OutOfRange, UsageError
from ..core.noise import Noise
from ..core.vocabulary import Vocabulary
from ..decode import Sample, Samples, sample
from ..decode.recipe_model import RecipeModel
from ..decode.request import Prompt, listed, read_count, read_prompts, read_stop
from ..models.cached import CachedModel
from ..models.protocol import LanguageModel, refuse_engine
from ..recipe import Recipe
from .enumerate import EnumeratingNoise
from .laws import Law, Outcome, rounding, total
from .path import REPEAT, Limits, Path
from .size import check_size, too_many
from .texts import text_log_probs
from .walk import leaves

Procedure: TypeAlias = Callable[[Noise], Any]
"""A noise to a result, and a function of the noise alone."""

Run: TypeAlias = Callable[[Noise, int], Sequence[Any]]
"""A noise and a number to so many results, independent of each other: sequence number i of the noise is result i alone."""

Count: TypeAlias = Callable[[Any], Hashable]
"""A result to the outcome that is counted."""

Watch: TypeAlias = Callable[[int, float], None]
"""Hears of every path: how many there have been, and the mass they cover, from 0 to 1."""

CHECKS = 16
"""The first path is run so many times more, and those at powers of two once more: what comes from outside the noise shows."""

WIDTH = 64
"""Paths that a model's samples follow together, at most."""

UNKNOWN = object()
"""The outcome of a path that was given up."""


def law(
    subject: Procedure | LanguageModel,
    recipe: str | Recipe | None = None,
    prompt: Prompt = "",
    max_tokens: int | None = None,
    *,
    stop: str | Sequence[str] = (),
    of: Count | None = None,
    max_paths: int = 1_000_000,
    max_depth: int = 10_000,
    max_outcomes: int | None = None,
    partial: bool = False,
    watch: Watch | None = None,
) -> Law:
    """The exact law of what a procedure returns, by running it once for every way its random choices can fall.

    subject       `law(procedure)`: a function of a noise that draws from it alone, such as
                  `lambda noise: ulam.sample(model, prompt, recipe, n=2, noise=noise)`. Every choice has an address: a second
                  run of `sample` takes another `sequence=`, a coin is `noise.bernoulli(0.3, Address(0, 0, Purpose.accept))` with
                  the names of `ulam.core.noise`.
                  `law(model, recipe, prompt, max_tokens, stop=...)`: that procedure for one sample; it is the library's own
                  loop that is enumerated.
                  `law(model, None, prompt, max_tokens)`: the model's texts by walking its tree, with no algorithm; in
                  fractions if the model is a table of fractions
    max_tokens    most tokens of a text (3)
    of            result to the outcome that is counted. Without it a sample is counted as `Outcome(tokens, finish_reason)`,
                  several samples as the tuple of theirs, and anything else as itself
    max_paths     the most ways that are tried (1 000 000); a recipe that has more is refused before the first
    max_depth     the most random choices on one way (10 000); `max_outcomes`: the most outcomes of one choice. The walk of
                  `law(model, None, ...)` makes no choices: it is bounded by max_tokens and max_paths
    partial       over budget, return what there is, with `law.uncovered` > 0
    watch         called with (paths, mass covered) after every path

    The logits of `law(model, ...)` are remembered, so every prefix is computed once; a procedure remembers what it is written
    to: `model = CachedModel(model)`. There is no limit of time: whether a law is available does not depend on the machine.
    Raises `BudgetExceeded` (how many paths it takes, and which length fits), `NotEnumerable` for a procedure that reads a number
    from a continuum, `NotDeterministic` for one that does not repeat itself, `AddressReused`.
    """
    for name, value in (("max_paths", max_paths), ("max_depth", max_depth), ("max_outcomes", 1 if max_outcomes is None else max_outcomes)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OutOfRange(f"{name}={value} allows nothing", parameter=name, fix=f"{name}=1000000")
    limits = Limits(max_depth, max_outcomes)
    if not hasattr(subject, "prefill"):
        if not callable(subject):
            refuse_engine(subject)
            drawn = "ulam.law(lambda noise: ulam.sample(model, prompt, recipe, noise=noise))"
            loaded = f"ulam.law(ulam.load({subject!r}), recipe)" if isinstance(subject, str) else drawn
            raise UsageError(f"{subject!r} is neither a procedure nor a model", fix=loaded)
        if recipe is not None or max_tokens is not None or any(not isinstance(given, (str, tuple)) or given for given in (prompt, stop)):
            raise UsageError("a procedure brings its own recipe, prompt and length", fix="ulam.law(procedure), or ulam.law(model, recipe, prompt, max_tokens)")
        procedure = subject
        return enumerated(lambda noise, n: [procedure(noise)], of or counted, limits, max_paths, partial, watch)
    model = remembering(cast(LanguageModel, subject))
    given = prompt if isinstance(prompt, str) else listed(prompt, "the prompt", 'a text, or a list of token ids: "Once", [3, 17, 4]')
    _, prompts = read_prompts(model, given if len(given) else [given])
    if len(prompts) != 1:
        what = f"a law is of one prompt, and there are {len(prompts)}"
        raise UsageError(what, fix="a procedure: ulam.law(lambda noise: ulam.sample(model, prompts, recipe, noise=noise))")
    length = 3 if max_tokens is None else read_count(max_tokens, "max_tokens", 0)
    chosen = Recipe("" if recipe is None else recipe)
    hidden = chosen.chooser.feedback and any(stage.coin is not None for stage in chosen.transforms)
    if not partial and not hidden:  # what follows a text is then not told by the text, and only walking counts
        check_size(model if isinstance(model, RecipeModel) and recipe is None else RecipeModel(model, chosen), prompts[0], length, max_paths, read_stop(stop))
    if recipe is None:
        if stop:
            raise UsageError("stop strings end a text that is drawn, and a model's own law is not drawn", fix='an empty recipe: ulam.law(model, "", ...)')
        return walked(model, prompts[0], length, of or (lambda leaf: leaf), max_paths, partial, watch)

    def rows(noise: Noise, n: int) -> Sequence[Sample]:
        return sample(model, [prompts[0]], chosen, n=n, max_tokens=length, stop=stop, noise=noise)

    beside = (lambda outcomes: text_log_probs(model, prompts[0], outcomes)) if of is None else None
    return enumerated(rows, of or counted, limits, max_paths, partial, watch, width=together(model, length), vocabulary=model.vocabulary, beside=beside)


def remembering(model: LanguageModel) -> LanguageModel:
    """The model with its logits remembered: under a recipe, if it has one, since what a recipe says depends on what was generated."""
    if isinstance(model, RecipeModel):
        return RecipeModel(remembering(model.model), model.recipe)
    return model if isinstance(model, CachedModel) else CachedModel(model)


def together(model: LanguageModel, length: int) -> int:
    """How many paths of texts of a length are followed at once: no more than have all their prefixes remembered from one run to the next."""
    while isinstance(model, RecipeModel):
        model = model.model
    return max(1, min(WIDTH, cast(CachedModel, model).max_entries // (2 * length + 2)))


def enumerated(
    run: Run,
    of: Count,
    limits: Limits,
    max_paths: int,
    partial: bool,
    watch: Watch | None,
    width: int = 1,
    vocabulary: Vocabulary | None = None,
    beside: Callable[[Iterable[Any]], Mapping[Any, float]] | None = None,
) -> Law:
    """The law of what `run(noise, n)` returns n independent rows of, at most `width` paths at a time.

    `beside` tells the model's log-probabilities of the outcomes.
    """
    masses: dict[Any, list[float]] = defaultdict(list)
    count, covered, lost = 0, 0.0, False
    paths = [Path(limits)]
    while paths and count < max_paths:
        paths, later = paths[: max_paths - count], paths[max_paths - count :]
        results = followed(run, of, paths, partial)
        for _ in range(CHECKS if count == 0 else 1 if count.bit_length() < (count + len(paths)).bit_length() else 0):
            check_same(results, followed(run, of, paths, partial))
        for path, (result, outcome) in zip(paths, results, strict=True):
            count += 1
            if outcome is UNKNOWN:
                lost = True
            else:
                masses[outcome].append(path.mass)
                covered += path.mass
            if vocabulary is None and isinstance(result, Samples):
                vocabulary = result.vocabulary
        if watch is not None:
            watch(count, min(1.0, covered))
        paths = widened([path for path in paths if path.next()] + later, width)
    if paths and not partial:
        raise too_many(count, covered, max((question for path in paths for question in path.stack), key=lambda question: len(question.outcomes)))
    return Law(
        {outcome: fsum(each) for outcome, each in masses.items()},
        uncovered=at_most(1 - fsum(mass for each in masses.values() for mass in each), count) if paths or lost else 0.0,
        paths=count,
        model_log_probs=None if beside is None else beside(masses),
        vocabulary=vocabulary,
    )


def widened(paths: list[Path], width: int) -> list[Path]:
    """Paths that share what is left among more of them, up to `width`."""
    for path in paths:  # a path that was split off is split in its turn
        if len(paths) >= width:
            break
        other = path.split()
        if other is not None:
            paths.append(other)
    return paths


def at_most(uncovered: float, paths: int) -> float:
    """The mass of what was left out, rounded up: it is not none, however small."""
    return max(uncovered, rounding(paths) / 2)


def followed(run: Run, of: Count, paths: Sequence[Path], partial: bool) -> list[tuple[Any, Hashable]]:
    """The result on every path, and the outcome it counts as. A path that is too long has none, if bounds are wanted."""
    try:
        results = run(EnumeratingNoise(paths), len(paths))
    except BudgetExceeded:
        if not partial:
            raise
        # one of several is too long: each alone tells which
        return [(None, UNKNOWN)] if len(paths) == 1 else [each for path in paths for each in followed(run, of, [path], partial)]
    for path in paths:
        path.end()
    return [(result, hashable(of(result))) for result in results]


def hashable(outcome: Hashable) -> Hashable:
    try:
        hash(outcome)
    except TypeError:
        what = f"an outcome of type {type(outcome).__name__} cannot be counted"
        raise UsageError(what, fix="of=tuple, or another function of the result that gives a value") from None
    return outcome


def check_same(results: Sequence[tuple[Any, Hashable]], again: Sequence[tuple[Any, Hashable]]) -> None:
    for (_, outcome), (_, other) in zip(results, again, strict=True):
        if other != outcome:
            raise NotDeterministic(f"the procedure gave {outcome!r}, and for the same answers of the noise {other!r}", fix=REPEAT)


def counted(result: Any) -> Any:
    """What a result counts as if nothing else is said."""
    if isinstance(result, Sample):
        return Outcome(result.tokens, result.finish_reason)
    if isinstance(result, Samples):
        return counted(result[0]) if len(result) == 1 else tuple(map(counted, result))
    return result


def walked(model: LanguageModel, prompt: tuple[int, ...], max_tokens: int, of: Count, max_paths: int, partial: bool, watch: Watch | None) -> Law:
    """The law of a model's texts, leaf by leaf."""
    masses: dict[Any, list[Any]] = defaultdict(list)
    paths, covered, left = 0, 0.0, 0.0
    for leaf, mass in leaves(model, prompt, max_tokens):
        if paths == max_paths:
            if not partial:
                raise too_many(paths, covered)
            left = at_most(1 - covered, paths)
            break
        paths, covered = paths + 1, covered + float(mass)
        masses[hashable(of(leaf))].append(mass)
        if watch is not None:
            watch(paths, min(1.0, covered))
    return Law({outcome: total(each) for outcome, each in masses.items()}, uncovered=left, paths=paths, vocabulary=model.vocabulary)
