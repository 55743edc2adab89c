"""The keyed function as a source of chance: over many keys marked draws have the law of the row, and detectors of unmarked text the law they state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.false_alarms import Statistical
from tests.statistical.laws import Probs, spread
from ulam.core.context import Context, History
from ulam.core.keyed import KeyedChooser
from ulam.core.noise import Address, PhiloxNoise
from ulam.methods.choosers.gumbel_watermark import GumbelWatermark
from ulam.methods.choosers.synthid import Synthid
from ulam.methods.transforms.green_list import GreenList

ROW = np.array([0.07, 0.4, 0.03, 0.25, 0.2, 0.05])
DRAWS = 4000
KEYS = 3000
TEXT = [0, 1, 2, 0, 1, 2, 2, 1, 0, 3, 1, 2, 3, 3, 0, 1, 2, 0, 2, 1, 1, 3, 2, 0, 1]  # unmarked; 23 pairs have a token after them, 15 of them different


@pytest.mark.parametrize("kind", [GumbelWatermark, partial(Synthid, layers=8)], ids=["gumbel_watermark", "synthid"])
def test_marked_draws_over_keys(kind: Callable[[int], KeyedChooser], statistical: Statistical) -> None:
    """A hundred contexts for each key."""
    context = Context([History((), [5, b // 10, b % 10, 4]) for b in range(100)])
    rows, address = np.tile(np.log(ROW), (100, 1)), Address(np.arange(100), np.full(100, 4))
    tokens = np.concatenate([kind(key).choose(rows, PhiloxNoise(key), address, context) for key in range(DRAWS // 100)])
    sharper = ROW**1.35 / (ROW**1.35).sum()
    statistical(f"keyed.draws.{kind(0).name}", np.bincount(tokens, minlength=len(ROW)), ROW, spread(ROW, 0.1), sharper)


def folded(law: NDArray[Any], chance: float) -> NDArray[Any]:
    """A law of hits, or counts, with both of its ends as one outcome each, so that no outcome is rare."""
    middle = round(15 * chance)
    return np.array([law[: middle - 3].sum(), *law[middle - 3 : middle + 3], law[middle + 3 :].sum()])


@pytest.mark.parametrize(
    ("stage", "chance"), [(partial(GreenList, gamma=0.4, width=2), 0.4), (partial(Synthid, layers=1, width=2), 0.5)], ids=["green_list", "synthid"]
)
def test_hits_in_unmarked_text_are_binomial(stage: Callable[[int], Any], chance: float, statistical: Statistical) -> None:
    """One text, many keys. If pairs that come again were scored again, hits would be spread wider."""
    found = [stage(key).detect(TEXT) for key in range(KEYS)]
    hits = np.array([round(each.score * np.sqrt(15 * chance * (1 - chance)) + 15 * chance) for each in found])
    assert {each.n for each in found} == {15}
    assert [each.p_value for each in found] == pytest.approx(stats.binom.sf(hits - 1, 15, chance), rel=1e-9)
    law, wider = stats.binom.pmf(np.arange(16), 15, chance), np.convolve(stats.binom.pmf(np.arange(8), 7, chance), doubled(4, chance))
    statistical(f"keyed.hits.{stage(0).name}", *(folded(each, chance) for each in (np.bincount(hits, minlength=16), law, wider)))


def doubled(n: int, chance: float) -> Probs:
    """The law of twice a binomial number."""
    out = np.zeros(2 * n + 1)
    out[::2] = stats.binom.pmf(np.arange(n + 1), n, chance)
    return out


def test_the_p_values_of_unmarked_text_are_uniform(statistical: Statistical) -> None:
    edges = np.linspace(0, 1, 11)
    found = [GumbelWatermark(key, width=2).detect(TEXT).p_value for key in range(KEYS)]
    lower = np.diff(edges**0.75)  # as of a text that carries a little of the mark
    statistical("keyed.p_values.gumbel_watermark", np.histogram(found, edges)[0], np.diff(edges), lower)
