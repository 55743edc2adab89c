"""`ulam audit TARGET`: does a method of one's own keep its claims, and does it draw the law it states?"""

from __future__ import annotations

import importlib
import json as codec
import os
import sys
import time
from typing import Annotated, Any

import typer

from ...core.claims import CLAIMS
from ...core.errors import MethodError, UsageError
from ...methods import Method, check_stage, find, own
from ...render.columns import columns
from ...render.receipt import number
from ...render.terminal import is_terminal, width

NO = 6
GROUPS = {"claims": "what it claims", "numbers": "the numbers", "rows": "rows and batches", "law": "the law it draws"}


def audit(
    target: Annotated[str | None, typer.Argument()] = None,
    inputs: Annotated[int, typer.Option("--inputs", metavar="N", help="about how many rows with settings each check asks (300)")] = 300,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> int:
    """ulam audit: does a method keep its claims, and does it draw the law it states?

      ulam audit my_pkg.my_file:MyMethod   a stage class of your own, imported from here
      ulam audit min_p                     a method of the catalogue

    Every check names what it asserts; a failing one shows the smallest input found that breaks
    it. The exit code is 6 if one fails.

    Usage: ulam audit TARGET [FLAGS]
    """
    if target is None:
        raise UsageError("there is nothing to audit", fix="ulam audit my_pkg.my_file:MyMethod, or a method's name: ulam audit min_p")
    if inputs < 1:
        raise UsageError(f"--inputs {inputs} is less than 1", fix="--inputs 300")
    method = read_target(target)
    try:
        from ...testing.audit import audit as findings_of
    except ImportError as error:
        raise MethodError(f"an audit needs {error.name}, which is not installed", fix='pip install "ulam[testing]"') from None
    started = time.perf_counter()
    findings = list(findings_of(method, inputs=inputs))
    failed = [each for each in findings if each.ok is False]
    if json:
        entries = [{"group": f.group, "check": f.name, "ok": f.ok, "inputs": f.inputs, "told": f.told or None} for f in findings]
        document = {"schema": "ulam.audit/1", "method": method.name, "kind": method.kind, "ok": not failed, "checks": entries}
        print(codec.dumps(document, ensure_ascii=is_terminal(sys.stdout)))
        return NO if failed else 0
    rows = [(group, " · ".join(shown(f) for f in findings if f.group == group)) for group in GROUPS]
    held = [each for each in findings if each.ok]
    skipped = [each for each in findings if each.ok is None]
    parts = [f"{'FAILED' if failed else 'passed'} {len(held)} of {len(held) + len(failed)} checks", f"{sum(each.inputs for each in held)} inputs"]
    parts += [f"{len(skipped)} not applicable"] if skipped else []
    size = width(sys.stdout)
    head = columns([(method.name, f"{method.kind}: {method.summary}")], size, indent=0)
    print(head + columns([*rows, ("result", " · ".join([*parts, f"{number(time.perf_counter() - started)} s"]))], size), end="")
    for each in skipped:
        print(f"  {each.name}: not applicable, {each.told}")
    for each in failed:
        print(f"✗ {each.name}: {each.told}")
    return NO if failed else 0


def shown(finding: Any) -> str:
    """One check in a few words."""
    sign = {True: "✓", False: "✗", None: "–"}[finding.ok]
    return f"{CLAIMS.get(finding.name, finding.name)} {sign}"


def read_target(target: str) -> Method:
    """The method behind what was typed. Raises `UsageError`, `MethodError`, `UnknownMethod`."""
    if target.startswith(("http://", "https://")):
        raise UsageError(f"{target} is a server, and an audit of servers is not in this version", fix="ulam audit my_pkg.my_file:MyMethod")
    place, colon, name = target.partition(":")
    if not colon:
        return find(target.replace("-", "_"))
    if place.endswith(".py") or os.sep in place:
        raise UsageError(
            f"{place} is a file; a class is named by its module", fix=f"{place.removesuffix('.py').strip('./').replace(os.sep, '.')}:{name or 'MyMethod'}"
        )
    sys.path.insert(0, os.getcwd())  # as python -m does: what is audited is usually here
    try:
        module = importlib.import_module(place)
    except ImportError as error:
        raise MethodError(f"cannot import {place}: {error}", fix="a module that Python finds from this folder") from error
    if not hasattr(module, name):
        raise MethodError(f"{place} has no {name or 'name after the colon'}", fix=f"{place}:MyMethod")
    stage = getattr(module, name)
    check_stage(stage)
    return own(stage)
