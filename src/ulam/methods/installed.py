"""Methods of other packages: entry points in the group `ulam.methods`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

GROUP = "ulam.methods"


def installed() -> list[tuple[str, str]]:
    """Entry points and their modules, each once, in order. The library that reads them properly takes longer to load than everything else
    here, so it is asked only if some installed package names the group."""
    if not any(map(names_group, sys.path)):
        return []
    from importlib.metadata import entry_points

    return sorted({(point.name, point.value) for point in entry_points(group=GROUP)})


def names_group(folder: str) -> bool:
    """Whether a package in a folder of the path has entry points in the group."""
    with suppress(OSError):
        return any(f"[{GROUP}]" in file.read_text(encoding="utf-8", errors="replace") for file in Path(folder or ".").glob("*-info/entry_points.txt"))
    return False
