"""Every planted wrong version is rejected, and by the promise that it breaks."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from tests.kit.mutants import Mutant, TypicalByHand
from ulam.methods import catalogue
from ulam.testing import ConformanceError, check_chooser, check_claim, check_constraint, check_transform
from ulam.testing.claims import TESTS

CHECKS = {"transform": check_transform, "constraint": check_constraint, "chooser": check_chooser}
FILES = [import_module(f"tests.kit.{file.stem}") for file in sorted(Path(__file__).parent.glob("mutants*.py"))]
MUTANTS: list[Mutant] = [mutant for file in FILES for mutant in file.MUTANTS]


def test_every_method_has_at_least_two_mutants() -> None:
    planted = Counter(mutant.of.name for mutant in MUTANTS)
    assert {name: planted[name] for name in catalogue() if planted[name] < 2} == {}


def check(mutant: Mutant) -> None:
    if mutant.rejected_by in TESTS:
        check_claim(mutant.method, mutant.rejected_by)
    else:
        CHECKS[mutant.method.kind](mutant.method, inputs=75)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_rejected(mutant: Mutant) -> None:
    with pytest.raises(ConformanceError) as caught:
        check(mutant)
    assert caught.value.promise == mutant.rejected_by


def test_the_frame_of_the_typical_mutants_is_right() -> None:
    assert check_transform(Mutant(TypicalByHand, "nothing").method, inputs=75).asserted["cases"] == 10
