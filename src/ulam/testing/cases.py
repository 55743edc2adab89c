"""The rows worked out by hand: in float64 to 1e-12, in float32 to the rounding of float32, in bfloat16 to some of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Array, as_logits, namespace, to_numpy
from ..core.claims import Case
from ..core.context import History
from ..core.method import Chooser
from ..core.noise import Address
from ..models.alphabet import words
from .inputs import Probe, Row
from .noise import Asked, RefusingNoise, ScriptedNoise
from .report import ConformanceError
from .subject import Subject, kept, probabilities, same_bits

TOLERANCE = {np.dtype(np.float64): (1e-12, 1e-12), np.dtype(np.float32): (2e-7, 2e-6)}
"""Absolute and relative: float64 to the digits of a hand-made row; float32 to a few of its units in the last place."""

STEP = 2.0**-8
"""Of bfloat16, relative: a logit z is held to z STEP / 2."""

STEPS = 8
"""How many steps a probability, or a logit, may be off, times the largest logit of the row: a stage may make the error of a row larger,
and the steepest of those that ship, a cubic and a tent around a target, make it six times as large."""


def assert_cases(subject: Subject) -> int:
    """Check all cases of a method; the number of comparisons. There are three to six."""
    cases = subject.method.cases
    if not 3 <= len(cases) <= 6:
        raise ConformanceError(subject.name, "cases", f"it has {len(cases)} and not three to six")
    for case in cases:
        for dtype in TOLERANCE:
            probe = replace(asked(case), row=asked(case).row.astype(dtype))
            wrong = drawn(subject, probe, case) if draws(subject, case) else moved(subject, probe, case)
            if wrong:
                raise ConformanceError(subject.name, "cases", f"{wrong}; the row excludes: {case.excludes}", probe)
    return len(cases) * len(TOLERANCE)


def assert_half(subject: Subject) -> tuple[int, str]:
    """Check the cases in bfloat16, where the library has it; the number of comparisons, and why there is none.

    A row in bfloat16 is treated as the same numbers in float32: with the same bits, or the same token drawn. If bfloat16 holds a row exactly,
    its image is that of the case, within the tolerance of float32. Else it holds a row nearby: the numbers are those of the case to 8 steps
    of bfloat16, times the largest logit; the row says nothing of them where a kept set turns on the difference, as where a probability is
    exactly at a threshold.
    """
    if not hasattr(namespace(subject.array(np.zeros(1, np.float32))), "bfloat16"):
        return 0, "the library has no bfloat16"
    half = Subject(subject.method, in_half(subject.array))
    for case in subject.method.cases:
        written = replace(asked(case), row=asked(case).row.astype(np.float32))
        probe = replace(written, row=to_numpy(as_logits(half.array(written.row))))
        exact = bool(np.array_equal(probe.row, written.row))
        if wrong := drawn_in_half(subject, half, probe, case) if draws(subject, case) else moved_in_half(subject, half, probe, case, exact):
            raise ConformanceError(subject.name, "bfloat16", f"{wrong}; the row excludes: {case.excludes}", probe)
    return len(subject.method.cases), ""


def moved_in_half(subject: Subject, half: Subject, probe: Probe, case: Case, exact: bool) -> str | None:
    """What is wrong with the image of a row in bfloat16, which holds the row of the case exactly or not."""
    image = image_of(half, probe, case)
    if not same_bits(image, image_of(subject, probe, case)):
        return "a row in bfloat16 gives other bits than the same numbers in float32"
    if exact:
        return off(image, case, TOLERANCE[probe.row.dtype])
    if not np.array_equal(kept(image), left_by(case)):
        return None
    allowed = STEPS * STEP * max(1.0, float(np.abs(probe.row[kept(probe.row)]).max()))
    return off(image, case, (allowed, allowed))


def drawn_in_half(subject: Subject, half: Subject, probe: Probe, case: Case) -> str | None:
    """What is wrong with the token drawn from a row in bfloat16."""
    here, there = (token_of(each, probe, case) for each in (half, subject))
    return None if here == there else f"u = {case.u} draws token {here} from a row in bfloat16, and token {there} from the same numbers in float32"


def in_half(array: Callable[[Row], Array]) -> Callable[[Row], Array]:
    """Arrays of the library in bfloat16."""

    def half(row: Row) -> Array:
        xp = namespace(full := array(row))
        return xp.astype(full, xp.bfloat16)

    return half


def asked(case: Case) -> Probe:
    """The question of a case, in float64."""
    row = np.array([float(x) for x in case.given])
    if not case.logits:
        row = np.log(row, out=np.full(len(row), -np.inf), where=row > 0)
    return Probe(row, case.parameters, History(case.prompt, case.generated), tuple(case.ends))


def draws(subject: Subject, case: Case) -> bool:
    """Whether a case is about the token that is drawn, and not about a row or a law."""
    return issubclass(subject.method.stage, Chooser) and isinstance(case.expect, int)


def moved(subject: Subject, probe: Probe, case: Case) -> str | None:
    """What a transform does to the row, or a chooser's law: the kept set as written, and every number within the tolerance."""
    return off(image_of(subject, probe, case), case, TOLERANCE[probe.row.dtype])


def image_of(subject: Subject, probe: Probe, case: Case) -> Row:
    """The image [V] of a case's row."""
    states = [] if case.state is None else [case.state]
    stage, vocabulary = subject.stage(probe), probe.vocabulary
    if case.tokens:
        vocabulary = words([*case.tokens], ends=case.ends)
        stage = stage.bind(vocabulary)
    return subject.images(stage, probe.row[None, :], [probe.history], vocabulary, states)[0]


def left_by(case: Case) -> NDArray[np.bool_]:
    """The tokens [V] that a case keeps."""
    wanted = np.array([float(x) for x in case.expect])
    return kept(wanted) if case.logits else wanted > 0


def off(image: Row, case: Case, tolerance: tuple[float, float]) -> str | None:
    """Where an image is not what a case expects, within an absolute and a relative tolerance."""
    wanted, left = np.array([float(x) for x in case.expect]), left_by(case)
    if not np.array_equal(kept(image), left):
        return f"keeps {np.flatnonzero(kept(image)).tolist()} and not {np.flatnonzero(left).tolist()}"
    found: Row = image.astype(np.float64) if case.logits else probabilities(image)
    absolute, relative = tolerance
    wrong = np.flatnonzero(left & ~np.isclose(found, wanted, rtol=relative, atol=absolute))
    if len(wrong):
        token = wrong[0]
        return f"token {token} gets {found[token]:.12g} and not {wanted[token]:.12g}"
    return None


def drawn(subject: Subject, probe: Probe, case: Case) -> str | None:
    """Whether a chooser draws another token than the case says."""
    try:
        token = token_of(subject, probe, case)
    except Asked as error:
        return error.what
    return None if token == case.expect else f"u = {case.u} draws token {token} and not {case.expect}"


def token_of(subject: Subject, probe: Probe, case: Case) -> int:
    """What a chooser draws when it is told the uniforms of the case."""
    noise = RefusingNoise() if case.u is None else ScriptedNoise([case.u])
    states = [] if case.state is None else [case.state]
    (token,) = subject.tokens(subject.stage(probe), probe.row[None, :], noise, Address([0], [0]), [probe.history], states)
    return token
