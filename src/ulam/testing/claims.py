"""One test a claim. Each takes a subject and one probe and returns what is wrong, or None.

The words are those of `core.claims`, the statements those of the written semantics. A claim that says nothing about an
input raises `Inapplicable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any, TypeAlias

import numpy as np

from ..core.arrays import as_logits
from ..core.context import History
from ..core.method import Chooser, Stage, Transform, stack
from ..core.noise import Address, PhiloxNoise
from ..core.parameter import MISSING, parameters
from ..exact import law as law_of
from .inputs import WIDTHS, Probe, Row, companions, histories, irregular, is_wide, permutation
from .noise import Asked, RefusingNoise, ScriptedNoise
from .subject import Inapplicable, Subject, differ, extremes_of, kept, longer, probabilities, same_bits, spread, tolerance

Test: TypeAlias = Callable[[Subject, Probe], str | None]


def identity(subject: Subject, probe: Probe) -> str | None:
    stage = subject.method.stage
    neutral = [{p.name: p.neutral} for p in parameters(stage) if p.neutral is not MISSING] + ([stage.together] if stage.together else [])
    if not neutral:
        raise Inapplicable("no parameter has a neutral value")
    given = probe.row if probe.row.dtype == np.float64 else probe.row.astype(np.float32)
    for values in neutral:
        if not same_bits(subject.image(replace(probe, parameters={**probe.parameters, **values})), given):
            shown = ", ".join(f"{name}={value}" for name, value in values.items())
            return f"at the neutral value {shown} the output is not bitwise the input"
    return None


def shift(subject: Subject, probe: Probe) -> str | None:
    if np.abs(probe.row[kept(probe.row)]).max() > 1e4:
        raise Inapplicable("a constant is lost in the rounding of this row")
    image, distinct = subject.image(probe), len(np.unique(probe.row))
    for c in (1, -100, 100) if probe.row.dtype == np.float64 else (1, -4, 4):
        if len(np.unique(probe.row + probe.row.dtype.type(c))) < distinct:
            raise Inapplicable("tokens that differ little are tied once a constant is added")
        if wrong := differ(image, subject.image(probe, probe.row + probe.row.dtype.type(c)), tolerance(probe.row)):
            return f"{c} added to every logit: {wrong}"
    return None


def shrinks(subject: Subject, probe: Probe) -> str | None:
    new = np.flatnonzero(kept(subject.image(probe)) & ~kept(probe.row))
    return f"token {new[0]} was impossible and is possible now" if len(new) else None


def order(subject: Subject, probe: Probe) -> str | None:
    by_rank = np.argsort(-probe.row, kind="stable")
    before, after = probe.row[by_rank].astype(np.float64), subject.image(probe)[by_rank].astype(np.float64)
    least = np.minimum.accumulate(after)[:-1]
    most = np.maximum.accumulate(after[::-1])[::-1][1:]
    falls = before[:-1] > before[1:]
    if np.any(falls & (least < most)):
        return "a less likely token overtakes a more likely one"
    before, after = before[after > -np.inf], after[after > -np.inf]
    tied = before[:-1] == before[1:]
    return "two tied tokens are kept and tie no longer" if np.any(tied & (after[:-1] != after[1:])) else None


def argmax(subject: Subject, probe: Probe) -> str | None:
    image = subject.image(probe)
    if not kept(image).any() or np.argmax(image) != np.argmax(probe.row):
        return f"the first maximum was token {np.argmax(probe.row)} and is token {np.argmax(image)}"
    return None


def nonempty(subject: Subject, probe: Probe) -> str | None:
    return None if kept(subject.image(probe)).any() else "no token is left"


def relabel(subject: Subject, probe: Probe) -> str | None:
    if len(np.unique(probe.row)) < len(probe.row):
        raise Inapplicable("tied tokens are told apart by their ids")
    image = subject.image(probe)
    width = len(probe.row)
    for new in (np.arange(width)[::-1], permutation(width, 5)):
        if wrong := differ(image[new], subject.image(probe.renumbered(new)), tolerance(probe.row)):
            return f"with the tokens renumbered: {wrong}"
    return None


def monotone(subject: Subject, probe: Probe) -> str | None:
    images = subject.along(probe)
    if not subject.direction:
        raise Inapplicable("nothing changes along the first parameter")
    for narrow, wide in pairwise(images):
        if subject.direction < 0:
            narrow, wide = wide, narrow
        lost = np.flatnonzero(kept(narrow) & ~kept(wide))
        if len(lost):
            return f"token {lost[0]} is kept by the narrower and dropped by the wider of two neighbouring values"
        if np.array_equal(kept(narrow), kept(wide)) and spread(narrow)[1] > spread(wide)[1] + 10 * tolerance(probe.row):
            return "the entropy falls where it should rise"
    return None


def idempotent(subject: Subject, probe: Probe) -> str | None:
    once = subject.image(probe)
    if not kept(once).any():
        raise Inapplicable("no token is left")
    wrong = differ(once, subject.image(probe, once), tolerance(probe.row))
    return f"once and twice: {wrong}" if wrong else None


def batch(subject: Subject, probe: Probe) -> str | None:
    stage, width = subject.stage(probe), len(probe.row)
    mates = companions(stage, width)
    pasts = histories(width)
    every = subject.carried(stage, probe)
    for size, (past, state) in product((2, 7, 64) if width <= 64 else (2,), (*every[:1], *every[1:][-1:])):
        place = size // 2
        alone = subject.images(stage, probe.row[None, :], [past], probe.vocabulary, state)[0]
        # mates higher and lower than the row, an irregular one, and one that has failed
        rows = np.stack([np.roll(probe.row, i - place) + probe.row.dtype.type(3 * (i - place)) for i in range(size)])
        rows[place] = probe.row  # as it is: a zero that was added to would lose its sign
        rows[0] = np.nan if size == 7 else irregular(width, size).astype(rows.dtype)
        stages = [stage if i == place else mates[i % len(mates)] for i in range(size)]
        beside = [past if i == place else pasts[i % len(pasts)] for i in range(size)]
        states = [state[0] if i == place else each.init(beside[i]) for i, each in enumerate(stages)] if state else []
        together = stack(stages)
        for layout, given in layouts(rows) if size == 7 else [("contiguous", rows)]:
            if not same_bits(subject.images(together, given, beside, states=states)[place], alone):
                return f"alone and as row {place} of {size} ({layout}) the bits differ"
    if isinstance(stage, Chooser) and width < WIDTHS[-1]:
        return drawn_alone(subject, stage, probe)
    return None


def layouts(rows: Row) -> Iterator[tuple[str, Row]]:
    """The same rows, laid out in memory in different ways."""
    yield "contiguous", rows
    yield "transposed", np.asfortranarray(rows)
    apart = np.zeros((2 * rows.shape[0], 2 * rows.shape[1]), rows.dtype)[1::2, ::2]
    apart[:] = rows
    yield "strided", apart


def drawn_alone(subject: Subject, stage: Chooser, probe: Probe) -> str | None:
    """A chooser's draws: every row alone, and all together in another order."""
    size, pasts = 3 if is_wide(probe) else 7, histories(len(probe.row))
    rows = np.stack([np.roll(probe.row, i) for i in range(size)])
    sequences, positions, noise = np.arange(size) * 1000 + 3, np.array([past.position for past in pasts[:size]]), PhiloxNoise(11)
    every = subject.carried(stage, probe)
    states = [every[i % len(every)][1] for i in range(size)]

    def drawn(places: list[int]) -> list[int]:
        address = Address(sequences[places], positions[places])
        return subject.tokens(stage, rows[places], noise, address, [pasts[i] for i in places], [state for i in places for state in states[i]])

    mixed = permutation(size, 6).tolist()
    if drawn(mixed) != [drawn([i])[0] for i in mixed]:
        return "a row draws another token in a batch than alone"
    return None


