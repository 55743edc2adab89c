"""Every method of the catalogue, whatever it is called, against everything it promises: on NumPy, and again on torch."""

from __future__ import annotations

import pytest
import torch

from ulam.core.noise import PhiloxNoise
from ulam.methods import Method, catalogue
from ulam.testing import check_chooser, check_constraint, check_noise, check_transform

CHECKS = {"transform": check_transform, "constraint": check_constraint, "chooser": check_chooser}

every_method = pytest.mark.parametrize("method", catalogue().values(), ids=lambda method: method.name)


@every_method
def test_method_keeps_its_promises(method: Method) -> None:
    report = CHECKS[method.kind](method, inputs=150)
    assert {"cases", "form", "untouched", *method.claims} <= {name for name, count in report.asserted.items() if count}
    assert report.understated == ()


@every_method
def test_method_keeps_its_promises_on_torch(method: Method) -> None:
    torch.set_num_threads(1)
    report = CHECKS[method.kind](method, array=torch.asarray, inputs=75)
    assert {"cases", "form", "untouched", *method.claims} <= {name for name, count in report.asserted.items() if count}


def test_noise_keeps_its_promises() -> None:
    for seed in (0, 7, 2**64 - 1):
        report = check_noise(PhiloxNoise(seed))
        assert list(report.asserted) == ["addresses", "uniforms", "coins", "tokens", "coupled", "refusals"]
