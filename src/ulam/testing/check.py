"""The checks: a method or a noise, against everything it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

import numpy as np

from ..core.arrays import Array
from ..core.claims import CLAIMS
from ..core.errors import UlamError
from ..methods import Method
from .cases import assert_cases, assert_half
from .claims import TESTS, Test
from .inputs import Probe, Row, is_wide, probes, smaller
from .masks import CONSTRAINT_PROMISES
from .promises import CHOOSER_PROMISES, PROMISES, agrees_with, assert_ranges
from .report import ConformanceError, Report
from .subject import Inapplicable, Subject

AT_ANY_WIDTH = {
    *("form", "float32", "library", "cells"),
    *("identity", "shrinks", "order", "argmax", "nonempty", "relabel", "idempotent", "batch", "ratios"),
}
"""What is asked of wide rows too: what costs a few images of one. Ties that 16 bits cannot count, ids beyond them, sums in float32 show there alone."""


def check_transform(method: Method, *, array: Callable[[Row], Array] = np.asarray, inputs: int = 300) -> Report:
    """Check a transform against its cases, its claims and what every transform promises.

    method  as `ulam.methods.read` or `find` returns it
    array   turns a NumPy array into one of the library to run on (`torch.asarray`); with another library than NumPy
            the results are also compared with NumPy's
    inputs  about how many rows with settings to ask; each claim is tested on all of them
    Raises `ConformanceError` with the smallest failing input found.
    """
    return check_rows(method, PROMISES, array, inputs)


def check_constraint(method: Method, *, array: Callable[[Row], Array] = np.asarray, inputs: int = 300) -> Report:
    """Check a constraint against its cases, its claims, and what every constraint promises.

    That is: it is a mask that the history alone decides; two masks intersect, in any order; an emptied row is `EmptySupport` and is not
    patched; what it carries from token to token agrees with the history, after every text over a small vocabulary.
    Arguments as in `check_transform`. Raises `ConformanceError` with the smallest failing input found.
    """
    report = check_rows(method, CONSTRAINT_PROMISES, array, inputs)
    report.understated = tuple(word for word in report.understated if word != "nonempty")  # which no constraint claims
    return report


def check_rows(method: Method, promises: dict[str, Test], array: Callable[[Row], Array], inputs: int) -> Report:
    """Check what maps rows to rows."""
    subject, questions = Subject(method, array), probes(method.stage, inputs)
    report = check(subject, promised(promises, method, array), questions)
    more = cache(lambda: probes(method.stage, 4 * inputs))  # a claim that seems to hold is asked about at length before it is said to
    report.understated = tuple(
        word for word, test in TESTS.items() if word not in method.claims and holds(subject, test, questions) and holds(subject, test, more())
    )
    return report


def check_chooser(method: Method, *, array: Callable[[Row], Array] = np.asarray, inputs: int = 300) -> Report:
    """Check a chooser against its cases, its claims, the law it states, and scripted noise at every boundary.

    On another library than NumPy the same uniforms must draw the same tokens. Arguments as in `check_transform`. Raises
    `ConformanceError` with the smallest failing input found.
    """
    return check(Subject(method, array), promised(CHOOSER_PROMISES, method, array), drawn_from(probes(method.stage, inputs)))


def drawn_from(questions: Sequence[Probe]) -> list[Probe]:
    """The questions to a chooser: those whose law is enumerated quickly, and the wide ones, where it is not."""
    return [probe for probe in questions if len(probe.row) <= 64 or is_wide(probe)]


def promised(promises: dict[str, Test], method: Method, array: Callable[[Row], Array]) -> dict[str, Test]:
    """The promises; on another library than NumPy, that it agrees with NumPy too."""
    return promises if array is np.asarray else {**promises, "library": agrees_with(Subject(method))}


def check_claim(method: Method, word: str, *, inputs: int = 300) -> int:
    """Check one claim of the closed list on a method, whether it makes it or not; the number of inputs it was asserted on."""
    return assert_claim(Subject(method), word, probes(method.stage, inputs))


def check(subject: Subject, promises: dict[str, Test], questions: Sequence[Probe]) -> Report:
    """Cases, promises, ranges and claims of one method."""
    report = Report(subject.name)
    report.asserted["cases"] = assert_cases(subject)
    checks = {name: partial(assert_all, subject, name, test, questions) for name, test in promises.items()}
    for name, asserted in {"bfloat16": partial(assert_half, subject), **checks}.items():
        applied, why = asserted()
        if applied:
            report.asserted[name] = applied
        else:
            report.not_applicable[name] = why
    report.asserted["ranges"] = assert_ranges(subject.method)
    for word in subject.method.claims:
        report.asserted[word] = assert_claim(subject, word, questions)
    return report.closed()


def assert_claim(subject: Subject, word: str, questions: Sequence[Probe]) -> int:
    """Run the test of a claim; a claim that nothing can test is not one to make."""
    if word not in TESTS:
        raise ConformanceError(subject.name, word, "it is not one of the claims: " + ", ".join(CLAIMS))
    applied, why = assert_all(subject, word, TESTS[word], questions)
    if not applied:
        raise ConformanceError(subject.name, word, f"there is nothing to test it on ({why})")
    return applied


def assert_all(subject: Subject, promise: str, test: Test, questions: Iterable[Probe]) -> tuple[int, str]:
    """Run one test on many probes: the number it applied to, and why not to the others. A failure is made as small as it goes."""
    applied, why = 0, "no input"
    for probe in questions:
        if is_wide(probe) and promise not in AT_ANY_WIDTH:
            continue
        try:
            wrong = test(subject, probe)
        except Inapplicable as reason:
            why = str(reason)
            continue
        except Exception as error:
            error.add_note(f"while checking {promise} of {subject.name} on {probe}")
            raise
        applied += 1
        if wrong:
            smallest, wrong = shrunk(subject, test, probe, wrong)
            raise ConformanceError(subject.name, promise, wrong, smallest)
    return applied, why


def shrunk(subject: Subject, test: Test, probe: Probe, wrong: str) -> tuple[Probe, str]:
    """The smallest probe found, in at most 500 attempts, that fails the same test, and what is wrong there. Fewer attempts where they are wide."""
    left = 500 * 8192
    while True:
        for candidate in smaller(probe):
            left -= max(len(candidate.row), 8192)
            if left < 0:
                return probe, wrong
            try:
                found = test(subject, candidate)
            except (Inapplicable, UlamError, ArithmeticError, LookupError, ValueError):
                continue  # not the same fault
            if found:
                probe, wrong = candidate, found
                break
        else:
            return probe, wrong


def holds(subject: Subject, test: Test, questions: Iterable[Probe]) -> bool:
    """Whether a claim holds on every input that it says something about, and there is one."""
    applied = False
    for probe in questions:
        if is_wide(probe):
            continue
        try:
            if test(subject, probe):
                return False
            applied = True
        except Inapplicable:
            continue
    return applied
