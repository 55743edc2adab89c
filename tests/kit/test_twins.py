"""No claim without a twin that breaks it and is rejected for it."""

from __future__ import annotations

import pytest

from tests.kit.twins import TWINS
from ulam.core.claims import CLAIMS
from ulam.methods import Method
from ulam.testing import ConformanceError, check_claim
from ulam.testing.claims import TESTS

PAIRS = [pytest.param(word, twin, id=f"{word}-{twin.name}") for word, twins in TWINS.items() for twin in twins]


def test_every_claim_has_a_test_and_a_twin() -> None:
    assert list(TESTS) == list(CLAIMS)
    assert list(TWINS) == list(CLAIMS)


@pytest.mark.parametrize(("word", "twin"), PAIRS)
def test_twin_is_rejected_by_the_claim_it_breaks(word: str, twin: Method) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_claim(twin, word)
    assert caught.value.promise == word
    assert twin.name in str(caught.value)
    assert caught.value.probe is not None
    assert len(caught.value.probe.row) <= 4  # shrunk to something a person can read
