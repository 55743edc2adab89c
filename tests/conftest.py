"""Settings of all tests: property tests repeat the same examples in every run, no example is stopped by a clock, and false alarms are counted."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ("pytester", "tests.false_alarms")

settings.register_profile("ci", derandomize=True, deadline=None, database=None, report_multiple_bugs=False)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("ci")
