"""Settings that make no run are refused with one that does; the units of a loss."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ulam.core.errors import UsageError
from ulam.train.network import rate_factor, step_seed
from ulam.train.settings import Loss, Settings


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ({"vocabulary": 256}, "vocabulary=257"),
        ({"context": 7}, "context=8"),
        ({"steps": 0}, "steps=1"),
        ({"layers": 0}, "layers=1"),
        ({"hidden": 100}, "hidden=102"),  # 3 heads
        ({"hidden": 9}, "hidden=12"),  # 3 heads of 3: an odd size has no rotary pairs
        ({"heads": 4, "kv_heads": 3}, "kv_heads=2"),
        ({"kv_heads": 6}, "kv_heads=3"),
        ({"seed": -1}, "seed=0"),
        ({"seed": 2**64}, "seed=0"),
        ({"dropout": 1.0}, "dropout=0.1"),
        ({"rate": 0.0}, "rate=0.02"),
        ({"rate": math.nan}, "rate=0.02"),
    ],
)
def test_what_makes_no_run_is_refused_with_one_that_does(wrong: dict[str, Any], fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**wrong)
    assert fix in (caught.value.fix or "")
    assert caught.value.parameter in wrong
    name, value = fix.split("=")
    mended = Settings(**{**wrong, name: float(value) if "." in value else int(value)})
    assert str(getattr(mended, name)) == value


def test_units_of_a_loss() -> None:
    """Two tokens of probability 1/2 and 1/8 that spell three bytes: 1 + 3 bits."""
    loss = Loss(math.log(2) + math.log(8), 2, 3)
    assert loss.per_token == pytest.approx(2 * math.log(2), abs=1e-15)
    assert loss.bits_per_token == pytest.approx(2, abs=1e-15)
    assert loss.bits_per_byte == pytest.approx(4 / 3, abs=1e-15)
    assert loss.perplexity == pytest.approx(4, abs=1e-14)
    assert Loss(2000.0, 2, 3).perplexity == math.inf  # e^1000


def test_the_rate_goes_up_and_down_in_straight_lines() -> None:
    factors = [rate_factor(step, Settings(steps=10, warm_up=60)) for step in range(10)]  # a warm-up is at most a tenth of the steps
    assert factors == pytest.approx([1 / 2, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9], abs=1e-15)


def test_every_step_of_every_seed_has_a_seed_of_its_own() -> None:
    seeds = {step_seed(seed, step) for seed in (*range(30), 2**64 - 1) for step in range(30)}
    assert len(seeds) == 31 * 30
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert step_seed(3, 5) == step_seed(3, 5)
