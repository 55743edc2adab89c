"""What every constraint promises: it is a mask, a function of the history; masks intersect; a row left empty is told, and not patched.

A is the set of tokens that a constraint allows after a history. Tests have the form of `claims`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import as_logits
from ..core.context import Context, History
from ..core.errors import EmptySupport
from ..core.method import Transform
from ..methods.choosers.categorical import CategoricalChooser
from ..recipe.draw import law
from .claims import Test
from .inputs import Probe, Row, settings
from .promises import PROMISES
from .subject import Inapplicable, Subject, kept, same_bits

LENGTH = 5
"""Tokens of the texts that are enumerated, over three tokens at most."""


def allowed(subject: Subject, probe: Probe) -> NDArray[np.bool_]:
    """A, as it is found on a row where all tokens are alike."""
    return kept(subject.image(probe, np.zeros_like(probe.row)))


def mask(subject: Subject, probe: Probe) -> str | None:
    """The logits of A stay, bit for bit, and no others, whatever the logits are; each token alone is kept if it is in A and not otherwise."""
    image, tokens = subject.image(probe), allowed(subject, probe)
    if not same_bits(image, masked(probe.row.astype(image.dtype), tokens)):
        return f"a row of equal logits keeps {np.flatnonzero(tokens).tolist()[:12]}, and this one {np.flatnonzero(kept(image)).tolist()[:12]}"
    width = min(len(probe.row), 64)
    single = np.where(np.eye(width, len(probe.row), dtype=bool), probe.row.dtype.type(0), -np.inf).astype(probe.row.dtype)
    images = subject.images(subject.stage(probe), single, [probe.history] * width, probe.vocabulary)
    wrong = np.flatnonzero(kept(images).any(axis=-1) != tokens[:width])
    return f"token {wrong[0]} is {'not ' * (not tokens[wrong[0]])}allowed, but otherwise where it is the only one" if len(wrong) else None


def masked(row: Row, tokens: NDArray[np.bool_]) -> Row:
    return np.where(tokens, row, row.dtype.type(-np.inf))


def intersection(subject: Subject, probe: Probe) -> str | None:
    """Two constraints of the method, one after the other, allow what both allow, in either order."""
    here, every = allowed(subject, probe), settings(subject.method.stage, len(probe.row))
    for setting in every[:: max(len(every) // 4, 1)]:
        other = replace(probe, parameters=setting)
        images = subject.image(other, subject.image(probe)), subject.image(probe, subject.image(other))
        both = masked(probe.row.astype(images[0].dtype), here & allowed(subject, other))
        if not all(same_bits(image, both) for image in images):
            return f"with {setting} before or after it, it does not allow what both do: {np.flatnonzero(kept(both)).tolist()[:12]}"
    return None


def told(subject: Subject, probe: Probe) -> str | None:
    """A row without a token of A is `EmptySupport`, which names the stage, the position and how many tokens were removed."""
    stage, tokens = subject.stage(probe), allowed(subject, probe)
    if tokens.all():
        raise Inapplicable("every token is allowed")
    assert isinstance(stage, Transform)
    row = np.where(tokens, -np.inf, 0.0)
    _, failures = law([stage], CategoricalChooser(), as_logits(subject.array(row[None, :])), Context([probe.history], probe.vocabulary))
    error = failures.get(0)
    if not isinstance(error, EmptySupport) or not error.constraint:
        return f"a row without an allowed token gives {type(error).__name__} instead of EmptySupport by a constraint"
    if (error.stage, error.position) != (stage.name, probe.history.position) or f"no token of {(~tokens).sum()}: mass 1" not in error.what:
        return f"the error does not name the stage, the position and what was removed: {error}"
    return None


def texts(subject: Subject, probe: Probe) -> str | None:
    """After every text of some tokens more, what is carried along allows what the history does."""
    stage, width = subject.stage(probe), len(probe.row)
    begun = stage.init(probe.history)
    if begun is None or width > 3:
        raise Inapplicable("it carries nothing" if begun is None else "there are too many texts")
    level: list[tuple[tuple[int, ...], Any]] = [((), begun)]
    row = as_logits(subject.array(probe.row))
    for _ in range(LENGTH):
        level = [((*text, token), stage.advance(stage.fork(state), token, row)) for text, state in level for token in range(width)]
        pasts = [History(probe.history.prompt, [*probe.history.generated, *text]) for text, _ in level]
        rows = np.zeros((len(level), width), probe.row.dtype)
        carried = subject.images(stage, rows, pasts, probe.vocabulary, [state for _, state in level])
        for (text, _), one, other in zip(level, carried, subject.images(stage, rows, pasts, probe.vocabulary), strict=True):
            if not same_bits(one, other):
                return f"after {list(text)} more it allows {np.flatnonzero(kept(one)).tolist()}, and from the history {np.flatnonzero(kept(other)).tolist()}"
    return None


CONSTRAINT_PROMISES: dict[str, Test] = PROMISES | {"mask": mask, "intersection": intersection, "told": told, "texts": texts}
