"""Writes docs/methods.md, the page of all methods, from their docstrings.

    python docs/catalogue.py            # write it
    python docs/catalogue.py --check    # exit 6 if it is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from ulam.apps.cli.methods import KINDS, example, sections
from ulam.core.claims import CLAIMS
from ulam.core.parameter import parameters
from ulam.methods import Method, shipped

PAGE = Path(__file__).parent / "methods.md"
LABELS = {"math": "Rule", "shapes": "Shapes", "edges": "Edges", "errors": "Errors", "cost": "Cost", "source": "Source", "elsewhere": "Elsewhere"}
HEAD = """# The methods

Every stage of a recipe, as `ulam methods NAME` tells it. This page is made from the docstrings of `src/ulam/methods` by
`docs/catalogue.py`; a test fails where the two differ. Symbols: z the logits of a row, p their softmax over the tokens that are left,
H its entropy in nats; rows are [B, V].
"""


def page() -> str:
    """The whole page."""
    methods = list(shipped().values())
    parts = [HEAD, " · ".join(f"[{method.name}](#{method.name})" for method in methods) + "\n"]
    for kind in dict.fromkeys(method.kind for method in methods):
        parts.append(f"## {kind.capitalize()}s\n\n{KINDS.get(kind, '')}\n")
        parts += [entry(method) for method in methods if method.kind == kind]
    return "\n".join(parts)


def entry(method: Method) -> str:
    """One method."""
    told = sections(method)
    lines = [f"### {method.name}\n", f"{method.summary[:1].upper()}{method.summary[1:]}. For example `{example(method)}`.\n"]
    lines += [f"- `{p.name}`: {p.describe()}. {p.help[:1].upper()}{p.help[1:]}." for p in parameters(method.stage)]
    lines += [""] if parameters(method.stage) else []
    lines += [f"**{label}.** {plain(told[key])}\n" for key, label in LABELS.items() if told.get(key, "none") not in ("none", "none of its own")]
    lines += [f"**Claims.** {'; '.join(CLAIMS[claim] for claim in method.claims)}.\n"]
    return "\n".join(lines)


def plain(text: str) -> str:
    """A section as Markdown: formula lines as code, the rest without signs that Markdown would read."""
    return "\n".join(f"`{line.strip()}`  " if line.startswith(" ") else "`".join(map(escaped, *parted(line))) for line in text.splitlines())


def parted(line: str) -> tuple[list[str], list[bool]]:
    """A line cut at its backticks, and which parts are code."""
    parts = line.split("`")
    return parts, [i % 2 == 1 for i in range(len(parts))]


def escaped(text: str, code: bool) -> str:
    return text if code else text.replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")


def main(words: list[str]) -> int:
    now = page()
    if words == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == now else 6
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
