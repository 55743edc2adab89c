"""For tests of servers: no key and no proxy of this machine, and no time that passes."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ULAM_API_KEY", "ULAM_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    pauses: list[float] = []
    server = pytest.importorskip("ulam.adapters.server")
    monkeypatch.setattr(server.Server, "sleep", lambda self, seconds: pauses.append(seconds))
    return pauses
