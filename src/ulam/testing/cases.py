"""The rows worked out by hand: in float64 to 1e-12, in float32 to the rounding of float32."""

from __future__ import annotations

import numpy as np

from ..core.claims import Case
from ..core.context import History
from ..core.method import Chooser
from ..core.noise import Address
from ..models.alphabet import words
from .inputs import Probe, Row
from .noise import Asked, RefusingNoise, ScriptedNoise
from .report import ConformanceError
from .subject import Subject, kept, probabilities

TOLERANCE = {np.dtype(np.float64): (1e-12, 1e-12), np.dtype(np.float32): (2e-7, 2e-6)}
"""Absolute and relative: float64 to the digits of a hand-made row; float32 to a few of its units in the last place."""


def assert_cases(subject: Subject) -> int:
    """Check all cases of a method; the number of comparisons. There are three to six."""
    cases = subject.method.cases
    if not 3 <= len(cases) <= 6:
        raise ConformanceError(subject.name, "cases", f"it has {len(cases)} and not three to six")
    for case in cases:
        for dtype in TOLERANCE:
            row = np.array([float(x) for x in case.given])
            if not case.logits:
                row = np.log(row, out=np.full(len(row), -np.inf), where=row > 0)
            probe = Probe(row.astype(dtype), case.parameters, History(case.prompt, case.generated), tuple(case.ends))
            draws = issubclass(subject.method.stage, Chooser) and isinstance(case.expect, int)
            wrong = drawn(subject, probe, case) if draws else moved(subject, probe, case)
            if wrong:
                raise ConformanceError(subject.name, "cases", f"{wrong}; the row excludes: {case.excludes}", probe)
    return len(cases) * len(TOLERANCE)


def moved(subject: Subject, probe: Probe, case: Case) -> str | None:
    """What a transform does to the row, or a chooser's law: the kept set as written, and every number within the tolerance."""
    states = [] if case.state is None else [case.state]
    stage, vocabulary = subject.stage(probe), probe.vocabulary
    if case.tokens:
        vocabulary = words([*case.tokens], ends=case.ends)
        stage = stage.bind(vocabulary)
    image = subject.images(stage, probe.row[None, :], [probe.history], vocabulary, states)[0]
    wanted = np.array([float(x) for x in case.expect])
    left = kept(wanted) if case.logits else wanted > 0
    if not np.array_equal(kept(image), left):
        return f"keeps {np.flatnonzero(kept(image)).tolist()} and not {np.flatnonzero(left).tolist()}"
    found: Row = image.astype(np.float64) if case.logits else probabilities(image)
    absolute, relative = TOLERANCE[probe.row.dtype]
    off = np.flatnonzero(~np.isclose(found[left], wanted[left], rtol=relative, atol=absolute))
    if len(off):
        token = np.flatnonzero(left)[off[0]]
        return f"token {token} gets {found[token]:.12g} and not {wanted[token]:.12g}"
    return None


def drawn(subject: Subject, probe: Probe, case: Case) -> str | None:
    """What a chooser draws when it is told the uniforms of the case."""
    noise = RefusingNoise() if case.u is None else ScriptedNoise([case.u])
    states = [] if case.state is None else [case.state]
    try:
        (token,) = subject.tokens(subject.stage(probe), probe.row[None, :], noise, Address([0], [0]), [probe.history], states)
    except Asked as asked:
        return asked.what
    return None if token == case.expect else f"u = {case.u} draws token {token} and not {case.expect}"
