"""Writes docs/methods.md and docs/engines.md, the pages of all methods and dialects, from their docstrings.

    python docs/catalogue.py            # write them
    python docs/catalogue.py --check    # exit 6 if one is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from ulam.apps.cli.methods import KINDS, SECTION, example, flowing, sections
from ulam.core.claims import CLAIMS
from ulam.core.parameter import parameters
from ulam.methods import Method, shipped
from ulam.recipe.dialects import Dialect, engines

LABELS = {"math": "Rule", "shapes": "Shapes", "edges": "Edges", "errors": "Errors", "cost": "Cost", "source": "Source", "elsewhere": "Elsewhere"}
HEAD = """# The methods

Every stage of a recipe, as `ulam methods NAME` tells it. This page is made from the docstrings of `src/ulam/methods` by
`docs/catalogue.py`; a test fails where the two differ. Symbols: z the logits of a row, p their softmax over the tokens that are left,
H its entropy in nats; rows are [B, V].
"""


ENGINES = """# The engines

What a recipe is called elsewhere, and what other engines do when nobody asked, as `ulam recipe convert` reads and writes it. This page is made from the
docstrings of `src/ulam/recipe/dialects` by `docs/catalogue.py`; a test fails where the two differ. `a > b` is the order in which things are done.

| verdict | given when |
|---|---|
| exact | the engine, with the parameters written, has the same law: for every row and history the same distribution, ties and rounding aside |
| exact because neutral | the engine lacks the stage or has it elsewhere, and here that cannot matter |
| reordered | every stage is there, but the engine swaps two that do not commute; the note shows both laws on a row where they differ |
| approximate | the engine's function differs on rows that do occur |
| unsupported | no parameter for the stage, or a value that the engine refuses or changes |

The commands exit with 6 below the second line, unless `--allow-inexact` is given.
"""


def engines_page() -> str:
    """The page of the dialects."""
    return "\n".join([ENGINES, " · ".join(f"[{name}](#{anchor(name)})" for name in engines()) + "\n", *map(dialect, engines().values())])


def anchor(name: str) -> str:
    return name.replace(".", "")


def dialect(each: Dialect) -> str:
    """One engine."""
    head, _, body = (sys.modules[type(each).__module__].__doc__ or "").partition("\n\n")
    _, *parts = SECTION.split(body)
    told = {label: flowing(text) for label, text in zip(parts[::2], parts[1::2], strict=True)}
    lines = [f"## {each.name}\n", f"{head.strip()}\n", f"Nothing given is read as `{each.read({}).recipe}`.\n"]
    return "\n".join([*lines, *(f"**{label}.** {plain(text)}\n" for label, text in told.items())])


def methods_page() -> str:
    """The page of the methods."""
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
    stale = 0
    for name, page in {"methods.md": methods_page(), "engines.md": engines_page()}.items():
        path = Path(__file__).parent / name
        if words == ["--check"]:
            stale += not path.exists() or path.read_text(encoding="utf-8") != page
        else:
            path.write_text(page, encoding="utf-8")
    return 6 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
