"""Settings of all tests: property tests repeat the same examples in every run, no example is stopped by a clock, and false alarms are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ("pytester", "tests.false_alarms")

settings.register_profile("ci", derandomize=True, deadline=None, database=None, report_multiple_bugs=False)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch with one thread; `pytestmark = pytest.mark.usefixtures("one_thread")` for a file."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
