"""What every transform and every chooser promises without a word of its own. Tests have the form of `claims`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.arrays import as_logits
from ..core.context import History
from ..core.errors import OutOfRange
from ..core.method import Chooser, Stage
from ..core.noise import Address, Noise
from ..core.parameter import Parameter, parameters
from ..exact import law
from ..methods import Method
from .claims import Test
from .inputs import Probe, is_wide, settings
from .noise import ScriptedNoise
from .report import ConformanceError
from .subject import Inapplicable, Subject, far, longer, probabilities, same_bits, unlike


def form(subject: Subject, probe: Probe) -> str | None:
    """[B, V] in, [B, V] of the same type out, half precision as float32; a vocabulary of one token comes back as it was."""
    image = subject.images(subject.stage(probe), probe.row[None, :], [probe.history])
    dtype = np.float64 if probe.row.dtype == np.float64 else np.float32
    if image.shape != (1, len(probe.row)) or image.dtype != dtype:
        return f"returns {image.dtype} of shape {image.shape} for {probe.row.dtype} of shape {(1, len(probe.row))}"
    if len(probe.row) == 1 and subject.method.kind == "transform" and not same_bits(image[0], probe.row.astype(dtype)):
        return "a row of one token is changed"
    empty = subject.images(subject.stage(probe), probe.row[None, :][:0], [])
    return None if empty.shape == (0, len(probe.row)) else f"an empty batch gives shape {empty.shape}"


def arrays(subject: Subject, probe: Probe) -> str | None:
    """A numeric parameter given as an array, one element a row, does to every row what its element does."""
    numbers = {p.name for p in parameters(subject.method.stage) if not p.scalar and not isinstance(probe.parameters[p.name], str)}
    if not numbers:
        raise Inapplicable("no parameter is a number")
    stage = subject.method.stage(**{name: np.array([x, x]) if name in numbers else x for name, x in probe.parameters.items()})
    both = subject.images(stage, np.stack([probe.row, probe.row]), [probe.history] * 2)
    alone = subject.image(probe)
    return None if all(same_bits(image, alone) for image in both) else "a parameter as an array gives other bits than as a number"


def untouched(subject: Subject, probe: Probe) -> str | None:
    """The argument is not written to."""
    given = probe.row[None, :].copy()
    subject.images(subject.stage(probe), given, [probe.history])
    return None if same_bits(given[0], probe.row) else "the array it was given has changed"


def agrees_with(reference: Subject) -> Test:
    """The same distribution as another library computes: the kept set, and probabilities to rounding; a chooser draws the same tokens."""

    def library(subject: Subject, probe: Probe) -> str | None:
        wrong = unlike(probe, subject.image(probe), reference.image(probe), stated_within(probe))
        return wrong or (drawn_alike(subject, reference, probe) if subject.method.kind == "chooser" else None)

    return library


def drawn_alike(subject: Subject, reference: Subject, probe: Probe) -> str | None:
    """Where two libraries draw different tokens with the same uniforms; a uniform beside a boundary of the running sum may do so by rounding."""
    stage, row = subject.stage(probe), probe.row[None, :]
    probs = probabilities(reference.image(probe))
    allowed, coupling = 10 * stated_within(probe), asked(reference, probe)
    if coupling == "gumbel":
        scripts: list[Any] = [np.roll(IRREGULAR, turn)[np.arange(len(probs)) % len(IRREGULAR)] for turn in range(3)]
        with np.errstate(divide="ignore"):
            keys = [np.sort(np.log(probs) - np.log(-np.log(script)))[-2:] for script in scripts]
        scripts = [script for script, best in zip(scripts, keys, strict=True) if len(best) < 2 or best[1] - best[0] > allowed]
    else:
        near = [np.abs(np.cumsum(probs) - u).min() <= allowed for u in IRREGULAR]
        scripts = [u for u, close in zip(IRREGULAR, near, strict=True) if not close] if coupling == "inverse_cdf" else [*IRREGULAR]
    for script in scripts:
        here, there = (each.tokens(stage, row, ScriptedNoise([script] * 8), Address([0], [0]), [History()])[0] for each in (subject, reference))
        if here != there:
            return f"the same uniforms draw token {here} here and {there} there"
    return None


IRREGULAR = (0.0173, 0.2291, 0.3819, 0.5557, 0.7307, 0.9103, 0.9989)
"""Uniforms that no simple row has a boundary at."""


def asked(subject: Subject, probe: Probe) -> str | None:
    """What kind of question a chooser asks first, if any."""
    heard = ScriptedNoise([0.4] * 8)
    subject.tokens(subject.stage(probe), probe.row[None, :], heard, Address([0], [0]), [History()])
    return heard.questions[0][0] if heard.questions else None


def float32(subject: Subject, probe: Probe) -> str | None:
    """A wide row in float32 has about the distribution that it has in float64: a running sum of so many small numbers in float32 would be off.

    Allowed is a total variation of 1e-3, since what the slack of a comparison, 2^-20, lets in has no bound but is little; and the rounding
    of the image, where a stage has moved its logits far from 0.
    """
    if probe.row.dtype == np.float64 or not is_wide(probe):
        raise Inapplicable("no row in float32 is wide")
    image = subject.image(probe)
    rounding = float(np.abs(image, where=np.isfinite(image), out=np.zeros_like(image)).max()) * 2.0**-23
    wrong = far(image, subject.image(probe, probe.row.astype(np.float64)), 1e-3 + rounding)
    return f"in float32 and in float64: {wrong}" if wrong else None


def cells(subject: Subject, probe: Probe) -> str | None:
    """In the middle of its cell a token is drawn: the likeliest, the first and the last possible, and some between them. Or one so near
    that, with so many small cells, the rounding of the stated law decides.
    """
    stage, row = subject.stage(probe), probe.row[None, :]
    coupling = asked(subject, probe)
    if coupling not in ("inverse_cdf", "gumbel"):
        raise Inapplicable("it asks for no token, so its cells are its own")
    probs = probabilities(subject.images(stage, row, [History()], probe.vocabulary)[0])
    possible, ends = np.flatnonzero(probs), np.cumsum(probs)
    for token in dict.fromkeys([int(np.argmax(probs)), *possible[np.linspace(0, len(possible) - 1, 4).astype(int)].tolist()]):
        if coupling == "gumbel":
            if probs[token] < 1e-12 * probs.max():
                continue  # no uniform makes it win
            script: Any = np.where(np.arange(len(probs)) == token, 1 - 2.0**-53, 0.5)
        else:
            script = (ends[token] - probs[token] / 2) / ends[-1]
        (drawn,) = subject.tokens(stage, row, ScriptedNoise([script] * 8), Address([0], [0]), [History()])
        inside = coupling == "inverse_cdf" and 0 <= drawn < len(probs)
        near = inside and abs(ends[drawn] - probs[drawn] / 2 - script * ends[-1]) <= probs[drawn] / 2 + 10 * stated_within(probe)
        if drawn != token and not near:
            return f"in the middle of the cell of token {token} the draw is {drawn}"
    return None


def stated_law(subject: Subject, probe: Probe) -> str | None:
    """The enumerated law of the draw is the law that the chooser states; of a keyed one, where no key decides yet."""
    stage, row = subject.stage(probe), probe.row[None, :]
    for past, state in [(History(), [])] if is_keyed(stage) else subject.carried(stage, probe):

        def token(noise: Noise, past: History = past, state: list[Any] = state) -> int:
            return subject.tokens(stage, row, noise, Address([0], [past.position]), [past], [stage.fork(each) for each in state])[0]

        drawn = law(token)
        stated = probabilities(subject.images(stage, row, [past], probe.vocabulary, state)[0])
        gap = np.abs(np.array([drawn.prob(i) for i in range(len(stated))]) - stated)
        if gap.max() > stated_within(probe):
            worst = int(gap.argmax())
            return f"token {worst} is stated with {stated[worst]:.12g} and drawn with {drawn.prob(worst):.12g}" + (f", carrying {state[0]}" if state else "")
    return None


def is_keyed(stage: Stage) -> bool:
    """Whether its law is an average over keys, so that one key says nothing of it."""
    return isinstance(stage, Chooser) and stage.keyed


def stated_within(probe: Probe) -> float:
    """How far the probabilities of a stated law may be off: a row in float32 states its law in float32."""
    return 1e-12 if probe.row.dtype == np.float64 else 2e-6


def three_steps(subject: Subject, probe: Probe) -> str | None:
    """Three draws together have the product of the laws that are stated on the way, each with what is carried by then."""
    stage, begun = subject.stage(probe), subject.stage(probe).init(probe.history)
    if is_keyed(stage):
        raise Inapplicable("its law is an average over keys, and one key draws from another")
    if begun is None or len(probe.row) > 3:
        raise Inapplicable("it carries nothing" if begun is None else "there are too many texts")
    rows = [np.roll(probe.row, shift) for shift in range(3)]

    def text(noise: Noise) -> tuple[int, ...]:
        tokens, state = (), stage.init(probe.history)
        for at, row in enumerate(rows):
            past = longer(probe.history, tokens)
            (token,) = subject.tokens(stage, row[None, :], noise, Address([0], [at]), [past], [state])
            tokens, state = (*tokens, token), stage.advance(state, token, as_logits(subject.array(row)))
        return tokens

    stated = {(): (1.0, begun)}
    for row in rows:
        grown: dict[tuple[int, ...], tuple[float, Any]] = {}
        for tokens, (mass, state) in stated.items():
            image = subject.images(stage, row[None, :], [longer(probe.history, tokens)], probe.vocabulary, [state])[0]
            grown |= {(*tokens, token): (mass * float(p), subject.advanced(stage, state, [token], row)) for token, p in enumerate(probabilities(image)) if p}
        stated = grown
    drawn = law(text)
    for tokens in {*stated, *drawn.outcomes}:
        mass, p = stated[tokens][0] if tokens in stated else 0.0, dict(drawn).get(tokens, 0.0)
        if abs(mass - p) > 3 * stated_within(probe):
            return f"the tokens {list(tokens)} are stated with {mass:.12g} and drawn with {p:.12g}"
    return None


def remade(subject: Subject, probe: Probe) -> str | None:
    """What a stage carries is only a cache, unless it is feedback: made anew from the longer history it does the same, bit for bit."""
    stage = subject.stage(probe)
    if stage.init(probe.history) is None or (isinstance(stage, Chooser) and stage.feedback):
        raise Inapplicable("it carries nothing that the history tells")
    for past, state in subject.carried(stage, probe):
        images = [subject.images(stage, probe.row[None, :], [past], probe.vocabulary, each) for each in (state, [stage.init(past)])]
        if not same_bits(*images):
            return f"after generated {list(past.generated)} what is carried does something else than what the history gives"
    return None


def edges(subject: Subject, probe: Probe) -> str | None:
    """At the smallest and largest uniforms and beside every boundary of the running sum: a possible token, so the certain one where there is one."""
    stage, row = subject.stage(probe), probe.row[None, :]
    probs = probabilities(subject.image(probe))
    scripts: list[Any] = [uniform for boundary in (0.0, 1.0, *np.cumsum(probs)) for uniform in around(float(boundary))]
    if asked(subject, probe) == "gumbel":
        # one uniform a token: the impossible ones get the largest and the others the smallest, and the other way round
        scripts = [np.where(probs > 0, *ends) for ends in ((2.0**-53, 1 - 2.0**-53), (1 - 2.0**-53, 2.0**-53))]
    for script in scripts:
        (token,) = subject.tokens(stage, row, ScriptedNoise([script] * 8), Address([0], [0]))
        if not 0 <= token < len(probs) or probs[token] == 0:
            return f"u = {script} draws token {token}, which has probability 0"
    return None


def around(boundary: float) -> list[float]:
    """The multiples of 2^-53 in [2^-53, 1) next to a boundary, and 0 beside 0."""
    k = round(boundary * 2.0**53)
    return [0.0] * (k == 0) + [near * 2.0**-53 for near in (k - 1, k, k + 1) if 0 < near < 2**53]


def questions(subject: Subject, probe: Probe) -> str | None:
    """One row asks what seven rows ask, and every question carries the addresses of its rows."""
    stage = subject.stage(probe)
    kinds = []
    for size in (1, 7):
        noise = ScriptedNoise([0.4] * 8)
        sequences, positions = np.arange(size) * 31 + 5, np.arange(size) + 2
        subject.tokens(stage, np.tile(probe.row, (size, 1)), noise, Address(sequences, positions))
        kinds.append([kind for kind, _ in noise.questions])
        for _, address in noise.questions:
            if not np.array_equal(address.sequence, sequences) or not np.array_equal(address.position, positions):
                return "a question does not carry the addresses of its rows"
    return None if kinds[0] == kinds[1] else f"one row asks {kinds[0]} and seven rows ask {kinds[1]}"


def assert_ranges(method: Method) -> int:
    """Every value of the wrong type or just outside a range is `OutOfRange` when the stage is made, naming the parameter."""
    base, tried = settings(method.stage, 8)[0], 0
    for p in parameters(method.stage):
        for value in outside(p):
            tried += 1
            try:
                method.stage(**{**base, p.name: value})
            except OutOfRange as error:
                if error.parameter == p.name:
                    continue
                raise ConformanceError(method.name, "ranges", f"the error for {p.name}={value!r} names {error.parameter}") from error
            raise ConformanceError(method.name, "ranges", f"{p.name}={value!r} is accepted, and the range is {p.describe()}")
    return tried


def outside(p: Parameter) -> list[Any]:
    """Values that a parameter must refuse."""
    if p.kind is dict:
        return [3, {0: math.nan}, {0: math.inf}, {-1: 1.0}, {True: 1.0}, [(0, 1.0), (0, 2.0)]]
    if p.range is None:
        return [1, None] + (["no_such_word"] if p.words else ["true"])
    numbers = [math.nan, True, None, "no_such_word", np.array([p.range.high, math.nan])]
    numbers += [2.5] if p.kind is int else []
    for end, included, away in ((p.range.low, p.range.low_in, -math.inf), (p.range.high, p.range.high_in, math.inf)):
        if math.isinf(end):
            numbers += [] if included else [end]
        else:
            numbers += [(end + math.copysign(1, away) if p.kind is int else math.nextafter(end, away)) if included else end, away]
    return numbers


PROMISES: dict[str, Test] = {"form": form, "untouched": untouched, "arrays": arrays, "remade": remade, "float32": float32}
CHOOSER_PROMISES: dict[str, Test] = PROMISES | {"stated law": stated_law, "three steps": three_steps, "edges": edges, "cells": cells, "questions": questions}