def history(subject: Subject, probe: Probe) -> str | None:
    stage = subject.stage(probe)
    if isinstance(stage, Chooser):
        places = (0, 1, 7, 100)
        tokens = {subject.tokens(stage, probe.row[None, :], ScriptedNoise([0.4]), Address([9], [at]))[0] for at in places}
        return f"the same noise draws {sorted(tokens)} after {places} tokens" if len(tokens) > 1 else None
    image = subject.image(probe)
    for past in (History(), *histories(len(probe.row))):
        if not same_bits(subject.image(replace(probe, history=past)), image):
            return f"another output after prompt {list(past.prompt)}, generated {list(past.generated)}"
    return None


def fork(subject: Subject, probe: Probe) -> str | None:
    stage = subject.stage(probe)
    if stage.init(probe.history) is not None and (wrong := forked(subject, stage, probe)):
        return wrong
    if isinstance(stage, Chooser):
        return drawn_apart(subject, stage, probe)
    row, width = probe.row[None, :], len(probe.row)
    stem = list(probe.history.generated)
    left, right = (History(list(probe.history.prompt), [*stem, token]) for token in (0, width - 1))

    def run(past: History) -> Any:
        return subject.images(stage, row, [past])[0]

    first, other, again = run(left), run(right), run(left)
    fresh = subject.images(subject.stage(probe), row, [right])[0]
    if not same_bits(first, again) or not same_bits(other, fresh):
        return "one continuation changes what the other gets"
    if list(left.generated) != [*stem, 0]:
        return "the history was written to"
    return None


