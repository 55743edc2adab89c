"""The house as it stands: public names, names of methods, size of files, docstrings."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import ulam
from ulam.core.claims import CLAIMS
from ulam.core.method import Chooser, Constraint, Transform, snake
from ulam.core.parameter import parameters
from ulam.methods import ALIASES, Method, catalogue

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ulam"
FILES = sorted(SOURCE.rglob("*.py"))
METHODS = sorted(file for folder in ("transforms", "constraints", "choosers") for file in (SOURCE / "methods" / folder).glob("*.py") if file.stem != "__init__")
SECTIONS = ("Math", "Shapes", "Neutral", "Edges", "Errors", "Cost", "Claims", "Source", "Elsewhere")


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


# public names


def test_public_names_are_where_they_are_said_to_be() -> None:
    assert sorted(ulam.WHERE) == ulam.__all__ == sorted(ulam.__all__)
    for name, place in ulam.WHERE.items():
        assert getattr(ulam, name) is getattr(importlib.import_module(f"ulam.{place}"), name)
        assert getattr(ulam, name).__doc__, f"{name} has no docstring"
    assert set(ulam.__all__) <= set(dir(ulam))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == ulam.WHERE


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module ulam has no sampel"):
        ulam.sampel  # noqa: B018
    namespace: dict[str, object] = {}
    exec("from ulam import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(ulam.__all__)


# methods


def test_every_file_is_a_method_and_every_method_a_file() -> None:
    folders = ["transforms", "constraints", "choosers"]
    assert list(catalogue()) == [file.stem for file in sorted(METHODS, key=lambda file: (folders.index(file.parent.name), file.stem))]


@pytest.mark.parametrize("method", catalogue().values(), ids=list(catalogue()))
def test_a_method_has_one_name(method: Method) -> None:
    """The file's, which is what the user types; the class's in lower case, unless that would take the name of a distribution."""
    module = importlib.import_module(method.stage.__module__)
    assert method.name == method.stage.name == module.__name__.rpartition(".")[2]
    assert method.name in (snake(method.stage.__name__), snake(method.stage.__name__).removesuffix("_chooser"))
    folder, base = {"transform": ("transforms", Transform), "constraint": ("constraints", Constraint), "chooser": ("choosers", Chooser)}[method.kind]
    assert issubclass(method.stage, base)
    assert module.__name__ == f"ulam.methods.{folder}.{method.name}"
    simple = {dict: {}, list: [0], bool: True, float: 0.5}
    assert str(method.stage(**{p.name: simple.get(p.kind, 1) for p in parameters(method.stage) if p.required or p.first})).startswith(method.name)


@pytest.mark.parametrize("method", catalogue().values(), ids=list(catalogue()))
def test_the_docstring_of_a_method_has_its_sections(method: Method) -> None:
    starts = [line.split()[0] for line in method.doc.splitlines() if line[:1].isupper()]
    assert starts[1:] == list(SECTIONS)
    assert ": " in method.doc.splitlines()[0]
    assert method.summary[0].islower()


@pytest.mark.parametrize("method", catalogue().values(), ids=list(catalogue()))
def test_claims_are_of_the_closed_list_and_cases_are_three_to_six(method: Method) -> None:
    assert set(method.claims) <= set(CLAIMS)
    assert len(set(method.claims)) == len(method.claims)
    assert 3 <= len(method.cases) <= 6
    assert all(case.excludes for case in method.cases)


def test_an_alias_is_no_method_and_means_one() -> None:
    assert set(ALIASES) & set(catalogue()) == set()
    assert set(ALIASES.values()) <= set(catalogue())


# files


def test_files_are_short() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert [name_of(file) for file, length in lengths.items() if length > 400] == []
    assert [name_of(file) for file in METHODS if lengths[file] > 200] == []
    assert len(FILES) > 30


def test_every_file_says_what_it_is() -> None:
    """All Python files but empty ones, which make a folder a package of tests."""
    folders = [ROOT / folder for folder in ("src", "tests", "benchmarks", "examples", "docs") if (ROOT / folder).exists()]
    files = {file: file.read_text(encoding="utf-8") for folder in folders for file in folder.rglob("*.py")}
    assert [name_of(file) for file, text in files.items() if text.strip() and not ast.get_docstring(ast.parse(text))] == []
    assert [name_of(file) for file in FILES if not files[file].strip()] == []


def test_public_classes_and_functions_of_the_front_say_what_they_are() -> None:
    missing = []
    for folder in ("recipe", "decode"):
        for file in sorted((SOURCE / folder).glob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not ast.get_docstring(node):
                    missing.append(f"{name_of(file)}: {node.name}")
    assert missing == []


def test_randomness_comes_from_the_noise_alone() -> None:
    """Outside training and tests, nothing imports a generator of random numbers but a fresh seed's."""
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {"random", "secrets", "numpy.random"} & set(names) or (isinstance(node, ast.Attribute) and node.attr in ("default_rng", "RandomState")):
                found.add(file.relative_to(SOURCE).as_posix())
    assert {file for file in found if not file.startswith(("train/", "testing/"))} == {"decode/request.py"}
