"""`ulam methods`: the stages there are, and everything about one."""

from __future__ import annotations

import json as codec
import re
import sys
from dataclasses import MISSING
from typing import Annotated, Any

import typer

from ...core.claims import CLAIMS
from ...core.errors import UnknownMethod, UsageError, did_you_mean
from ...core.method import Stage
from ...core.parameter import Parameter, parameters
from ...core.values import print_value
from ...methods import ALIASES, Method, catalogue
from ...models.combine import Combinator, combinators
from ...recipe.formats import plain
from ...render.columns import columns
from ...render.terminal import is_terminal, width
from . import combinators as combine
from .before_after import before_after
from .words import quote

SECTION = re.compile(r"^([A-Z][a-z]+)(?: +|$)", re.MULTILINE)


def methods(
    name: Annotated[str | None, typer.Argument()] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="only this kind: transform, constraint, chooser, combinator")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> int:
    """ulam methods: the stages there are, and what each does.

      ulam methods                  all of them
      ulam methods min_p            one: its rule, its promises, its source, its name in other tools
      ulam methods --kind chooser   those that draw the token
      ulam methods --json           as data, for programs

    Usage: ulam methods [NAME] [FLAGS]
    """
    combinator = None if name is None else combine.found(name)
    if combinator is not None and not json:
        print(combine.page(combinator, sections(combinator), width(sys.stdout)), end="")
        return 0
    chosen = select(name, kind) if combinator is None and kind != "combinator" else []
    if json:
        others = [each for each in combinators().values() if combinator in (None, each) and (name is None or combinator) and kind in (None, "combinator")]
        document = {"schema": "ulam.methods/1", "methods": [as_data(method) for method in chosen], "combinators": [*map(combine.as_data, others)]}
        print(codec.dumps(document, ensure_ascii=is_terminal(sys.stdout)))
    elif name is not None:
        print(page(chosen[0]), end="")
    else:
        print(table(chosen, others=kind in (None, "combinator")), end="")
    return 0


def select(name: str | None, kind: str | None) -> list[Method]:
    """The methods asked for. Raises `UnknownMethod`, `UsageError`."""
    known = catalogue()
    if name is not None:
        if name.replace("-", "_") not in known:
            hint = did_you_mean(name, [*known, *combinators()], ALIASES) or f" There are {', '.join([*known, *combinators()])}."
            raise UnknownMethod(f"unknown method {print_value(name)}.{hint}", stage=name)
        return [known[name.replace("-", "_")]]
    kinds = [*dict.fromkeys(method.kind for method in known.values()), "combinator"]
    if kind is not None and kind not in kinds:
        raise UsageError(f"unknown kind {print_value(kind)}.{did_you_mean(kind, kinds)} There are {', '.join(kinds)}.")
    return [method for method in known.values() if kind in (None, method.kind)]


def table(chosen: list[Method], *, others: bool) -> str:
    """All methods, kind by kind; with `others`, combinators and schedules behind them."""
    blocks: list[str] = []
    rows = [(method, (signature(method), method.summary + ranges(method))) for method in chosen]
    for kind in dict.fromkeys(method.kind for method in chosen):
        blocks.append(f"{KINDS.get(kind, kind)}\n{columns([row for method, row in rows if method.kind == kind], width(sys.stdout))}")
    blocks += combine.blocks(width(sys.stdout)) if others else []
    return "\n".join([*blocks, "one of them: ulam methods NAME\n"])


KINDS = {
    "transform": "Transforms change the distribution of the next token.",
    "constraint": "Constraints say which tokens may come; where none is left, the text ends with an error.",
    "chooser": "Choosers draw the token; one at most, at the end.",
}


def signature(method: Method) -> str:
    """`min_p=a`; `repetition_penalty=r ...` where there is more to set."""
    first, *rest = [p.name for p in parameters(method.stage)] or [""]
    return method.name + (f"={first}" if first else "") + (" ..." if rest else "")


def ranges(method: Method) -> str:
    """What the first parameter may be."""
    first = next(iter(parameters(method.stage)), None)
    return f"; {first.name} in {first.describe()}" if first else ""


def page(method: Method) -> str:
    """Everything about one method."""
    told = sections(method)
    rows = [(p.name, f"{p.describe()}: {p.help}") for p in parameters(method.stage)]
    rows += [("rule", told.get("math", "")), ("edges", told.get("edges", "")), ("claims", claims(method, told.get("claims", "")))]
    rows += [("source", told.get("source", "")), ("elsewhere", told.get("elsewhere", "")), ("try", f'ulam "Once upon a time" {quote(example(method))}')]
    size = width(sys.stdout)
    stage = shown(method)
    picture = None if stage is None else before_after(stage)
    rows += [("picture", f"{example(method)}\n{picture}")] if picture else []
    return columns([(method.name, f"{method.kind}: {method.summary}")], size, indent=0) + columns([row for row in rows if row[1]], size)


def sections(method: Method | Combinator) -> dict[str, str]:
    """The docstring by its labels. Lines that stand further in, formulas, stay lines; the others flow."""
    _, *parts = SECTION.split(method.doc.partition("\n\n")[2])
    return {label.lower(): flowing(text) for label, text in zip(parts[::2], parts[1::2], strict=True)}


def flowing(text: str) -> str:
    lines: list[str] = []
    for line in text.strip("\n").splitlines():
        body = line.removeprefix(" " * 10) if lines else line
        if lines and not body.startswith(" ") and not lines[-1].startswith(" "):
            lines[-1] += " " + body
        else:
            lines.append(body)
    return "\n".join(lines)


def claims(method: Method, told: str) -> str:
    """What the method promises, in words, and what its docstring adds."""
    more = told.partition(". ")[2]
    return "; ".join(CLAIMS[claim] for claim in method.claims) + (f". {more}" if more else "")


def example(method: Method) -> str:
    """The stage with values that do something, as it is typed; its name alone if it has no case."""
    return str(shown(method) or method.name)


def shown(method: Method) -> Stage | None:
    """The stage with the values of its first case that is not neutral."""
    stages = (method.stage(**case.parameters) for case in method.cases)
    return next((stage for stage in stages if not stage.neutral(1).any()), None)


def as_data(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "kind": method.kind,
        "summary": method.summary,
        "parameters": [parameter_data(p) for p in parameters(method.stage)],
        "claims": list(method.claims),
        "aliases": [alias for alias, name in ALIASES.items() if name == method.name],
        "example": example(method),
        "doc": sections(method),
    }


def parameter_data(p: Parameter) -> dict[str, Any]:
    """A parameter. Default and neutral value are there only if it has them; infinity is "inf"."""
    values = {"default": p.default, "neutral": p.neutral}
    return {
        "name": p.name,
        "kind": p.kind.__name__,
        "range": p.range.text if p.range else None,
        "words": list(p.words),
        "unit": p.unit,
        "help": p.help,
        **{key: plain(value) for key, value in values.items() if value is not MISSING},
    }