def forked(subject: Subject, stage: Stage, probe: Probe) -> str | None:
    """What a row carries, forked: each fork goes on by tokens of its own, in turn with the other, and is as if it had been alone."""
    row, given = probe.row[None, :], as_logits(subject.array(probe.row))

    def image(tokens: Sequence[int], state: Any) -> Row:
        return subject.images(stage, row, [longer(probe.history, tokens)], probe.vocabulary, [state])[0]

    def alone(tokens: Sequence[int]) -> Row:
        state = stage.init(probe.history)
        for token in tokens:
            state = stage.advance(state, token, given)
        return image(tokens, state)

    likely, unlikely = extremes_of(probe.row)
    stem, ways = stage.init(probe.history), ([likely, likely, unlikely], [unlikely, unlikely, unlikely])
    forks = [stage.fork(stem) for _ in ways]
    for tokens in zip(*ways, strict=True):
        forks = [stage.advance(state, token, given) for state, token in zip(forks, tokens, strict=True)]
    if not all(same_bits(image(tokens, state), alone(tokens)) for tokens, state in zip(ways, forks, strict=True)):
        return "one fork of what a row carries changes what the other gets"
    return None if same_bits(image([], stem), alone([])) else "a fork changes what it was forked from"


def drawn_apart(subject: Subject, stage: Chooser, probe: Probe) -> str | None:
    """Two texts drawn one after the other, and token by token in turn."""
    row, noise = probe.row[None, :], PhiloxNoise(12)

    def texts() -> list[History]:
        return [History(probe.history.prompt, []) for _ in range(2)]

    def go_on(past: History, text: int) -> None:
        past.generated.extend(subject.tokens(stage, row, noise, Address([text], [past.position]), [past]))  # type: ignore[attr-defined]

    in_turn, one_by_one = texts(), texts()
    for _ in range(6):
        for text, past in enumerate(in_turn):
            go_on(past, text)
    for text, past in enumerate(one_by_one):
        for _ in range(6):
            go_on(past, text)
    return None if in_turn == one_by_one else "one text changes what the other draws"


def ratios(subject: Subject, probe: Probe) -> str | None:
    if tosses(subject):
        return "the law is a mixture of two rows, and keeps the logits of neither"
    image = subject.image(probe)
    given = probe.row.astype(image.dtype)
    changed = np.flatnonzero(kept(image) & (image != given))
    return f"token {changed[0]} is kept with logit {image[changed[0]]!r} instead of {given[changed[0]]!r}" if len(changed) else None


def scale_free(subject: Subject, probe: Probe) -> str | None:
    image = subject.image(probe)
    for T in (0.1, 0.7, 1.5, 10):
        scale = image.dtype.type(T)
        if wrong := differ(image / scale, subject.image(probe, probe.row.astype(image.dtype) / scale), tolerance(probe.row)):
            return f"temperature {T} after and before: {wrong}"
    return None


def law(subject: Subject, probe: Probe) -> str | None:
    stage = subject.stage(probe)
    if not isinstance(stage, Chooser):
        raise Inapplicable("a transform draws nothing")
    drawn = law_of(lambda noise: subject.tokens(stage, probe.row[None, :], noise, Address([0], [0]))[0])
    wanted = probabilities(probe.row.astype(np.float64))
    gap = np.abs(np.array([drawn.prob(i) for i in range(len(wanted))]) - wanted)
    worst = int(np.argmax(gap))
    return f"token {worst} has probability {wanted[worst]:.12g} and is drawn with {drawn.prob(worst):.12g}" if gap[worst] > 1e-12 else None


def deterministic(subject: Subject, probe: Probe) -> str | None:
    stage = subject.stage(probe)
    if isinstance(stage, Chooser):
        try:
            subject.tokens(stage, probe.row[None, :], RefusingNoise(), Address([0], [0]))
        except Asked as asked:
            return asked.what
        return None
    if tosses(subject):
        return "it tosses a coin"
    return None if same_bits(subject.image(probe, probe.row), subject.image(probe)) else "the same input gives other bits the second time"


def tosses(subject: Subject) -> bool:
    """Whether this is a stage with a coin. Its image is that of the branch in which it acts, which is what the other claims and the cases are about."""
    return issubclass(subject.method.stage, Transform) and subject.method.stage.coin is not None


TESTS: dict[str, Test] = {
    test.__name__: test
    for test in (identity, shift, shrinks, order, argmax, nonempty, relabel, monotone, idempotent, batch, history, fork, ratios, scale_free, law, deterministic)
}
