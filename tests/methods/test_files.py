"""What every file of a method holds, read from the files themselves."""

from __future__ import annotations

import importlib
import inspect
import re
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest

from ulam.core.claims import CLAIMS
from ulam.core.parameter import parameters
from ulam.methods import ALIASES, Method, catalogue, read

HEADINGS = ["Math", "Shapes", "Neutral", "Edges", "Errors", "Cost", "Claims", "Source", "Elsewhere"]

every_method = pytest.mark.parametrize("method", catalogue().values(), ids=lambda method: method.name)


@every_method
def test_docstring_has_every_heading_in_order(method: Method) -> None:
    found = [line.split()[0] for line in method.doc.splitlines() if line[:1].isupper() and line.split()[0] in HEADINGS]
    assert found == HEADINGS


@every_method
def test_the_claims_of_the_docstring_are_those_of_the_file(method: Method) -> None:
    """`base` stands for eight words; `base without history` for seven."""
    text = method.doc.split("\nClaims")[1].split("\nSource")[0]
    claimed = text.split(". ")[0]
    base = ["identity", "shift", "shrinks", "nonempty", "batch", "history", "fork", "deterministic"] if "base" in claimed else []
    without = re.findall(r"\w+", claimed.split("without ")[1].split(",")[0]) if "without" in claimed else []
    words = [word for word in re.findall(r"\w+", claimed.split(",", 1)[1] if "without" in claimed else claimed) if word in CLAIMS]
    assert {*(word for word in base if word not in without), *words} == set(method.claims)


@every_method
def test_the_file_is_short_and_named_as_typed(method: Method) -> None:
    path = Path(inspect.getfile(method.stage))
    assert path.stem == method.name
    assert len(path.read_text().splitlines()) <= 200
    assert method.summary
    assert "\n" not in method.summary


@every_method
def test_the_rows_worked_out_by_hand_are_good_rows(method: Method) -> None:
    """Probabilities that add to one, not sorted, each row telling apart something of its own."""
    rows = [case for case in method.cases if not case.logits]
    for case in rows:
        assert sum(Fraction(x) for x in case.given) == 1
        if method.kind == "constraint" and not any(case.expect):
            continue  # nothing is left
        if method.kind in ("transform", "constraint"):
            assert abs(sum(Fraction(x) for x in case.expect) - 1) < Fraction(1, 10**11)
    for case in method.cases:
        assert len(case.given) >= 3
        assert max(case.prompt, default=0) < len(case.given) > max(case.generated, default=0)
    assert any(max(case.given) > case.given[0] for case in method.cases)
    assert len({case.excludes for case in method.cases}) == len(method.cases)
    assert not all(list(case.given) == sorted(case.given, reverse=True) for case in method.cases)


@every_method
def test_every_parameter_has_a_line_of_help(method: Method) -> None:
    for p in parameters(method.stage):
        assert p.help
        assert p.describe()


def test_names_of_other_tools_lead_to_methods_and_are_none() -> None:
    assert set(ALIASES.values()) <= set(catalogue())
    assert set(ALIASES) & set(catalogue()) == set()


@pytest.mark.parametrize(("left_out", "told"), [("CLAIMS", "CLAIMS"), ("CASES", "CASES"), ("__doc__", "a docstring"), ("TopK", "one stage class")])
def test_a_file_that_is_no_method_says_what_it_lacks(left_out: str, told: str) -> None:
    whole = importlib.import_module("ulam.methods.transforms.top_k")
    part = ModuleType(whole.__name__, whole.__doc__)
    vars(part).update({name: value for name, value in vars(whole).items() if not name.startswith("__") and name != left_out})
    if left_out == "__doc__":
        part.__doc__ = None
    with pytest.raises(TypeError, match=told):
        read(part)


def test_the_files_name_is_what_is_typed() -> None:
    whole = importlib.import_module("ulam.methods.transforms.top_k")
    other = ModuleType("ulam.methods.transforms.first_k", whole.__doc__)
    stage = type("TopK", (whole.TopK,), {"__module__": other.__name__})
    vars(other).update(TopK=stage, CLAIMS=whole.CLAIMS, CASES=whole.CASES)
    with pytest.raises(TypeError, match=r"the file must be top_k\.py"):
        read(other)
