"""The check of a noise: addresses, ranges, and the definitions of its three questions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.errors import InvalidLogits, OutOfRange
from ..core.noise import Address, Noise, Purpose
from .inputs import irregular, permutation, rows
from .report import ConformanceError, Report
from .subject import probabilities

GRID = Address(
    sequence=np.array([0, 1, 2, 2**32, 2**63, 2**64 - 1], np.uint64)[:, None, None],
    position=np.array([0, 1, 2, 1000, 2**32 - 1], np.uint64)[None, :, None],
    lane=np.array([0, 1, 2, 2**24 - 1], np.uint64)[None, None, :],
)
"""Addresses at both ends of every field."""


def check_noise(noise: Noise) -> Report:
    """Check that answers belong to addresses, and that the three questions agree with their definitions.

    `uniform` is a multiple of 2^-53 in [0, 1); `bernoulli(p)` is `uniform < p`; `categorical` is the inverse CDF of that
    uniform in vocabulary order, or under Gumbel coupling a maximum that follows a raised logit. Raises `ConformanceError`.
    """
    report = Report(type(noise).__name__)
    for test in (addresses, uniforms, coins, tokens, coupled, refusals):
        count, wrong = test(noise)
        if wrong:
            raise ConformanceError(report.subject, test.__name__, wrong)
        report.asserted[test.__name__] = count
    report.not_applicable["law"] = "the law of its uniforms is a matter of statistics and of published vectors"
    return report.closed()


def addresses(noise: Noise) -> tuple[int, str | None]:
    """The same address says the same, alone or among others; every other address says something else."""
    seen: list[float] = []
    for purpose in Purpose:
        whole = noise.uniform(Address(GRID.sequence, GRID.position, purpose, GRID.lane)).values
        seen += whole.ravel().tolist()
        for i, j, k in ((0, 0, 0), (5, 4, 3), (3, 1, 2)):
            one = noise.uniform(Address(np.ravel(GRID.sequence)[i], np.ravel(GRID.position)[j], purpose, np.ravel(GRID.lane)[k]))
            if float(one) != whole[i, j, k]:
                return 0, f"the address of purpose {purpose.name} at {(i, j, k)} of the grid says one thing alone and another among others"
    return len(seen), None if len(set(seen)) == len(seen) else "two addresses of the grid give the same uniform"


def uniforms(noise: Noise) -> tuple[int, str | None]:
    u = noise.uniform(Address(np.arange(4096), 3)).values
    if u.dtype != np.float64 or u.shape != (4096,):
        return 0, f"uniforms of type {u.dtype} and shape {u.shape} instead of float64 (4096,)"
    if not ((u >= 0) & (u < 1)).all():
        return 0, "a uniform outside [0, 1)"
    return len(u), None if np.array_equal(np.floor(u * 2.0**53) * 2.0**-53, u) and (u * 2.0**32 % 1 > 0).any() else "uniforms have not 53 bits"


def coins(noise: Noise) -> tuple[int, str | None]:
    at = Address(np.arange(500), 4, Purpose.accept)
    u = noise.uniform(at).values
    for p in (0.0, 1.0, 0.3, u):
        if not np.array_equal(noise.bernoulli(p, at), u < p):
            return 0, "a coin does not fall where its uniform is below p"
    return 2000, None


def tokens(noise: Noise) -> tuple[int, str | None]:
    """Equal weights, where the running sum is exact; then irregular rows against a running sum of the same order."""
    at = Address(np.arange(300), 5)
    u = noise.uniform(at).values
    for width in (1, 2, 3, 7, 1000):
        if not np.array_equal(noise.categorical(np.zeros((300, width)), at), np.floor(u * width)):
            return 0, f"among {width} equal tokens the draw is not the inverse CDF of the uniform"
    count = 1500
    for row in (row.astype(np.float64) for row in rows() if len(row) <= 64):
        drawn = noise.categorical(np.tile(row, (300, 1)), at)
        total = np.cumsum(np.exp(row - row.max()))
        wanted = np.array([next(i for i, c in enumerate(total) if c > x * total[-1]) for x in u])
        if not np.array_equal(drawn, wanted) or not (probabilities(row)[drawn] > 0).all():
            return 0, f"a draw from {row.tolist()} is not the inverse CDF of the uniform"
        count += 300
    return count, None


def coupled(noise: Noise) -> tuple[int, str | None]:
    """Under Gumbel coupling a raised logit can only draw the choice to itself, and a constant or a renumbered batch changes nothing."""
    at = Address(np.arange(200) * 7, np.arange(200) % 5, Purpose.coupling)
    row = irregular(16, 1)
    base = np.tile(row, (200, 1))
    first = noise.categorical(base, at, coupling="gumbel")
    for token in range(16):
        raised = base.copy()
        raised[:, token] += 1.5
        then = noise.categorical(raised, at, coupling="gumbel")
        if not ((then == first) | (then == token)).all():
            return 0, f"raising token {token} moves a draw to another token"
    mixed = permutation(200, 9)
    again = noise.categorical(base[mixed] + 3, Address(np.asarray(at.sequence)[mixed], np.asarray(at.position)[mixed], at.purpose), coupling="gumbel")
    return 3600, None if np.array_equal(again, first[mixed]) else "a constant or another order of the rows changes a draw"


def refusals(noise: Noise) -> tuple[int, str | None]:
    at = Address([0], [0])
    bad = [(OutOfRange, lambda p=p: noise.bernoulli(p, at), f"p = {p}") for p in (-0.1, 1.1, np.nan)]
    bad += [
        (InvalidLogits, lambda row=row: noise.categorical(np.array([row]), at), f"the row {row}") for row in ([0.0, np.nan], [np.inf, 0.0], [-np.inf, -np.inf])
    ]
    for error, ask, shown in bad:
        if not refused(error, ask):
            return 0, f"{shown} is not {error.__name__}"
    return len(bad), None


def refused(error: type[Exception], ask: Callable[[], object]) -> bool:
    try:
        ask()
    except error:
        return True
    return False
