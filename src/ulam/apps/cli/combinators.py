"""What `ulam methods` tells of combinators, which make one model out of several, and of schedules, which make one number out of many."""

from __future__ import annotations

from typing import Any

from ...core.schedule import FIELDS
from ...models.combine import Combinator, combinators
from ...render.columns import columns

HEAD = "Combinators make one model out of several, before any recipe; in Python, ulam.models."
SCHEDULES = "Schedules stand in the place of a number, and give one for every position or row."
TOLD = {
    "linear": "from a to b in a straight line over so many tokens, then b",
    "cosine": "from a to b along half a wave over so many tokens, then b",
    "geometric": "from a to b by equal factors over so many tokens, then b",
    "steps": "the value of the largest position that is reached: steps({0: 1, 200: 0.5})",
    "entropy": "between low, for a certain row, and high, for an even one",
}


def found(name: str) -> Combinator | None:
    return combinators().get(name.replace("-", "_"))


def blocks(size: int) -> list[str]:
    """The tables of both, at most `size` columns wide."""
    rows = [(f"{each.name}(...)", each.summary) for each in combinators().values()]
    schedules = [(f"{name}({', '.join(fields)})", TOLD[name]) for name, fields in FIELDS.items()]
    return [f"{HEAD}\n{columns(rows, size)}", f"{SCHEDULES}\n{columns(schedules, size)}"]


def page(combinator: Combinator, told: dict[str, str], size: int) -> str:
    """Everything about one; `told` is its docstring by labels."""
    rows = [(p.name, f"{p.describe()}: {p.help}") for p in combinator.parameters]
    rows += [(label, told.get(key, "")) for label, key in (("rule", "math"), ("edges", "edges"), ("source", "source"), ("elsewhere", "elsewhere"))]
    rows += [("try", f"help(ulam.models.{combinator.name})")]
    return columns([(combinator.name, f"combinator: {combinator.summary}")], size, indent=0) + columns([row for row in rows if row[1]], size)


def as_data(combinator: Combinator) -> dict[str, Any]:
    return {"name": combinator.name, "kind": "combinator", "summary": combinator.summary, "parameters": [p.name for p in combinator.parameters]}
